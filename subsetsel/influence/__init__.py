"""Influence with torch: features of a model, the head, its Hessian, S."""

from subsetsel.influence.estimate import Estimate, estimate_cost
from subsetsel.influence.features import ModelFeatures, features_from_model
from subsetsel.influence.fit import fit_head
from subsetsel.influence.from_model import head_from_model
from subsetsel.influence.head import Head
from subsetsel.influence.kept import Refit
from subsetsel.influence.lissa import LissaRows, lissa_influence
from subsetsel.influence.parameters import ParameterInfluence, parameter_influence
from subsetsel.influence.rows import influence_rows

__all__ = [
    "Estimate",
    "Head",
    "LissaRows",
    "ModelFeatures",
    "ParameterInfluence",
    "Refit",
    "estimate_cost",
    "features_from_model",
    "fit_head",
    "head_from_model",
    "influence_rows",
    "lissa_influence",
    "parameter_influence",
]
