"""Files that users bring and take away.

Nothing is ever unpickled, and no array is allocated before its declared size was compared with
what the file holds and with the memory there is.
"""

from subsetsel.formats.data import Data
from subsetsel.formats.read import MATRIX_SUFFIXES, read_data, read_matrix
from subsetsel.formats.subset import SUBSET_SUFFIXES, read_solution, write_solution

__all__ = [
    "MATRIX_SUFFIXES",
    "SUBSET_SUFFIXES",
    "Data",
    "read_data",
    "read_matrix",
    "read_solution",
    "write_solution",
]
