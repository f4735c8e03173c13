"""What comes back from a selection, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from typing import Any

import numpy as np

from subsetsel.problem.solution import Solution
from subsetsel.rows.base import BoolArray
from subsetsel.selection.chooser import Chooser
from subsetsel.selection.composition import Composition, random_rule
from subsetsel.selection.confirm import Confirmation
from subsetsel.selection.search import CHEAP_BUDGET, Selection
from subsetsel.support.records import plain

RANDOM = "random"


def conclude(
    selection: Selection, start: str, seed: int, study: str | PathLike[str] | None
) -> Solution:
    """Decide what comes back, choose it from all examples, and say why."""
    rule, composition, is_confirmed, why = _decide(selection)
    settings, chooser, trials = selection.settings, selection.chooser, selection.study.trials
    failed = [trial for trial in trials if trial.value is None]
    remarks = list(selection.remarks)
    if failed:
        one = failed[0]
        remarks.append(
            f"{len(failed)} of {len(trials)} trials gave no score; the first, trial {one.number} "
            f"({one.rule}), {one.outcome.reason}."
        )
    remarks.extend(
        f"{one.rule} gave no score in {one.num_failed} trainings on fresh seeds: what the others "
        "gave is no ground to choose it."
        for one in selection.confirmations
        if one.num_failed
    )
    mask = np.zeros(chooser.n, dtype=np.bool_)
    if trials:
        # What was set aside for the referee is open to the choice now.
        mask[:] = True
        mask[chooser.choose(composition, settings.num_kept, seed=seed)] = False
        remarks.extend(_lost_classes(chooser, ~mask))
    norm = float("nan") if chooser.problem is None else chooser.problem.norm(mask)
    stats: dict[str, Any] = {
        "start": start,
        "rule": rule,
        "composition": composition.record(),
        "is_confirmed": is_confirmed,
        "trials": [trial.record() for trial in trials],
        "confirmation": [one.record() for one in selection.confirmations],
        "num_trainings": selection.num_done,
        "training_time": selection.training_time,
        "num_held_out": len(selection.held_out),
        # Scores of shorter trainings compare with each other alone.
        "search_budget": CHEAP_BUDGET if selection.referee.takes_budget else 1.0,
        "remarks": remarks,
        "study": None if study is None else str(study),
    }
    return Solution(
        mask=mask,
        norm=norm,
        status="feasible" if trials else "unknown",
        limit=selection.limit,
        target_size=chooser.n - settings.num_kept,
        solver="select",
        seed=settings.seed,
        num_iterations=len(trials),
        solve_time=selection.elapsed,
        message=" ".join([why, *remarks]),
        stats=plain(stats),
    )


def _lost_classes(chooser: Chooser, is_kept: BoolArray) -> Iterator[str]:
    """Say which classes nothing is kept of: a rare one is soon cut whole, as it is hard."""
    lost = np.flatnonzero(np.bincount(chooser.labels[is_kept], minlength=chooser.num_classes) == 0)
    if len(lost):
        size = np.count_nonzero(chooser.labels == lost[0])
        yield (
            f"Nothing is kept of {len(lost)} of {chooser.num_classes} classes, such as "
            f"{chooser.classes[lost[0]]!s} with {size} examples, so that they cannot be learned. "
            "If they matter, add examples of them to what is kept, or let train return the mean "
            "recall of the classes."
        )


def _decide(selection: Selection) -> tuple[str, Composition, bool, str]:
    """Give what comes back, whether it is confirmed, and why, in words."""
    found = selection.confirmations
    plain_rule = random_rule(next(iter(selection.chooser.difficulty)))
    ahead = [one for one in found if one.is_ahead]
    if ahead:
        best = max(ahead, key=lambda one: one.difference)
        return best.rule, best.composition, True, f"{_sentence(best)}."
    if found:
        told = "; ".join(map(_sentence, found))
        return (
            RANDOM,
            plain_rule,
            False,
            f"Nothing is surely ahead of random, which is kept: {told}.",
        )
    tried = [trial for trial in selection.study.trials if trial.value is not None]
    stopped = "stopped by the time limit" if selection.limit == "time" else "interrupted"
    if not tried:
        return RANDOM, plain_rule, False, f"Nothing was tried: {stopped} before a training ended."
    if selection.limit is None:
        return (
            RANDOM,
            plain_rule,
            False,
            ("Random is kept: too few trainings on fresh seeds gave a score to compare anything."),
        )
    best_trial = max(tried, key=lambda trial: trial.value or 0.0)
    if best_trial.rule == RANDOM:
        return RANDOM, plain_rule, False, f"Random is kept, the best so far; {stopped}."
    random_value = next((trial.value for trial in tried if trial.rule == RANDOM), None)
    beside = "" if random_value is None else f" (random {random_value:.6g})"
    return (
        best_trial.rule,
        best_trial.composition,
        False,
        (
            f"Not confirmed, {stopped}: the best of {len(tried)} trials by one training each, "
            f"{best_trial.value:.6g}{beside}. It may owe that to luck."
        ),
    )


def _sentence(one: Confirmation) -> str:
    low, high = one.interval
    side = "ahead of" if one.difference > 0 else "behind"
    by = f"{side} random by {abs(one.difference):.4g}" if one.difference else "level with random"
    return (
        f"{one.rule} is {by} (95 % interval {low:.4g} to {high:.4g}, "
        f"{len(one.values)} paired trainings on fresh seeds)"
    )
