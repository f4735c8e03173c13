"""The one door to S: dense arrays, memory maps, tensors and factored heads behave alike."""

from subsetsel.rows.base import Rows
from subsetsel.rows.dense import DenseRows, as_rows

__all__ = ["DenseRows", "Rows", "as_rows"]
