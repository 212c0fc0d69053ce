"""What `make_startup` of each framework puts into a shell, run as a kernel's Python runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_control import PACKAGES

FLASK = """
import os
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

db = SQLAlchemy()

class Order(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    title = db.Column(db.String)

def create_app(folder="."):
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{os.path.abspath(folder)}/shop.sqlite"
    app.shell_context_processor(lambda: {"seven": 7})
    db.init_app(app)
    return app
"""

SETTINGS = """
SECRET_KEY = "none"
INSTALLED_APPS = ["first", "second"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "first.urls"
"""

MODEL = """
from django.db import models

class Thing(models.Model):
    title = models.CharField(max_length=9)
"""

FASTAPI = """
from fastapi import FastAPI
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

open("beside.txt").close()
app = FastAPI(title="the site")

class Base(DeclarativeBase):
    pass

class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
"""


def run(program: str, folder: Path, path: Path | None = None) -> Any:
    """What a program prints as JSON; it may import what lies in `path`."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=folder,
        env={"PYTHONPATH": os.pathsep.join([*PACKAGES, *([str(path)] if path else [])])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def shell(make: str, site: Path, cell: str) -> tuple[dict[str, Any], Any]:
    """The context that the site makes, and what a cell sees in a kernel that works elsewhere."""
    (site / "beside.txt").write_text("")
    made = f"import json\ncontext = {{}}\n{make}\nprint(json.dumps(context))"
    context = run(made, site, site)
    (site / "elsewhere").mkdir()
    shown = f"{context['startup']}\nimport json\nprint(json.dumps({cell}))"
    return context, run(shown, site / "elsewhere")


@pytest.mark.parametrize("named", ["", "'shop:create_app()'"])
def test_flask(named: str, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(FLASK)
    make = (
        "import shop\nfrom perijove.flask import make_startup\napp = shop.create_app()\n"
        "with app.app_context():\n"
        "    shop.db.create_all()\n    shop.db.session.add(shop.Order(title='tea'))\n"
        f"    shop.db.session.commit()\n    make_startup(context, {named})"
    )
    cell = "[current_app.name, seven, [order.title for order in db.session.query(Order)]]"
    context, seen = shell(make, tmp_path, f"(exec('from flask import current_app'), {cell})[1]")
    assert seen == ["shop", 7, ["tea"]]
    assert context["share"] == [str(tmp_path), str(tmp_path / "shop.py")]
    for name in ("**app**", "**db**", "* **Order** - shop.Order"):
        assert name in context["greeting"]


def test_django(tmp_path: Path) -> None:
    for app in ("first", "second"):
        (tmp_path / app).mkdir()
        (tmp_path / app / "__init__.py").write_text("")
        (tmp_path / app / "models.py").write_text(MODEL)
    (tmp_path / "first/settings.py").write_text(SETTINGS)
    make = (
        "import os\nos.environ['DJANGO_SETTINGS_MODULE'] = 'first.settings'\n"
        "import django\ndjango.setup()\nfrom perijove.django import make_startup\n"
        "make_startup(context)"
    )
    cell = (
        "[Thing._meta.label, second_models_Thing._meta.label, settings.SETTINGS_MODULE, "
        "connection.vendor, str(Q(title='x'))]"
    )
    context, seen = shell(make, tmp_path, cell)
    labels = ["first.Thing", "second.Thing", "first.settings", "sqlite"]
    assert seen == [*labels, "(AND: ('title', 'x'))"]
    assert context["share"][0] == str(tmp_path)
    for name in ("**settings**", "* **Thing** - first.models.Thing", "**second_models_Thing**"):
        assert name in context["greeting"]


def test_django_asks_its_database_within_a_cells_loop(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first/__init__.py").write_text("")
    settings = SETTINGS.replace('["first", "second"]', '["first"]')
    (tmp_path / "first/settings.py").write_text(settings)
    make = (
        "from perijove.django import make_startup\nimport os, django\n"
        "os.environ['DJANGO_SETTINGS_MODULE'] = 'first.settings'\ndjango.setup()\n"
        "make_startup(context)"
    )
    query = "connection.cursor().execute('select 1').fetchone()"
    code = f"async def cell():\n    return {query}"
    cell = f"(exec({code!r}, globals()), __import__('asyncio').run(cell()))[1]"
    assert shell(make, tmp_path, cell)[1] == [1]


def test_fastapi(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(FASTAPI)
    make = (
        "import main\nfrom perijove import startup\nfrom perijove.starlette import make_startup\n"
        "make_startup(context, 'main:app')\nstartup.include_sqlalchemy_models(context, main.Base)"
    )
    context, seen = shell(make, tmp_path, "[app.title, Order.__tablename__]")
    assert seen == ["the site", "orders"]
    for name in ("**app**", "`main:app`", "* **Order** - main.Order"):
        assert name in context["greeting"]
