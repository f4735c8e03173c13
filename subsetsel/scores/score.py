"""One number per example, and which end of it a score keeps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from subsetsel.errors import OptionError, ProblemError
from subsetsel.problem.solution import Solution
from subsetsel.rows.base import FloatArray, IndexArray

End = Literal["highest", "lowest"]


@dataclass(frozen=True, eq=False)
class Score:
    """A ranking of the examples by one number each.

    Attributes
    ----------
    name : str
        As in `subsetsel.scores.available`.
    values : ndarray of shape (n,), float64
        Finite and read-only.
    keeps : {"highest", "lowest"}
        The end that is kept by definition of the score.
    about : dict
        The settings it was computed with.

    Raises
    ------
    ProblemError
        If the values are not one finite number per example.
    OptionError
        If ``keeps`` is neither end.
    """

    name: str
    values: FloatArray
    keeps: End
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)
        if values.ndim != 1 or values.size == 0:
            raise ProblemError(
                f"values of a score must be one number per example, got shape {values.shape}."
            )
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise ProblemError(
                f"score {self.name!r} must be finite, but values[{bad[0]}] is {values[bad[0]]} "
                f"({bad.size} such values)."
            )
        if self.keeps not in get_args(End):
            raise OptionError(f"keeps must be 'highest' or 'lowest', got {self.keeps!r}.")
        values.flags.writeable = False
        object.__setattr__(self, "values", values)

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(self.values)

    def ranking(self, *, seed: int = 0) -> IndexArray:
        """Order the examples from the first that is kept to the first that is pruned.

        Parameters
        ----------
        seed : int
            Draws the order among equal values: data sets are often sorted by class, and counts
            such as forgetting have many ties, so their order in the data set must not decide.

        Returns
        -------
        ndarray of shape (n,), int64
        """
        shuffled = np.random.default_rng(seed).permutation(self.n)
        kept_first = -self.values if self.keeps == "highest" else self.values
        order: IndexArray = shuffled[np.argsort(kept_first[shuffled], kind="stable")]
        return order.astype(np.int64)

    def select(self, **question: Any) -> Solution:
        """Keep the end that this score keeps: `subsetsel.scores.select` of it.

        Parameters
        ----------
        **question
            As there.

        Returns
        -------
        Solution
        """
        from subsetsel.scores.choice import select

        return select(self, **question)

    def __repr__(self) -> str:
        return (
            f"Score({self.name!r}, n={self.n}, keeps={self.keeps!r}, "
            f"values {self.values.min():.4g} to {self.values.max():.4g})"
        )


def average(runs: Iterable[Score]) -> Score:
    """Mean of one score over several runs, as EL2N and GraNd are defined.

    Parameters
    ----------
    runs : iterable of Score
        Of the same name, end and examples.

    Returns
    -------
    Score
        ``about["runs"]`` lists the settings of each.

    Raises
    ------
    ProblemError
        If there are none, or two differ in name, end or number of examples.
    """
    found = list(runs)
    if not found:
        raise ProblemError("there is no score to average; give at least one.")
    first = found[0]
    for one in found[1:]:
        if (one.name, one.keeps, one.n) != (first.name, first.keeps, first.n):
            raise ProblemError(
                f"only runs of one score can be averaged, got {first!r} and {one!r}."
            )
    values = np.mean([one.values for one in found], axis=0)
    return Score(first.name, values, first.keeps, {"runs": [one.about for one in found]})
