"""The import paths of pyramid_notebook 0.x, for sites that perijove serves."""

from typing import Any

__version__ = "0.1.0"


def includeme(config: Any) -> None:
    """Check the site's `pyramid_notebook.*` settings."""
    from perijove import pyramid

    pyramid.includeme(config)
