"""Finds and imports the application, in each of the forms in which it can be named."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import perijove

_NAMES = ("application", "app")
_OWN_FILES = str(Path(__file__).parent)
_DISTRIBUTION = re.compile(r"perijove-(\d+)\.[^-]*\.dist-info$", re.IGNORECASE)


class LoadError(Exception):
    """The application cannot be loaded as it is named."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(f"{message}\nhint: {hint}")


def load(app: str | None, ini: str | None, root: str) -> Callable[..., Any]:
    """The application of the site at `root`, which becomes the current folder.

    `app` is `module:callable`, `module:factory()`, a file (one that ends in `.py`, or a path with a
    slash) with or without a callable behind a colon, or a PasteDeploy `.ini` file. Without it,
    `ini` is tried, then `app.py`.
    """
    os.chdir(root)
    sys.path[:] = [root, *(entry for entry in sys.path if entry not in (root, ""))]
    _refuse_another_major()
    name = app or ini or "app"
    path, _, attribute = name.partition(":")
    if path.endswith(".ini") or ".ini#" in path:
        return _from_paste(name)
    if path.endswith(".py") or "/" in path:
        module = _module_from_file(Path(path))
    else:
        if app is None and not ini and not Path("app.py").exists() and not Path("app").is_dir():
            raise LoadError(f"there is no app.py in {root}", "name the application in `site.app`")
        module = importlib.import_module(path)
    return _callable(module, path, attribute)


def _refuse_another_major() -> None:
    """Ours is used whether the site has perijove installed or not; another major is a mistake."""
    ours = perijove.__version__.split(".")[0]
    for entry in sys.path:
        try:
            names = os.listdir(entry or ".")
        except OSError:
            continue
        for name in names:
            found = _DISTRIBUTION.match(name)
            if found and found[1] != ours:
                raise LoadError(
                    f"the site's environment has another perijove: {name} in {entry}, while"
                    f" {perijove.__version__} serves it",
                    "install the same major version there, or take it out",
                )


def _module_from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise LoadError(f"there is no file {path}", "name the application in `site.app`")
    name = path.stem
    # The loader is named: a file such as `wsgi/application` has no ending to tell it by.
    loader = importlib.machinery.SourceFileLoader(name, str(path.absolute()))
    spec = importlib.util.spec_from_file_location(name, path.absolute(), loader=loader)
    if spec is None or spec.loader is None or not name.isidentifier():
        raise LoadError(f"{path} cannot be imported", "give the file the name of a module")
    sys.path.insert(0, str(path.absolute().parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _callable(module: ModuleType, path: str, attribute: str) -> Callable[..., Any]:
    factory = attribute.endswith("()")
    wanted = attribute[:-2] if factory else attribute
    found: Any = None
    if wanted:
        found = module
        for part in wanted.split("."):
            found = getattr(found, part, None)
    else:
        wanted = " or ".join(_NAMES)
        found = next((getattr(module, name) for name in _NAMES if hasattr(module, name)), None)
    if found is None:
        raise LoadError(f"{path} has no {wanted}", "name the callable behind a colon")
    if not callable(found):
        raise LoadError(
            f"{wanted} in {path} is {type(found).__name__}, which cannot be called",
            "name a WSGI application",
        )
    if factory:
        found = found()
        if not callable(found):
            raise LoadError(
                f"{wanted}() in {path} returned {type(found).__name__}, no application",
                "return a WSGI application",
            )
    result: Callable[..., Any] = found
    return result


def _from_paste(name: str) -> Callable[..., Any]:
    """The application of a PasteDeploy file, `production.ini` or `production.ini#name`."""
    path, _, section = name.partition("#")
    if not Path(path).is_file():
        raise LoadError(f"there is no file {path}", "name the application in `site.app`")
    absolute = str(Path(path).absolute())
    try:
        from pyramid import paster
    except ModuleNotFoundError:
        return _from_paste_alone(absolute, section)
    paster.setup_logging(absolute)
    result: Callable[..., Any] = paster.get_app(absolute, section or None)
    return result


def _from_paste_alone(path: str, section: str) -> Callable[..., Any]:
    try:
        deploy = importlib.import_module("paste.deploy")
    except ModuleNotFoundError as error:
        raise LoadError(
            f"{path} needs pyramid or PasteDeploy, which the site's environment has not",
            "pip install PasteDeploy",
        ) from error
    result: Callable[..., Any] = deploy.loadapp(f"config:{path}", name=section or None)
    return result


def show_import_failure(error: BaseException) -> None:
    """Shows why the application cannot be imported, without our own part of the traceback."""
    trace = error.__traceback__
    while trace is not None and _is_ours(trace.tb_frame.f_code):
        trace = trace.tb_next
    shown = traceback.TracebackException(type(error), error, trace)
    sys.stderr.write("".join(shown.format()))


def _is_ours(code: Any) -> bool:
    name: str = code.co_filename
    return name.startswith((_OWN_FILES, "<frozen importlib", os.path.dirname(importlib.__file__)))
