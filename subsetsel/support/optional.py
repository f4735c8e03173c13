"""Packages that come with an extra: imported where they are used, named where they are missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from subsetsel.errors import MissingExtraError


def import_extra(module: str, extra: str, purpose: str) -> Any:
    """Import a module of the package that an extra of subsetsel installs.

    ``purpose`` says what needs it, in the plural: ``"parquet files"``.

    Raises
    ------
    MissingExtraError
        If the package is not installed; the message says how to install it.
    ModuleNotFoundError
        If it is, and lacks something that it needs itself.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise MissingExtraError(
            f'{purpose} need {package}, which is not installed; pip install "subsetsel[{extra}]".'
        ) from error
