"""The application under other names: a factory, and what a PasteDeploy file calls."""

import wsgi_app

application = wsgi_app.application


def make():
    return application


def paste(global_settings, **settings):
    return application
