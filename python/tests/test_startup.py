"""What a notebook starts with: texts as the original built them, paths that cannot break out."""

from __future__ import annotations

import importlib
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
from perijove import startup
from sqlalchemy.orm import DeclarativeBase, Mapped, declarative_base, mapped_column

NASTY = "it's \"a\" \\n {x} '''\n"


def test_a_plain_shell_has_the_modules_and_says_so() -> None:
    context: dict[str, Any] = {}
    startup.make_startup(context, None)
    assert context["startup"].startswith("\nimport datetime\nimport time\n")
    assert context["greeting"].startswith(
        "\n\nAvailable variables and functions:\n* **datetime** - ["
    )
    assert set(run(context["startup"])) >= {"datetime", "time"}


def test_lines_are_added_behind_what_is_there() -> None:
    context: dict[str, Any] = {"startup": "a = 1"}
    startup.add_script(context, "b = 2")
    startup.add_greeting(context, "* **b** - two")
    assert context == {"startup": "a = 1\nb = 2\n", "greeting": "\n* **b** - two\n"}


@pytest.mark.parametrize("context", [None, [], "text"])
def test_a_context_is_a_dict(context: Any) -> None:
    with pytest.raises(TypeError, match="a context is a dict"):
        startup.add_script(context, "a = 1")


def test_a_configuration_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no configuration file"):
        startup.make_startup({}, str(tmp_path / "missing.ini"))
    with pytest.raises(TypeError, match="as `str`"):
        startup.make_startup({}, tmp_path)  # type: ignore[arg-type]


def test_the_default_script_loads_the_site(tmp_path: Path) -> None:
    """In a folder with the worst of names, from a process that knows nothing of the site."""
    # PasteDeploy itself minds backslashes and line ends in a file's name.
    folder = tmp_path / "it's \"a\" {x} '''"
    folder.mkdir()
    (folder / "smallest.py").write_text(
        "from pyramid.config import Configurator\n"
        "def main(global_config, **settings):\n"
        "    return Configurator(settings=settings).make_wsgi_app()\n"
    )
    (folder / "site.ini").write_text("[app:main]\nuse = call:smallest:main\ncolour = blue\n")
    context: dict[str, Any] = {}
    startup.make_startup(context, str(folder / "site.ini"))
    startup.add_script(context, "colour = registry.settings['colour']")
    startup.add_script(context, "import os; here = os.getcwd()")
    seen = run(context["startup"])
    assert set(seen) >= {"app", "root", "registry", "request", "root_factory", "closer", "env"}
    assert seen["colour"] == "blue"
    assert seen["config_file"] == str(folder / "site.ini")
    assert seen["project_root_path"] == str(folder)
    assert seen["here"] != str(folder)
    for name in ("app", "request", "root", "registry"):
        assert f"* **{name}** " in context["greeting"]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('f = "{config_uri}"; c = "{cwd}"', True),
        ("f = '{config_uri}'; c = '''{cwd}'''", True),
        ("f = {config_uri!r}; c = {cwd!r}", True),
        ("f = '{}'; c = None", False),
        ("f = '{config_uri}'; c = {'a': '{cwd}'}['a']", True),
        ("f = '{config_uri}'; c = {}; c = '{cwd}'", True),
        ("f = '{config_uri}'; c = {{'a': '{cwd}'}}['a']", True),
    ],
)
def test_paths_cannot_end_the_quotes_around_them(
    template: str, expected: bool, tmp_path: Path
) -> None:
    path = tmp_path / NASTY
    path.write_text("")
    context: dict[str, Any] = {}
    startup.make_startup(context, str(path), template, "", cwd=NASTY)
    seen = run(context["startup"])
    assert seen["f"] == str(path)
    assert seen["c"] == (NASTY if expected else None)


def test_the_name_that_was_misspelt_still_works() -> None:
    assert startup.PYRAMID_BOOSTRAP is startup.PYRAMID_BOOTSTRAP


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)


class Customer(Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)


class NotMapped(Base):
    __abstract__ = True


