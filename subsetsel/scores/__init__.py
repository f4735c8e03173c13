"""Scores: rankings of single examples, the baselines that joint choices are measured against.

Every score says which end it keeps, and `select` turns it into the `subsetsel.Solution` that the
solvers return. ``subsetsel.scores.available()`` lists them.
"""

from subsetsel.scores.basics import influence, random
from subsetsel.scores.catalogue import ScoreSpec, available
from subsetsel.scores.gradients import grand
from subsetsel.scores.outputs import aum, el2n, forgetting, grand_last_layer
from subsetsel.scores.recorder import TrainingRecorder
from subsetsel.scores.representatives import class_mean, herding
from subsetsel.scores.score import Score, average, select
from subsetsel.scores.strata import Strata, strata_quotas

__all__ = [
    "Score",
    "ScoreSpec",
    "Strata",
    "TrainingRecorder",
    "aum",
    "available",
    "average",
    "class_mean",
    "el2n",
    "forgetting",
    "grand",
    "grand_last_layer",
    "herding",
    "influence",
    "random",
    "select",
    "strata_quotas",
]
