"""The scores there are, by name: for tables, and for whoever compares them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from subsetsel.scores.basics import influence, random
from subsetsel.scores.gradients import grand
from subsetsel.scores.outputs import aum, el2n, forgetting, grand_last_layer
from subsetsel.scores.representatives import class_mean, herding
from subsetsel.scores.score import End, Score


@dataclass(frozen=True)
class ScoreSpec:
    """One line of the catalogue.

    Attributes
    ----------
    name : str
    compute : callable
        Returns a `Score` of that name.
    keeps : {"highest", "lowest"}
    needs : str
        What it is computed from.
    summary : str
        One line for tables.
    """

    name: str
    compute: Callable[..., Score]
    keeps: End
    needs: str
    summary: str


_SPECS = (
    ScoreSpec("random", random, "highest", "nothing", "chance"),
    ScoreSpec("class_mean", class_mean, "lowest", "features", "nearest to the mean of the class"),
    ScoreSpec("herding", herding, "lowest", "features", "greedy: the kept have the class's mean"),
    ScoreSpec("forgetting", forgetting, "highest", "training", "how often learned and forgotten"),
    ScoreSpec("grand", grand, "highest", "a model", "gradient norm, all parameters"),
    ScoreSpec(
        "grand_last_layer",
        grand_last_layer,
        "highest",
        "features and probabilities",
        "gradient norm, last layer",
    ),
    ScoreSpec("el2n", el2n, "highest", "probabilities", "length of the error vector"),
    ScoreSpec("aum", aum, "lowest", "training", "mean margin of the own class"),
    ScoreSpec("influence", influence, "highest", "S", "row norm of S, one example at a time"),
)


def available() -> dict[str, ScoreSpec]:
    """List every score, in the order of the paper's section 6.3, then the others.

    Returns
    -------
    dict
        name -> `ScoreSpec`.
    """
    return {spec.name: spec for spec in _SPECS}
