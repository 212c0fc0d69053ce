"""Builds what a notebook starts with: a startup script, a greeting, the site's models.

All functions add to a plain dict, the notebook's context. The script runs in the notebook's own
Python, which may have neither perijove nor the site's packages: what is generated here imports
nothing of ours.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import sys
from collections.abc import Iterable
from typing import Any

__all__ = [
    "PYRAMID_BOOSTRAP",
    "PYRAMID_BOOTSTRAP",
    "PYRAMID_GREETING",
    "add_greeting",
    "add_project",
    "add_script",
    "add_share",
    "get_dotted_path",
    "get_import_statement",
    "include_classes",
    "include_sqlalchemy_models",
    "make_startup",
    "project_of",
]

log = logging.getLogger(__name__)

#: Loads a Pyramid application from its configuration file, as `pshell` does. `{config_uri}` and
#: `{cwd}` stand for the file and the project's folder; `!r` writes them as Python literals.
PYRAMID_BOOTSTRAP = """\
import os
import sys

config_file = {config_uri!r}
project_root_path = {cwd!r} or os.path.dirname(config_file)


def _bootstrap_site():
    # Settings often name files relative to the project, and the site's modules may lie in it.
    from pyramid.paster import bootstrap

    before = os.getcwd()
    if project_root_path not in sys.path:
        sys.path.insert(0, project_root_path)
    os.chdir(project_root_path)
    try:
        return bootstrap(config_file)
    finally:
        os.chdir(before)


env = _bootstrap_site()
globals().update(env)
"""

#: The same under the name the original gave it.
PYRAMID_BOOSTRAP = PYRAMID_BOOTSTRAP

#: What the variables of `PYRAMID_BOOTSTRAP` are, as Markdown.
PYRAMID_GREETING = """\
* **app** – the site as a WSGI application

