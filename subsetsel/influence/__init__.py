"""Influence with torch: the head, its Hessian, S."""

from subsetsel.influence.fit import fit_head
from subsetsel.influence.head import Head
from subsetsel.influence.kept import Refit
from subsetsel.influence.rows import influence_rows

__all__ = ["Head", "Refit", "fit_head", "influence_rows"]
