"""What PYTHONSTARTUP names in a notebook: hands over to startup_script.py, beside it.

Python runs this in the user's own namespace, so it leaves no name behind.
"""


def _perijove_start(namespace: dict) -> None:  # type: ignore[type-arg]
    import importlib.util
    import os
    import sys

    here = os.path.dirname(os.path.abspath(os.environ.get("PYTHONSTARTUP") or __file__))
    path = os.path.join(here, "startup_script.py")
    spec = importlib.util.spec_from_file_location("_perijove_startup_script", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    # Our own folder is no place for what another Python has compiled.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    module.start(namespace)


try:
    _perijove_start(globals())
finally:
    del _perijove_start
