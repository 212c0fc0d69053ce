"""Builds what a notebook starts with; the same functions as `perijove.startup`."""

from perijove.startup import (
    PYRAMID_BOOSTRAP,
    PYRAMID_GREETING,
    add_greeting,
    add_script,
    get_dotted_path,
    get_import_statement,
    include_sqlalchemy_models,
    make_startup,
)

__all__ = [
    "PYRAMID_BOOSTRAP",
    "PYRAMID_GREETING",
    "add_greeting",
    "add_script",
    "get_dotted_path",
    "get_import_statement",
    "include_sqlalchemy_models",
    "make_startup",
]
