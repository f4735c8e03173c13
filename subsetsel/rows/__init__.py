"""The rows of S behind one interface, `Rows`: arrays, memory maps, tensors, factored heads.

Solvers and bounds ask nothing of S but what `Rows` offers; `as_rows` makes one of what users bring.
"""

from subsetsel.rows.base import Rows
from subsetsel.rows.dense import DenseRows
from subsetsel.rows.factored import FactoredRows
from subsetsel.rows.given import as_rows

__all__ = ["DenseRows", "FactoredRows", "Rows", "as_rows"]
