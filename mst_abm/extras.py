"""Libraries of the optional extras, imported when they are wanted."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mst_abm.errors import MissingPackageError


def needs(module: str, extra: str, what: str = "this") -> Any:
    """A library of an optional extra, for ``what``.

    Raises
    ------
    MissingPackageError
        If it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        package = module.partition(".")[0].replace("_", "-")
        raise MissingPackageError(what, package, extra) from None
