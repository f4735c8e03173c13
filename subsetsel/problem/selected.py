"""What the record of a selection says: a choice of `select_for_training`, in numbers and words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Self

from subsetsel.errors import FileFormatError
from subsetsel.support.text import spoken_time

SOLVER = "select"
RANDOM = "random"
SHARES = ("hard_cut", "easy_cut", "evenness", "class_balance")

_CHOICES = {
    "draw": "drawn by lot",
    "joint": "chosen jointly",
    "joint in classes": "chosen jointly within classes",
    "joint in cells": "chosen jointly within strata of classes",
}
_STOPPED = {"time": "stopped by the time limit", "interrupted": "interrupted"}
_MOST_DECIMALS = 6


@dataclass(frozen=True)
class Recipe:
    """A composition as the record has it: which difficulty and which classes are kept."""

    score: str
    hard_cut: float
    easy_cut: float
    evenness: float
    class_balance: float
    choice: str

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """Read its fields among whatever else the mapping holds."""
        shares = {name: _number(record[name]) for name in SHARES}
        return cls(score=str(record["score"]), choice=str(record["choice"]), **shares)

    def __str__(self) -> str:
        cuts = (("hardest", self.hard_cut), ("easiest", self.easy_cut))
        parts = [f"the {end} {100 * share:.3g}% left out" for end, share in cuts if share]
        if self.evenness:
            parts.append(f"evenness of strata {self.evenness:.2g}")
        if parts and self.score not in {"", "difficulty"}:
            parts[-1] += f" (by {self.score})"
        if self.class_balance:
            parts.append(f"class balance {self.class_balance:.2g}")
        return ", ".join([*(parts or ["from all alike"]), self.chosen])

    @property
    def is_by_difficulty(self) -> bool:
        """Whether difficulty plays a part."""
        return any((self.hard_cut, self.easy_cut, self.evenness))

    @property
    def chosen(self) -> str:
        """How examples are taken, in words."""
        return _CHOICES.get(self.choice, self.choice)


@dataclass(frozen=True)
class Tried:
    """A composition that was trained once in the search."""

    number: int
    rule: str
    recipe: Recipe
    value: float | None
    state: str
    reason: str
    seconds: float

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """Read a trial."""
        value = record["value"]
        return cls(
            number=int(record["number"]),
            rule=str(record["rule"]),
            recipe=Recipe.of_record(record),
            value=None if value is None else _number(value),
            state=str(record["state"]),
            reason=str(record["reason"]),
            seconds=_number(record["seconds"]),
        )

    @property
    def score(self) -> float:
        """The value of a trial that has one."""
        assert self.value is not None
        return self.value


@dataclass(frozen=True)
class Beside:
    """A composition beside random, in pairs of trainings on fresh seeds."""

    rule: str
    recipe: Recipe
    values: tuple[float, ...]
    random: tuple[float, ...]
    difference: float
    interval: tuple[float, float]
    is_ahead: bool

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """Read a confirmation."""
        values, random = (tuple(map(_number, record[name])) for name in ("values", "random"))
        low, high = map(_number, record["interval"])
        differences = [value - other for value, other in zip(values, random, strict=True)]
        return cls(
            rule=str(record["rule"]),
            recipe=Recipe.of_record(record["composition"]),
            values=values,
            random=random,
            difference=_number(fmean(differences)),
            interval=(low, high),
            is_ahead=low > 0,
        )

    @property
    def differences(self) -> list[float]:
        """Pair by pair."""
        return [value - random for value, random in zip(self.values, self.random, strict=True)]


@dataclass(frozen=True)
class Selected:
    """What came back from a selection, and what it was compared with.

    Attributes
    ----------
    rule, recipe
        What came back.
    is_confirmed : bool
        Whether it is ahead of random by the trainings on fresh seeds.
    limit : str or None
        Why the selection stopped early.
    trials : list of Tried
    confirmations : list of Beside
    num_trainings : int
    training_time : float
    num_held_out : int
    remarks : list of str
    search_budget : float
        Share of a whole training that trials had; their scores compare with each other alone where
        it is below 1.
    """

    rule: str
    recipe: Recipe
    is_confirmed: bool
    limit: str | None
    num_trainings: int
    training_time: float
    num_held_out: int
    trials: list[Tried] = field(default_factory=list)
    confirmations: list[Beside] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    search_budget: float = 1.0

    @classmethod
    def of_record(cls, solution: Mapping[str, Any]) -> Self | None:
        """Read it from the record of a solution; None where that is no selection.

        Parameters
        ----------
        solution : mapping
            ``solver``, ``limit`` and ``stats``, as a `Solution` and a manifest have them.

        Returns
        -------
        Selected or None

        Raises
        ------
        FileFormatError
            If it is one, and damaged.
        """
        stats = solution.get("stats")
        if solution.get("solver") != SOLVER or not isinstance(stats, Mapping):
            return None
        try:
            found = cls._read(solution.get("limit"), stats)
            ahead = [one for one in found.confirmations if one.is_ahead and found.came_back(one)]
            if found.is_confirmed and not ahead:
                raise ValueError("what came back is confirmed, and no trainings say so")
            for one in found.confirmations:
                found.gain(one)
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise FileFormatError(
                f"the record of the selection is damaged ({type(error).__name__}: {error}); select "
                "again with the same study, or take the manifest that the run wrote."
            ) from error
        return found

    @classmethod
    def _read(cls, limit: Any, stats: Mapping[str, Any]) -> Self:
        return cls(
            rule=str(stats["rule"]),
            recipe=Recipe.of_record(stats["composition"]),
            is_confirmed=stats["is_confirmed"] is True,
            limit=None if limit is None else str(limit),
            num_trainings=int(stats["num_trainings"]),
            training_time=_number(stats["training_time"]),
            num_held_out=int(stats["num_held_out"]),
            trials=[Tried.of_record(one) for one in stats["trials"]],
            confirmations=[Beside.of_record(one) for one in stats["confirmation"]],
            remarks=[str(one) for one in stats["remarks"]],
            search_budget=_number(stats.get("search_budget", 1.0)),
        )

    @property
    def winner(self) -> Beside:
        """The confirmation of what came back, where it is confirmed."""
        return next(one for one in self.confirmations if self.came_back(one))

    def came_back(self, one: Tried | Beside) -> bool:
        """Whether a trial or a confirmation is of what came back."""
        return (one.rule, one.recipe) == (self.rule, self.recipe)

    def trial_of(self, one: Beside, before: str) -> str:
        """Name the trial of a confirmation, after something; empty where there is none."""
        same = (t.number for t in self.trials if (t.rule, t.recipe) == (one.rule, one.recipe))
        number = next(same, None)
        return "" if number is None else f"{before}trial {number}"

    @property
    def ranked(self) -> list[Tried]:
        """The trials with a score, best first."""
        known = (one for one in self.trials if one.value is not None)
        return sorted(known, key=lambda one: -one.score)

    @property
    def best(self) -> Beside | None:
        """The confirmation that is furthest ahead."""
        return max(self.confirmations, key=lambda one: one.difference, default=None)

    @property
    def is_share(self) -> bool:
        """Whether all scores lie in 0 to 1, so that differences are said in points."""
        trials = [one.score for one in self.ranked]
        pairs = [value for one in self.confirmations for value in one.values + one.random]
        return all(0 <= value <= 1 for value in [*trials, *pairs])

    @property
    def standing(self) -> str:
        """Say in a few words what came back."""
        if self.is_confirmed:
            return "ahead of random"
        return "random came back" if self.is_settled else "not confirmed"

    @property
    def is_settled(self) -> bool:
        """Whether trainings on fresh seeds decided what came back."""
        return self.is_confirmed or (self.rule == RANDOM and bool(self.confirmations))

    @property
    def verdict(self) -> str:
        """Say in a sentence what came back and by how much it is ahead of random."""
        stopped = _STOPPED.get(self.limit or "", self.limit)
        if self.is_confirmed:
            ahead = f"Ahead of random by {self.gain(self.winner)} {_pairs(self.winner)}."
            return ahead if self.limit is None else f"{ahead} The search was {stopped}."
        best = self.best
        if best is not None and self.rule == RANDOM:
            return (
                "Nothing was found that is ahead of random, which came back: the difference of the "
                f"best was {self.gain(best, sign='+')} {_pairs(best)}."
            )
        why = "too few trainings on fresh seeds gave a score" if stopped is None else stopped
        if not self.trials:
            return f"Nothing is confirmed, and nothing was tried: {why} before a training ended."
        if self.rule == RANDOM:
            rank = "" if self.limit is None else ", the best so far"
            return f"Nothing is confirmed: {why}. Random came back{rank}."
        return f"Nothing is confirmed: {why}. {self._so_far()}"

    def _so_far(self) -> str:
        """Say what the best of the search is worth, by one training."""
        mine = [one.score for one in self.ranked if one.recipe == self.recipe]
        random = [one.score for one in self.ranked if one.rule == RANDOM]
        scores = f", {mine[0]:.5g}" if mine else ""
        scores += f" beside {random[0]:.5g} of random" if mine and random else ""
        return (
            f"The best of {len(self.trials)} trials, by one training each, came back{scores}; it "
            "may owe that to luck."
        )

    def gain(self, one: Beside, sign: str = "") -> str:
        """Say a difference and its interval, in points where scores are shares."""
        factor, unit = (100.0, " points") if self.is_share else (1.0, "")
        low, high = (factor * end for end in one.interval)
        decimals = _decimals(low, high)

        def say(number: float) -> str:
            return f"{number:{sign}.{decimals}f}" if decimals <= _MOST_DECIMALS else f"{number:.3g}"

        return f"{say(factor * one.difference)}{unit} ({say(low)} to {say(high)})"


def _pairs(one: Beside) -> str:
    return f"in {len(one.values)} paired trainings on fresh seeds"


def _decimals(low: float, high: float) -> int:
    """One, or as many as show the half of the interval, and an end beside zero, as not zero."""
    lengths = [abs(length) for length in ((high - low) / 2, low, high) if length]
    return max([1, *(-math.floor(math.log10(length)) for length in lengths)])


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is no score")
    return number


def facts_of(selected: Selected) -> Iterator[tuple[str, str]]:
    """Say what was selected and what it cost, name by name."""
    if selected.trials:
        yield "choice", f"{selected.rule}: {selected.recipe}"
    yield "referee", selected.verdict
    yield (
        "cost",
        f"{selected.num_trainings:,} trainings in {spoken_time(selected.training_time)}, each "
        f"judged on {selected.num_held_out:,} examples that were set aside",
    )
    for remark in selected.remarks:
        yield "remark", remark
