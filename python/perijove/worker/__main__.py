"""The worker process, started by its file name: `PYTHON .../perijove/worker/__main__.py [SERVER]`.

It brings its own package along, by file location, so that the site's environment need not have
perijove in it. Any Python 3 must be able to compile this file, to be told what to use instead.
"""

import importlib.util
import os
import sys

CONFIG = 78


def main() -> int:
    complaint = unsuitable()
    if complaint:
        sys.stderr.write("error: %s\n" % complaint)
        return CONFIG
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    load_package(package)
    from perijove.worker import process

    return process.run(*sys.argv[1:2])


def unsuitable() -> str:
    """Why this Python cannot run the native worker, and what to do; empty when it can."""
    hint = (
        "\nhint: name a CPython 3.10 or later in `site.python`, or run the site under"
        " a server of its own and name its address in `site.upstream`"
    )
    if sys.implementation.name != "cpython":
        return "%s cannot run the native worker%s" % (sys.implementation.name, hint)
    if sys.version_info < (3, 10):
        return "Python %d.%d is too old for the native worker%s" % (sys.version_info[:2] + (hint,))
    import sysconfig

    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "a free-threaded Python cannot run the native worker%s" % hint
    return ""


def load_package(package: str) -> None:
    """Puts the package at that place into `sys.modules`, and its folder out of `sys.path`."""
    here = os.path.realpath(os.path.join(package, "worker"))
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry or ".") != here]
    spec = importlib.util.spec_from_file_location(
        "perijove", os.path.join(package, "__init__.py"), submodule_search_locations=[package]
    )
    if spec is None or spec.loader is None:
        raise ImportError("perijove is not in %s" % package)
    module = importlib.util.module_from_spec(spec)
    sys.modules["perijove"] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    sys.exit(main())