* **request** – a request made for this shell
  ([Request](https://docs.pylonsproject.org/projects/pyramid/en/latest/api/request.html))

* **root** – the root of the site's resources for that request

* **registry** – the site's settings and components
  ([Registry](https://docs.pylonsproject.org/projects/pyramid/en/latest/api/registry.html))
"""

#: Puts a project's folder on the path, for whatever Python the notebook runs.
FIND_PROJECT = """\
import os
import sys

project_root_path = {folder!r}
if project_root_path not in sys.path:
    sys.path.insert(0, project_root_path)
"""

#: Imported into every shell that `make_startup` prepares: what it is for, where to read about it.
MODULES = {
    "datetime": ("dates and times", "https://docs.python.org/3/library/datetime.html"),
    "time": ("clocks", "https://docs.python.org/3/library/time.html"),
    "transaction": ("commit and abort", "https://transaction.readthedocs.io/"),
}


def make_startup(
    notebook_context: dict[str, Any],
    config_file: str | None,
    bootstrap_py: str = PYRAMID_BOOTSTRAP,
    bootstrap_greeting: str = PYRAMID_GREETING,
    cwd: str = "",
) -> None:
    """Prepare a shell in a Pyramid application, or with `config_file=None` a plain one.

    `bootstrap_py` may name `{config_uri}` and `{cwd}`, or hold one `{}` for the file; other braces
    stay as they are. Between quotes, the file's name is escaped so that it cannot end them; with
    `!r` it becomes a whole literal.

    The folder of the file, and `cwd`, become readable in the notebook: a shell in the application
    has all that the application has.
    """
    add_greeting(notebook_context, "\nAvailable variables and functions:")
    if config_file is not None:
        if not isinstance(config_file, str):
            raise TypeError(f"config_file is a path as `str`, not `{type(config_file).__name__}`")
        path = os.path.abspath(config_file)
        if not os.path.exists(path):
            raise FileNotFoundError(f"there is no configuration file `{path}`")
        add_script(notebook_context, _fill(bootstrap_py, path, cwd))
        add_share(notebook_context, cwd or os.path.dirname(path))
        add_share(notebook_context, path)
        add_greeting(notebook_context, bootstrap_greeting)
    for module, (purpose, manual) in MODULES.items():
        if importlib.util.find_spec(module) is not None:
            add_script(notebook_context, f"import {module}")
            add_greeting(notebook_context, f"* **{module}** - [{purpose}]({manual})")


def add_script(notebook_context: dict[str, Any], line: str) -> None:
    """Add a line, or several, of Python to what runs when a kernel starts."""
    _append(notebook_context, "startup", line)


def add_greeting(notebook_context: dict[str, Any], line: str) -> None:
    """Add a line, or several, of Markdown to what the first notebook greets with."""
    _append(notebook_context, "greeting", line)


def add_share(notebook_context: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Let the notebook read a file, or a folder with all below it, of the site's.

    A notebook in a sandbox sees its user's folder, its Python and the system's programs; of the
    site it sees what its context names here, what `share` of perijove's configuration names, and
    nothing else.
    """
    if not isinstance(notebook_context, dict):
        raise TypeError(f"a context is a dict, not `{type(notebook_context).__name__}`")
    absolute = os.path.abspath(os.fspath(path))
    shared = notebook_context.setdefault("share", [])
    if absolute not in shared:
        shared.append(absolute)


def include_sqlalchemy_models(notebook_context: dict[str, Any], Base: Any) -> None:
    """Import every model of a declarative `Base` into the shell, by its name.

    Works with SQLAlchemy 1.3 to 2: `declarative_base()`, `DeclarativeBase`, `registry`. Models that
    no import statement reaches (made inside a function, or by automap) are left out; of two with
    the same name the later one, by module, is called `module_Name`. The packages they
    lie in become readable in the notebook.
    """
    include_classes(notebook_context, _models(Base))


def include_classes(notebook_context: dict[str, Any], classes: Iterable[type]) -> None:
    """Import classes into the shell, each by its name, and list them in the greeting.

    Those that no import statement reaches are left out; of two with the same name the later one is
    called `module_Name`.
    """
    taken: dict[str, type] = {}
    for model in classes:
        if not _is_importable(model):
            log.warning("the model `%s` cannot be imported into a shell", get_dotted_path(model))
            continue
        name, statement = model.__name__, get_import_statement(model)
        if taken.setdefault(name, model) is not model:
            name = f"{model.__module__.replace('.', '_')}_{name}"
            statement += f" as {name}"
        add_script(notebook_context, statement)
        add_greeting(notebook_context, f"* **{name}** - {get_dotted_path(model)}")
        for place in _places_of_code(model):
            add_share(notebook_context, place)


def add_project(notebook_context: dict[str, Any], folder: str) -> None:
    """Let the shell read a project's folder, and import what lies in it, as the site does."""
    add_share(notebook_context, folder)
    add_script(notebook_context, FIND_PROJECT.format(folder=os.path.abspath(folder)))


def project_of(module: str) -> str:
    """The folder from which a module of the site was imported: what stands before its packages."""
    path: str | None = getattr(sys.modules.get(module), "__file__", None)
    if not path:
        raise ValueError(
            f"the module `{module}` is not imported here; hint: name one of the site's"
        )
    folder = os.path.dirname(os.path.abspath(path))
    is_package = os.path.basename(path).startswith("__init__.")
    for _ in range(module.count(".") + is_package):
        folder = os.path.dirname(folder)
    return folder


def get_dotted_path(klass: type) -> str:
    """`module.Name` of a class."""
    return f"{klass.__module__}.{klass.__name__}"


def get_import_statement(klass: type) -> str:
    """The statement that imports a class from its module."""
    return f"from {klass.__module__} import {klass.__name__}"


def _append(notebook_context: dict[str, Any], key: str, line: str) -> None:
    if not isinstance(notebook_context, dict):
        raise TypeError(f"a context is a dict, not `{type(notebook_context).__name__}`")
    text = notebook_context.get(key) or ""
    if not text.endswith("\n"):
        text += "\n"
    notebook_context[key] = f"{text}{line}\n"


class _Quoted(str):
    """A path as templates meet it: `{x!r}` is a literal, `{x}` is safe between any quotes."""

    def __format__(self, specification: str) -> str:
        return format(_escape(self), specification)

    def __repr__(self) -> str:
        return repr(str(self))


_ESCAPES = {"\\": "\\\\", "'": "\\'", '"': '\\"'}

_PLACEHOLDER = re.compile(r"\{(config_uri|cwd)(!r)?\}")


def _escape(path: str) -> str:
    return "".join(
        _ESCAPES.get(letter) or (letter if letter.isprintable() else repr(letter)[1:-1])
        for letter in path
    )


def _fill(template: str, path: str, cwd: str) -> str:
    """Put the paths in: by `str.format` where it can, else the placeholders alone."""
    values = {"config_uri": _Quoted(path), "cwd": _Quoted(cwd)}
    named = _PLACEHOLDER.search(template)
    try:
        return template.format(*([] if named else [values["config_uri"]]), **values)
    except (LookupError, ValueError, AttributeError):
        # Braces of the code's own, such as a dict's: the original failed on these.
        return _PLACEHOLDER.sub(lambda match: match[0].format(**values), template)


def _models(base: Any) -> list[type]:
    """In an order that is the same in every process, since the context's hash depends on it."""
    # `_sa_registry` is SQLModel's name for it; a `registry` may also be given itself.
    registry = getattr(base, "registry", None) or getattr(base, "_sa_registry", base)
    if hasattr(registry, "mappers"):
        found = {mapper.class_ for mapper in registry.mappers}
    elif hasattr(base, "_decl_class_registry"):
        # Before SQLAlchemy 1.4. Beside the models it holds markers: of modules, and of names that
        # several models share, which know their models.
        found = set()
        for entry in base._decl_class_registry.values():
            found.update([entry] if isinstance(entry, type) else _shared(entry))
    else:
        raise TypeError(f"`{base!r}` is not a declarative base of SQLAlchemy")
    return sorted(found, key=lambda model: (model.__name__, model.__module__))


def _shared(marker: Any) -> list[type]:
    references = getattr(marker, "contents", None)
    if not isinstance(references, (set, frozenset)):
        return []  # a module's marker holds a dict of more markers
    return [model for model in (reference() for reference in references) if model is not None]


def _places_of_code(model: type) -> list[str]:
    """Where the package, or the module, lies that a model is imported from."""
    top = sys.modules.get(model.__module__.partition(".")[0])
    file = getattr(top, "__file__", None)
    return [*getattr(top, "__path__", [])] or ([file] if file else [])


def _is_importable(model: type) -> bool:
    return getattr(sys.modules.get(model.__module__), model.__name__, None) is model
