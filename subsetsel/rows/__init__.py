"""The one door to S: dense arrays, memory maps, tensors and factored heads behave alike."""

from subsetsel.rows.base import Rows
from subsetsel.rows.dense import DenseRows, as_rows
from subsetsel.rows.factored import FactoredRows

__all__ = ["DenseRows", "FactoredRows", "Rows", "as_rows"]
