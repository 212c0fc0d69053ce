"""The pages, and the three views for notebooks."""

from pyramid.httpexceptions import HTTPForbidden, HTTPFound
from pyramid.response import Response
from pyramid.security import remember
from pyramid.view import view_config
from pyramid_notebook import startup
from pyramid_notebook.views import launch_notebook
from pyramid_notebook.views import notebook_proxy as _notebook_proxy
from pyramid_notebook.views import shutdown_notebook as _shutdown_notebook

from .models import Base, DBSession, User

#: What every shell finds beside the models.
SCRIPT = """
from backoffice.models import DBSession as session
"""

GREETING = """
* **session** - the back office's database session
"""


@view_config(route_name="notebook_proxy", permission="shell")
def notebook_proxy(request):
    return _notebook_proxy(request, request.user.username)


@view_config(route_name="admin_shell", permission="shell")
def admin_shell(request):
    nb = {}
    global_config = request.registry.settings["backoffice.global_config"]
    startup.make_startup(nb, global_config["__file__"])
    startup.add_script(nb, SCRIPT)
    startup.add_greeting(nb, GREETING)
    startup.include_sqlalchemy_models(nb, Base)
    return launch_notebook(request, request.user.username, notebook_context=nb)


@view_config(route_name="shutdown_notebook", permission="shell")
def shutdown_notebook(request):
    _shutdown_notebook(request, request.user.username)
    return HTTPFound(request.route_url("home"))


@view_config(route_name="home")
def home(request):
    name = request.user.username if request.user else "nobody"
    return Response(f"back office, signed in: {name}\n", content_type="text/plain")


@view_config(route_name="login", request_method="POST")
def login(request):
    user = DBSession.query(User).filter_by(username=request.POST.get("username", "")).first()
    if user is None or request.POST.get("password") != "password":
        raise HTTPForbidden("wrong name or password")
    return HTTPFound(request.route_url("home"), headers=remember(request, user.id))


@view_config(route_name="login", request_method="GET")
def login_form(request):
    return Response(
        '<form method="post"><input name="username"><input name="password" type="password">'
        "<button>Sign in</button></form>"
    )
