"""The original's manager of daemons: perijove does its work now."""

from __future__ import annotations

from typing import Any


class NotebookManager:
    """Cannot be made: notebooks are perijove's, and it is asked over its control socket."""

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        raise NotImplementedError(
            "`NotebookManager` of pyramid_notebook is not available under perijove; "
            "hint: ask `perijove.control.Control()` for `launch`, `stop`, `status`, `list`, "
            "or use `perijove notebook` on the command line"
        )
