"""The original's websocket proxy for uWSGI: perijove carries websockets itself."""

from ._gone import gone

serve_websocket = gone(
    "serve_websocket",
    "remove `pyramid_notebook.websocket_proxy` and start the site with `perijove serve`",
)
