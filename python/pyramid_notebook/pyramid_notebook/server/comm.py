"""The files by which the original's site and daemon spoke: the control socket took their place."""

from .._gone import gone

_INSTEAD = "ask `perijove.control.Control()`, or run `perijove notebook status USER`"

check_pid = gone("check_pid", _INSTEAD)
get_context_file_name = gone("get_context_file_name", _INSTEAD)
set_context = gone("set_context", _INSTEAD)
get_context = gone("get_context", _INSTEAD)


def clear_context(pid_file: str) -> None:
    """Does nothing, as in the original."""
