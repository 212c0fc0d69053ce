"""The original's HTTP proxy: no request to a notebook passes through the site any more."""

from ._gone import gone

_INSTEAD = "call `pyramid_notebook.views.notebook_proxy`: perijove carries the request itself"

WSGIProxyApplication = gone("WSGIProxyApplication", _INSTEAD)
is_hop_by_hop = gone("is_hop_by_hop", _INSTEAD)
reconstruct_url = gone("reconstruct_url", _INSTEAD)
