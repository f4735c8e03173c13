"""Files that users bring and take away.

Nothing is ever unpickled, and no array is allocated before its declared size was compared with
what the file holds and with the memory there is. Tables of text are read block by block.
"""

from subsetsel.formats.data import Data
from subsetsel.formats.read import MATRIX_SUFFIXES, TABLE_SUFFIXES, read_data, read_matrix
from subsetsel.formats.reading import Reading, Text
from subsetsel.formats.subset import SUBSET_SUFFIXES, read_solution, write_solution

__all__ = [
    "MATRIX_SUFFIXES",
    "SUBSET_SUFFIXES",
    "TABLE_SUFFIXES",
    "Data",
    "Reading",
    "Text",
    "read_data",
    "read_matrix",
    "read_solution",
    "write_solution",
]
