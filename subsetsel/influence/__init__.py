"""Influence with torch: features of a model, the head, its Hessian, S."""

from subsetsel.influence.estimate import Estimate, estimate_cost
from subsetsel.influence.features.capture import ModelFeatures
from subsetsel.influence.features.extract import features_from_model
from subsetsel.influence.features.from_model import head_from_model
from subsetsel.influence.head.fit import fit_head
from subsetsel.influence.head.head import Head
from subsetsel.influence.head.lissa import LissaRows, lissa_influence
from subsetsel.influence.head.refit import Refit
from subsetsel.influence.head.rows import influence_rows
from subsetsel.influence.network.parameters import ParameterInfluence, parameter_influence

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
