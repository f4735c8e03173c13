"""The user's own training: how it is called, and how each of its faults is told apart."""

from __future__ import annotations

import functools
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from selecting import Task, answer

import subsetsel
from subsetsel.errors import OptionError, TrainingError
from subsetsel.selection.referee import Referee, TrainingFault, seed_of, set_aside

KEPT, HELD_OUT = np.arange(3), np.arange(3, 5)


@pytest.mark.parametrize(
    "score",
    [0.5, np.float32(0.5), np.float64(0.5), torch.tensor(0.5), torch.tensor([0.5]), 1, np.int64(1)],
    ids=repr,
)
def test_a_number_of_any_library_is_a_score(score: Any) -> None:
    """A tensor on its own is a number, too."""
    found = Referee(lambda kept, held_out, seed: score).score(KEPT, HELD_OUT, 0)
    assert found == float(score)
    assert type(found) is float


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        "0.81",
        b"1",
        True,
        np.True_,
        (0.1, 0.8),
        [{"val_acc": 0.8}],
        {"acc": 1},
        1j,
        np.zeros(2),
    ],
    ids=repr,
)
def test_what_is_no_number_ends_the_search_with_a_cure(wrong: Any) -> None:
    """A forgotten return, a text, a truth value or a pair of loss and accuracy is no score."""
    with pytest.raises(OptionError, match=r"train (must )?return"):
        Referee(lambda kept, held_out, seed: wrong).score(KEPT, HELD_OUT, 0)
    task = Task()
    with pytest.raises(OptionError, match=r"score on held_out"):
        task.select(lambda kept, held_out, seed: wrong)
    assert len(task.select().kept) == 40


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -np.inf, torch.tensor(np.nan)])
def test_a_score_that_is_not_finite_is_a_fault_of_that_training(wrong: Any) -> None:
    """A training that diverged is one failed trial, not the end."""
    with pytest.raises(TrainingFault, match=r"returned -?(nan|inf)"):
        Referee(lambda kept, held_out, seed: wrong).score(KEPT, HELD_OUT, 0)


class Callable3:
    """A training as an object."""

    def __call__(self, kept: Any, held_out: Any, seed: int) -> float:
        """Train."""
        return 0.5


def with_budget(kept: Any, held_out: Any, seed: int, budget: float = 1.0) -> float:
    """Take a budget by name."""
    return budget


def with_anything(kept: Any, held_out: Any, seed: int, **more: Any) -> float:
    """Take a budget among others."""
    return float(more["budget"])


@pytest.mark.parametrize(
    ("train", "takes_budget"),
    [
        (lambda kept, held_out, seed: 0.5, False),
        (lambda a, b, c: 0.5, False),
        (lambda *arguments: 0.5, False),
        (lambda kept, held_out, seed=0, epochs=3: 0.5, False),
        (Callable3(), False),
        (Callable3().__call__, False),
        (with_budget, True),
        (with_anything, True),
        (functools.partial(with_budget), True),
        (functools.partial(lambda data, kept, held_out, seed: 0.5, None), False),
        (functools.partial(lambda kept, held_out, seed, *, rate: rate, rate=0.5), False),
    ],
)
def test_whatever_can_be_called_is_called_with_what_it_takes(
    train: Any, takes_budget: bool
) -> None:
    """Functions, methods, objects and partials; the budget is given to those that take it."""
    referee = Referee(train)
    assert referee.takes_budget == takes_budget
    assert referee.score(KEPT, HELD_OUT, 0, budget=0.5) == 0.5


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (None, "got None"),
        (0.5, "got 0.5"),
        (lambda kept, held_out: 0.5, "(kept, held_out) (too many positional"),
        (lambda kept, held_out, seed, rate: 0.5, "missing a required argument: 'rate'"),
        (lambda kept, held_out, *, seed: 0.5, "too many positional"),
        (lambda kept, held_out, seed, *, budget, rate: 0.5, "missing a required"),
    ],
)
def test_a_train_that_cannot_be_called_is_refused_before_anything_is_trained(
    train: Any, message: str
) -> None:
    """The message has the signature; functools.partial, which it names, is the cure."""
    with pytest.raises(OptionError, match=re.escape(message)):
        Task().select(train)
    task = Task()
    rated = functools.partial(lambda kept, held_out, seed, rate: rate, rate=0.5)
    assert task.select(rated).stats["rule"] == "random"


