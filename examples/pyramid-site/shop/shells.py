"""The views a site writes for its notebooks: launch, shut down, let pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perijove import startup
from perijove.pyramid import launch_notebook, notebook_proxy, shutdown_notebook
from pyramid.httpexceptions import HTTPNotFound, HTTPSeeOther
from pyramid.view import view_config

from .models import Base, Order

#: Where this package lies: what a notebook needs on its path to import the models.
ROOT = str(Path(__file__).resolve().parents[1])

#: Makes the shop's modules importable, in whichever Python the notebook runs.
FIND_SHOP = """\
import sys
sys.path.insert(0, {root!r})
"""

#: Opens the database when a kernel starts.
OPEN_DATABASE = """\
from shop.models import open_session
session = open_session({database!r})
"""

#: Something to run at once, at the end of each greeting.
TRY_THIS = """
Try this in the next cell:

```python
import matplotlib.pyplot as plt

months = {}
for order in session.query(Order):
    month = order.placed.replace(day=1)
    months[month] = months.get(month, 0) + order.total

plt.bar(months.keys(), months.values(), width=24)
plt.ylabel("euros a month")
plt.show()
```
"""


@view_config(route_name="shell1", permission="shell")
def shell(request: Any) -> Any:
    """A plain shell: the models and a session."""
    return _launch(request, _context(request))


@view_config(route_name="shell2", permission="shell")
def shell_with_variables(request: Any) -> Any:
    """A shell with variables from the site."""
    context = _context(request)
    startup.add_script(context, "a = 'foo'\nb = 'bar'")
    startup.add_greeting(context, "* **a** - a variable from the site\n* **b** - another one")
    return _launch(request, context)


@view_config(route_name="order_shell", permission="shell")
def shell_on_order(request: Any) -> Any:
    """A shell opened on one record: the variable `order`."""
    order = request.db.get(Order, int(request.matchdict["id"]))
    if order is None:
        raise HTTPNotFound("there is no such order")
    context = _context(request)
    startup.add_script(context, f"order = session.get(Order, {order.id})")
    startup.add_greeting(context, f"* **order** - order {order.id} of {order.placed}")
    return _launch(request, context)


@view_config(route_name="notebook_proxy", permission="shell", require_csrf=False)
def notebook(request: Any) -> Any:
    """Tell perijove whose notebook a visitor may use."""
    return notebook_proxy(request, request.identity)


@view_config(route_name="shutdown_notebook", permission="shell")
def shutdown(request: Any) -> Any:
    """End the visitor's notebook and go home."""
    shutdown_notebook(request, request.identity)
    request.session.flash("Your notebook was shut down. Its files are kept.")
    return HTTPSeeOther(request.route_path("home"))


def _context(request: Any) -> dict[str, Any]:
    """What every shell of this site starts with."""
    context: dict[str, Any] = {}
    startup.add_script(context, FIND_SHOP.format(root=ROOT))
    startup.make_startup(context, None)
    startup.include_sqlalchemy_models(context, Base)
    database = request.registry.settings["shop.database"]
    startup.add_script(context, OPEN_DATABASE.format(database=database))
    # Notebooks see of the site what is shared with them: the models' package, and this.
    startup.add_share(context, database)
    startup.add_greeting(context, "* **session** - a session on the shop's database, for reading")
    return context


def _launch(request: Any, context: dict[str, Any]) -> Any:
    startup.add_greeting(context, TRY_THIS)
    return launch_notebook(request, request.identity, context)
