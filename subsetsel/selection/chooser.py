"""From a composition to the examples that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.engine.options import COMMON_OPTIONS, Limits
from subsetsel.engine.registry import get_spec
from subsetsel.engine.solve import solve
from subsetsel.errors import OptionError, ProblemError, SolverError
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray, FloatArray, IndexArray
from subsetsel.scores.score import Score
from subsetsel.scores.strata import equal_slices
from subsetsel.selection.composition import Composition
from subsetsel.support.arrays import to_numpy
from subsetsel.support.labels import to_labels

NUM_STRATA = 50


class Chooser:
    """Keeps what a composition asks for.

    Parameters
    ----------
    difficulty : array_like of shape (n,), Score, or mapping of name to either
        Higher is harder; of a `Score` the end that it keeps by definition is the hard one.
    labels : array_like of shape (n,)
        The class of each example.
    rows : Problem or whatever `Problem` takes, optional
        Influence of the same examples, for joint choices; with ``hessian="kept"`` every choice is
        made on rows that say what refitting does.
    solve_options : mapping, optional
        Of `subsetsel.solve`, for the joint choices, such as ``{"time_limit": 10}``.

    Raises
    ------
    ProblemError
        If lengths differ or a difficulty is not finite.
    """

    def __init__(
        self,
        difficulty: Any,
        labels: ArrayLike,
        rows: Any = None,
        *,
        solve_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.classes, self.labels = np.unique(to_labels(labels, "labels"), return_inverse=True)
        self.n, self.num_classes = len(self.labels), len(self.classes)
        self.difficulty = _difficulties(difficulty, self.n)
        self.problem: Problem | None = None
        if rows is not None:
            self.problem = rows if isinstance(rows, Problem) else Problem(rows, size=1)
            if self.problem.n != self.n:
                raise ProblemError(
                    f"rows hold {self.problem.n} examples and labels {self.n}; give those of the "
                    "same examples, in the same order."
                )
        self._solve_options = {"bound": False, **_checked_options(solve_options or {})}

    def choose(
        self,
        composition: Composition,
        num_kept: int,
        *,
        seed: int,
        held_out: IndexArray | None = None,
    ) -> IndexArray:
        """Choose what to keep.

        Parameters
        ----------
        composition : Composition
        num_kept : int
        seed : int
            Of the draw, of the rounding of quotas, of ties, and of the solver.
        held_out : ndarray of int, optional
            Examples that are not to be kept: the referee's.

        Returns
        -------
        ndarray of int64, shape (num_kept,)
            Sorted.

        Raises
        ------
        OptionError
            If there are fewer examples than are to be kept after the cuts, the score is unknown, or
            a joint choice is asked for without rows.
        SolverError
            If a joint choice finds nothing.
        """
        generator = np.random.default_rng(seed)
        is_open = self._open(composition, num_kept, held_out, generator)
        if composition.is_plain:
            kept = generator.choice(np.flatnonzero(is_open), num_kept, replace=False)
            return np.sort(kept).astype(np.int64)
        if composition.choice == "joint":
            return self._solve(self._one_of_each(is_open, num_kept), is_open, num_kept, seed)
        cells, counts = self._quotas(composition, is_open, num_kept, generator)
        if composition.is_joint:
            sizes = np.bincount(cells[is_open], minlength=len(counts))
            limits = {int(c): (int(sizes[c] - counts[c]),) * 2 for c in np.flatnonzero(sizes)}
            question = {"groups": np.where(is_open, cells, -1), "group_limits": limits}
            return self._solve(question, is_open, num_kept, seed)
        return _draw(cells, counts, is_open, generator)

    def about_rows(self) -> dict[str, Any]:
        """Say what joint choices depend on."""
        given = self.problem
        if given is None:
            return {"rows": None}
        # One number in which every row counts, and its place; digits that rounding does not reach.
        mark = given.rows.squared_norms @ np.random.default_rng(0).random(self.n)
        return {
            "rows": [*given.rows.shape, f"{mark:.6g}", given.normalization, given.hessian],
            # Callbacks are no part of the question, and bear an address.
            "solve_options": {
                name: value for name, value in self._solve_options.items() if not callable(value)
            },
        }

    def _open(
        self,
        composition: Composition,
        num_kept: int,
        held_out: IndexArray | None,
        generator: np.random.Generator,
    ) -> BoolArray:
        """Mark the examples that are neither held out nor cut."""
        is_open: BoolArray = np.ones(self.n, dtype=np.bool_)
        if held_out is not None:
            is_open[held_out] = False
        num_open = int(np.count_nonzero(is_open))
        # A share such as 0.29 of 100 must not become 28 by rounding of the product.
        num_hard, num_easy = (
            int(share * num_open + 1e-9) for share in (composition.hard_cut, composition.easy_cut)
        )
        if num_open - num_hard - num_easy < num_kept:
            raise OptionError(
                f"num_kept = {num_kept}, but after cutting {num_hard} hard and {num_easy} easy "
                f"examples of {num_open} only {num_open - num_hard - num_easy} are left; cut less."
            )
        if num_hard or num_easy:
            # Ties are broken by lot, since data sets are often sorted by class.
            lots = generator.permutation(np.flatnonzero(is_open))
            by_difficulty = lots[np.argsort(self._score(composition)[lots], kind="stable")]
            is_open[by_difficulty[:num_easy]] = False
            is_open[by_difficulty[num_open - num_hard :]] = False
        return is_open

    def _score(self, composition: Composition) -> FloatArray:
        found = self.difficulty.get(composition.score)
        if found is None:
            raise OptionError(
                f"there is no difficulty {composition.score!r}; there is "
                f"{', '.join(map(repr, self.difficulty))}."
            )
        return found

    def _quotas(
        self,
        composition: Composition,
        is_open: BoolArray,
        num_kept: int,
        generator: np.random.Generator,
    ) -> tuple[IndexArray, IndexArray]:
        """Give each example its cell, and each cell how many of it are kept."""
        strata: IndexArray = np.zeros(self.n, dtype=np.int64)
        if composition.evenness and composition.choice != "joint in classes":
            strata[is_open] = equal_slices(self._score(composition)[is_open], NUM_STRATA)
        num_strata = int(strata.max()) + 1
        cells = self.labels * num_strata + strata
        sizes = np.bincount(cells[is_open], minlength=self.num_classes * num_strata)
        table = sizes.reshape(self.num_classes, num_strata)
        with np.errstate(divide="ignore"):
            weights = np.where(table.any(axis=0), table.sum(axis=0), 1.0) ** -composition.evenness
        expected = _expected(table, weights, num_kept, composition.class_balance)
        return cells, _rounded(expected.ravel(), sizes, num_kept, generator)

    def _one_of_each(self, is_open: BoolArray, num_kept: int) -> dict[str, Any]:
        """Keep one example of each class that has any, where rows speak of a refitted head."""
        sizes = np.bincount(self.labels[is_open])
        present = np.flatnonzero(sizes)
        is_kept = self.problem is not None and self.problem.normalization == "kept"
        if not is_kept or len(present) > num_kept:
            return {}
        limits = {int(c): (0, int(sizes[c]) - 1) for c in present}
        return {"groups": np.where(is_open, self.labels, -1), "group_limits": limits}

    def _solve(
        self, question: dict[str, Any], is_open: BoolArray, num_kept: int, seed: int
    ) -> IndexArray:
        """Keep so that the joint influence of what is pruned is smallest (Eq. 4)."""
        given = self.problem
        if given is None:
            raise OptionError("a joint choice needs rows: a Problem, or S of the same examples.")
        problem = Problem(
            given.rows,
            size=self.n - num_kept,
            normalization=given.normalization,
            must_prune=~is_open,
            head=given.head,
            hessian=given.hessian,
            **question,
        )
        found = solve(problem, seed=seed, **self._solve_options)
        if found.limit == "interrupted":
            # `solve` gives its best so far; the user wants all of this to end.
            raise KeyboardInterrupt
        if not found.is_feasible:
            raise SolverError(f"the joint choice of {num_kept} examples found nothing: {found}")
        return found.kept


def _checked_options(given: Any) -> dict[str, Any]:
    """Refuse a wrong option of `solve` before anything is trained."""
    if not isinstance(given, Mapping):
        raise OptionError(
            f"solve_options must be a dictionary of options of subsetsel.solve, got {given!r}."
        )
    if not given:
        return {}
    if "seed" in given:
        raise OptionError("solve_options holds seed; each choice has its own, so leave it out.")
    spec = get_spec(given.get("solver", "anneal"))
    common = {name: given[name] for name in COMMON_OPTIONS if name in given}
    Limits(**common)
    spec.options(spec.load(), {k: v for k, v in given.items() if k not in {"solver", *common}})
    return dict(given)


def _difficulties(given: Any, n: int) -> dict[str, FloatArray]:
    """Read one or several measures of difficulty, so that higher is harder."""
    if isinstance(given, Mapping):
        if not given:
            raise ProblemError("difficulty is an empty mapping; give one measure at least.")
        return {str(name): _values(one, f"difficulty[{name!r}]", n) for name, one in given.items()}
    name = given.name if isinstance(given, Score) else "difficulty"
    return {name: _values(given, "difficulty", n)}


def _values(given: Any, name: str, n: int) -> FloatArray:
    if isinstance(given, Score):
        values: Any = given.values if given.keeps == "highest" else -given.values
    else:
        values = to_numpy(given, name)
        if values.dtype.kind not in "fiub":
            raise ProblemError(f"{name} must hold real numbers, got dtype {values.dtype}.")
    if values.shape != (n,):
        raise ProblemError(
            f"{name} must be one number per example, shape ({n},), got shape {values.shape}."
        )
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ProblemError(
            f"{name} must be finite, but that of example {bad[0]} is {values[bad[0]]} ({bad.size} "
            "such values); give these examples a difficulty, or leave them out of the data."
        )
    checked: FloatArray = values.astype(np.float64)
    return checked


def _expected(
    table: IndexArray, weights: FloatArray, num_kept: int, class_balance: float
) -> FloatArray:
    """Give how many of each cell are kept on average, of sizes ``table`` (classes x strata)."""
    natural = _filled(table.sum(axis=0), weights, num_kept) / np.maximum(table.sum(axis=0), 1)
    by_class = (table * natural).sum(axis=1)
    targets = by_class
    if class_balance:
        available = table.sum(axis=1)
        shares = np.where(by_class > 0, (by_class / num_kept) ** (1 - class_balance), 0.0)
        # A class that has no more gives its part to the others.
        with np.errstate(divide="ignore", invalid="ignore"):
            per_example = np.where(available > 0, shares / np.maximum(available, 1), 0.0)
        targets = _filled(available, per_example, num_kept)
    rows = [_filled(sizes, weights, target) for sizes, target in zip(table, targets, strict=True)]
    return np.array(rows)


def _filled(sizes: IndexArray, weights: FloatArray, total: float) -> FloatArray:
    """Share ``total`` out as sizes * min(1, factor * weights): what is full gives to the others."""
    order = np.argsort(-weights, kind="stable")
    kept, left, rest = np.zeros(len(sizes)), float(total), float(sizes @ weights)
    for cell in order:
        factor = left / rest if rest > 0 else 0.0
        kept[cell] = sizes[cell] * min(1.0, factor * weights[cell])
        left -= kept[cell]
        rest -= sizes[cell] * weights[cell]
    return kept


def _rounded(
    expected: FloatArray, sizes: IndexArray, total: int, generator: np.random.Generator
) -> IndexArray:
    """Round so that the sum is ``total`` and each sum of neighbours is off by less than one.

    Cells lie class by class, so that classes get what they should; a random start of the count
    prefers no cell.
    """
    ends = np.cumsum(expected)
    ends *= total / ends[-1]
    marks = np.floor(np.concatenate([[0.0], ends]) + generator.random()).astype(np.int64)
    marks[-1] = marks[0] + total
    counts = np.minimum(np.diff(marks), sizes)
    # Rounding errors may have given one more to a cell that is full.
    for cell in np.flatnonzero(sizes - counts):
        counts[cell] += min(total - int(counts.sum()), int(sizes[cell] - counts[cell]))
    return counts.astype(np.int64)


def _draw(
    cells: IndexArray, counts: IndexArray, is_open: BoolArray, generator: np.random.Generator
) -> IndexArray:
    """Keep as many of each cell as are wanted, by lot."""
    lots = generator.permutation(np.flatnonzero(is_open))
    by_cell = lots[np.argsort(cells[lots], kind="stable")]
    sizes = np.bincount(cells[lots], minlength=len(counts))
    place = np.arange(len(by_cell)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(by_cell[place < counts[cells[by_cell]]]).astype(np.int64)
