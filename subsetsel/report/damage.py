"""What is said where a manifest holds what no run writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from subsetsel.errors import FileFormatError, SubsetselError


@contextmanager
def refusing_damage() -> Iterator[None]:
    """Say that the manifest is damaged where its values are not what the page is made of."""
    try:
        yield
    except SubsetselError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise FileFormatError(
            f"the manifest holds what no run writes ({type(error).__name__}: {error}); take the "
            "manifest that the run wrote, or run it again."
        ) from error