def test_models_are_imported_in_one_order() -> None:
    context: dict[str, Any] = {}
    startup.include_sqlalchemy_models(context, Base)
    module = __name__
    assert context["startup"] == (f"\nfrom {module} import Customer\nfrom {module} import Order\n")
    assert context["greeting"] == (
        f"\n* **Customer** - {module}.Customer\n* **Order** - {module}.Order\n"
    )
    again: dict[str, Any] = {}
    startup.include_sqlalchemy_models(again, Base.registry)
    assert again == context


def test_models_that_no_import_reaches_are_left_out() -> None:
    OldBase: Any = declarative_base()

    class Local(OldBase):
        __tablename__ = "local"
        id = mapped_column(__import__("sqlalchemy").Integer, primary_key=True)

    context: dict[str, Any] = {}
    startup.include_sqlalchemy_models(context, OldBase)
    assert context == {}


def test_two_models_with_one_name_get_two(monkeypatch: pytest.MonkeyPatch) -> None:
    other = type(sys)("shop.other")
    twin = type("Order", (), {"__module__": "shop.other"})
    other.Order = twin  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "shop.other", other)
    monkeypatch.setattr(startup, "_models", lambda _: [Order, twin])
    context: dict[str, Any] = {}
    startup.include_sqlalchemy_models(context, None)
    assert context["startup"] == (
        f"\nfrom {__name__} import Order\nfrom shop.other import Order as shop_other_Order\n"
    )


def test_registries_of_sqlalchemy_1_3_are_read() -> None:
    """Its dict holds markers beside the models: of modules, and of names that models share."""

    class ModuleMarker:
        contents = {"orders": object()}

    class MultipleClassMarker:
        contents = {weakref.ref(Customer)}

    class OldBase:
        _decl_class_registry = {
            "Order": Order,
            "Customer": MultipleClassMarker(),
            "_sa_module_registry": ModuleMarker(),
        }

    context: dict[str, Any] = {}
    startup.include_sqlalchemy_models(context, OldBase)
    assert (
        context["startup"] == f"\nfrom {__name__} import Customer\nfrom {__name__} import Order\n"
    )


def test_what_is_no_base_is_told() -> None:
    with pytest.raises(TypeError, match="not a declarative base"):
        startup.include_sqlalchemy_models({}, object())


def run(script: str) -> dict[str, Any]:
    """Run a startup script as a kernel does: in another process, into an empty namespace."""
    program = (
        "import ast, sys; names = {'__name__': '__main__'}; exec(sys.stdin.read(), names);"
        "print({k: v if isinstance(v, (str, int)) else None for k, v in names.items()"
        " if k != '__builtins__'})"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-I", "-c", program],
        input=script,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = __import__("ast").literal_eval(done.stdout)
    assert isinstance(seen, dict)
    return seen


def test_what_a_shell_needs_of_the_site_is_shared(tmp_path: Path) -> None:
    config = tmp_path / "site" / "production.ini"
    config.parent.mkdir()
    config.write_text("[app:main]\n")
    context: dict[str, Any] = {}
    startup.make_startup(context, None)
    assert "share" not in context
    startup.make_startup(context, str(config))
    startup.add_share(context, config.parent)
    assert context["share"] == [str(config.parent), str(config)]
    elsewhere: dict[str, Any] = {}
    startup.make_startup(elsewhere, str(config), cwd=str(tmp_path))
    assert elsewhere["share"] == [str(tmp_path), str(config)]


def test_a_projects_folder_is_found_and_may_be_read(tmp_path: Path) -> None:
    context: dict[str, Any] = {}
    startup.add_project(context, str(tmp_path))
    assert context["share"] == [str(tmp_path)]
    namespace: dict[str, Any] = {}
    before = list(sys.path)
    try:
        exec(context["startup"], namespace)
        assert sys.path[0] == str(tmp_path) == namespace["project_root_path"]
    finally:
        sys.path[:] = before


def test_the_project_of_a_module_is_where_its_packages_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outer_of_project/inner").mkdir(parents=True)
    for name in ("__init__.py", "inner/__init__.py", "inner/leaf.py"):
        (tmp_path / "outer_of_project" / name).write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("outer_of_project.inner.leaf")
    for module in ("outer_of_project", "outer_of_project.inner", "outer_of_project.inner.leaf"):
        assert startup.project_of(module) == str(tmp_path)
    with pytest.raises(ValueError, match="not imported here"):
        startup.project_of("nothing.of.that.name")