def test_a_train_that_shuffles_its_indices_disturbs_nobody() -> None:
    """It gets copies, sorted, int64, and a plain int as the seed."""
    task, other = Task(), Task()

    def shuffling(kept: Any, held_out: Any, seed: int) -> float:
        assert (np.diff(kept) > 0).all()
        assert (np.diff(held_out) > 0).all()
        assert kept.dtype == held_out.dtype == np.int64
        assert type(seed) is int
        value = task.train(kept.copy(), held_out.copy(), seed)
        kept[:], held_out[:] = kept[::-1].copy(), 0
        return value

    assert answer(task.select(shuffling)) == answer(other.select())


def test_a_train_that_fails_on_random_ends_the_search_and_names_the_cure() -> None:
    """Everything is compared with random; once `train` is mended the same call works."""
    task = Task()

    def broken(kept: Any, held_out: Any, seed: int) -> float:
        raise ValueError("3 is no class")

    with pytest.raises(TrainingError, match=r"raised ValueError: 3 is no class on 40 random") as e:
        task.select(broken)
    assert isinstance(e.value, RuntimeError)
    with pytest.raises(ValueError, match="3 is no class"):
        broken(np.arange(40), np.arange(40, 60), seed=0)
    with pytest.raises(TrainingError, match="returned nan on 40 random examples"):
        task.select(lambda kept, held_out, seed: float("nan"))


def test_a_train_that_is_mended_goes_on_in_the_same_study(tmp_path: Any) -> None:
    """The failure on random was not written down."""
    task = Task()
    with pytest.raises(TrainingError):
        task.select(lambda kept, held_out, seed: float("nan"), study=tmp_path / "s")
    assert answer(task.select(study=tmp_path / "s")) == answer(Task().select())


def test_compositions_that_fail_are_named() -> None:
    """One that diverges is a failed trial with its reason, and the others are compared."""
    task = Task()

    def diverges(kept: Any, held_out: Any, seed: int) -> float:
        # The better the more is cut at the hard end, until half of it is.
        hardest = task.difficulty[kept].max()
        return float("nan") if hardest < 0.6 else -float(hardest)

    solution = task.select(diverges)
    failed = [t for t in solution.stats["trials"] if t["state"] == "failed"]
    assert failed
    assert {t["reason"] for t in failed} == {"returned nan"}
    assert all(t["value"] is None and t["hard_cut"] > 0.4 for t in failed)
    remark = next(r for r in solution.stats["remarks"] if "gave no score" in r)
    assert remark.startswith(f"{len(failed)} of 9 trials gave no score; the first, trial")
    assert remark in solution.message


class Failing:
    """Fails in the confirmation of what random is not, in the trainings given by number."""

    def __init__(self, task: Task, numbers: set[int], *, is_random: bool = False) -> None:
        self.task, self.numbers, self.is_random = task, numbers, is_random
        self.seen: Counter[str] = Counter()

    def __call__(self, kept: Any, held_out: Any, seed: int) -> float:
        """Train, or fail."""
        value = self.task.train(kept, held_out, seed)
        is_confirming = len({str(h) for _, h, _ in self.task.calls}) > 1
        side = "random" if self.task.difficulty[kept].max() > 1.7 else "other"
        if is_confirming:
            self.seen[side] += 1
            is_mine = (side == "random") == self.is_random
            if is_mine and self.seen[side] - 1 in self.numbers:
                raise RuntimeError("out of memory")
        return value


def test_what_fails_in_every_confirmation_is_not_taken() -> None:
    """Random comes back, and the message says why."""
    task = Task()
    solution = task.select(Failing(task, set(range(99))))
    assert (solution.stats["rule"], solution.stats["is_confirmed"]) == ("random", False)
    assert "too few trainings on fresh seeds gave a score" in solution.message
    assert solution.limit is None


def test_what_fails_in_some_confirmations_is_not_taken_for_the_lucky_rest() -> None:
    """A composition that diverges on one fresh seed in three is no ground to leave random.

    Mutation: pairs that are left decide: fails.
    """
    task = Task()
    ahead = Task().select(num_confirmations=6)
    assert ahead.stats["is_confirmed"]
    solution = task.select(Failing(task, {0, 1, 2, 3}), num_confirmations=6)
    assert solution.stats["rule"] == "random"
    first = solution.stats["confirmation"][0]
    assert first["interval"][0] > 0
    assert (first["is_ahead"], first["num_failed"], len(first["values"])) == (False, 2, 4)
    remark = f"{first['rule']} gave no score in 2 trainings on fresh seeds"
    assert solution.stats["remarks"][0].startswith(remark)
    assert remark in solution.message


