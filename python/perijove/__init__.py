"""Perijove for a site's Python: launch notebooks, and build what they start with."""

__version__ = "0.1.0"


class RequestTimeout(BaseException):
    """Raised inside a request that took longer than `site.interrupt-time` allows."""
