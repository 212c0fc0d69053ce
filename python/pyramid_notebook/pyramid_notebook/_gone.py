"""Stands where the original had a function that is not here, and says what to do instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn


def gone(name: str, instead: str) -> Callable[..., NoReturn]:
    """A function that can be imported; calling it raises an error with the way to do it now."""

    def refuse(*_arguments: Any, **_options: Any) -> NoReturn:
        raise NotImplementedError(
            f"`{name}` of pyramid_notebook is not available under perijove; hint: {instead}"
        )

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = f"Not available under perijove: {instead}."
    return refuse