def test_a_random_training_that_fails_leaves_the_other_pairs() -> None:
    """The pairs in which both have a score are compared."""
    task = Task()
    solution = task.select(Failing(task, {0}, is_random=True), num_confirmations=5)
    assert solution.stats["is_confirmed"]
    assert {len(one["values"]) for one in solution.stats["confirmation"]} == {4}
    assert {len(one["random"]) for one in solution.stats["confirmation"]} == {4}


def test_a_train_that_ignores_its_seed_is_told() -> None:
    """Two seeds, one score: right for a convex model, and to be known of a network."""
    task = Task()
    solution = task.select(lambda kept, held_out, seed: task.train(kept, held_out, 0))
    assert "for two seeds on the same examples: it seems to ignore its seed" in solution.message
    assert len(solution.stats["remarks"]) == 1


def test_a_train_that_does_not_follow_its_seed_is_told() -> None:
    """A model that is not made anew, or a loader of its own order, differs at the same seed."""
    task, rng = Task(), np.random.default_rng(0)
    solution = task.select(
        lambda kept, held_out, seed: task.train(kept, held_out, seed) + 0.01 * rng.normal()
    )
    assert "for the same examples and the same seed: something in it" in solution.message
    assert len(solution.stats["remarks"]) == 1


def test_a_train_without_faults_gets_no_remark() -> None:
    """Nothing is said of what is in order."""
    assert Task().select().stats["remarks"] == []


def test_a_class_that_is_left_out_is_named_and_mean_recall_keeps_it() -> None:
    """Accuracy does not miss six hard ones of 600, mean recall does. Mutation: none is counted."""
    labels = np.array(["common"] * 594 + ["rare"] * 6)

    def train(kept: Any, held_out: Any, seed: int, worth: float) -> float:
        noise = np.random.default_rng(seed).normal()
        hard = np.mean(kept >= 500)
        return float(-0.1 * hard + worth * (labels[kept] == "rare").any() + 1e-4 * noise)

    def select(worth: float) -> subsetsel.Solution:
        return Task().select(
            lambda kept, held_out, seed: train(kept, held_out, seed, worth),
            labels=labels,
            difficulty=np.arange(600.0),
            num_confirmations=10,
        )

    told = "Nothing is kept of 1 of 2 classes, such as rare with 6 examples"
    lost, found = select(0.0), select(1.0)
    assert told in lost.message
    assert not (labels[lost.kept] == "rare").any()
    assert "Nothing is kept" not in found.message
    assert (labels[found.kept] == "rare").any()


def test_a_budget_is_half_in_the_search_and_whole_in_what_counts() -> None:
    """Trials and the check of the seed are short; the best again, and confirmations, are whole."""
    task, budgets = Task(), []

    def train(kept: Any, held_out: Any, seed: int, budget: float) -> float:
        budgets.append(budget)
        return task.train(kept, held_out, seed)

    solution = task.select(train)
    num_short = len(solution.stats["trials"]) + 2
    assert budgets[:num_short] == [0.5] * num_short
    assert set(budgets[num_short:]) == {1.0}
    assert len(budgets) == solution.stats["num_trainings"]
    assert solution.stats["search_budget"] == 0.5
    assert Task().select().stats["search_budget"] == 1.0


def test_seeds_of_different_numbers_differ() -> None:
    """Also where one list of numbers is the other with zeros, and all are below 2^31."""
    lists = [(s, *more) for s in (0, 1, 2**40) for more in [(), (0,), (0, 0), (0, 1), (1,), (1, 0)]]
    seeds = [seed_of(*numbers) for numbers in lists]
    assert len(set(seeds)) == len(lists)
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize(("n", "share", "size"), [(600, 0.1, 60), (5, 0.1, 1), (7, 0.5, 4)])
def test_what_is_set_aside_is_a_random_part(n: int, share: float, size: int) -> None:
    """At least one example, sorted and distinct, another part for another seed."""
    part = set_aside(n, share, seed=3)
    assert len(part) == size
    assert (np.diff(part) > 0).all()
    assert len({tuple(set_aside(n, share, seed)) for seed in range(9)}) > 1
