"""A pruning that was killed goes on: it refits what was chosen, and chooses nothing twice."""

from __future__ import annotations

import errno
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from head_oracle import blobs
from kills import killed_at_touch, needs_fork

import subsetsel
from subsetsel.errors import FileFormatError, ProblemError
from subsetsel.guarantee.checkpoint import Choice, Journal, key_of
from subsetsel.guarantee.trials import Question, Trials

X, Y = blobs()
N = 11
KEYS = [key_of(m, 0.2, None) for m in range(3)]


class KilledError(BaseException):
    """The process ends here, as far as `prune` can tell."""


def prune(checkpoint: Path | None, **given: Any) -> tuple[subsetsel.Solution, Any]:
    """Prune the blobs with little work per size."""
    question = {"l2": 1e-2, "rel_epsilon": 0.05, "num_proposals": 5000} | given
    return subsetsel.prune(X, Y, checkpoint=checkpoint, **question)


def count_choices(monkeypatch: pytest.MonkeyPatch, kill_at: int | None = None) -> list[int]:
    """Note each size the solver is asked for; end the process at one of them."""
    asked: list[int] = []
    solve = Trials._solve

    def watched(self: Trials, question: Question) -> Any:
        if len(asked) == kill_at:
            raise KilledError
        asked.append(question.size)
        return solve(self, question)

    monkeypatch.setattr(Trials, "_solve", watched)
    return asked


@pytest.mark.parametrize("kill_at", [1, 3])
def test_a_killed_pruning_chooses_nothing_twice(
    kill_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run asks the solver only for what is missing, and ends as one without a kill.

    Mutation: `Journal.add` keeps nothing on disk: fails.
    """
    with monkeypatch.context() as patch:
        whole = count_choices(patch)
        expected, _ = prune(None)
    path = tmp_path / "progress.npz"
    with monkeypatch.context() as patch:
        count_choices(patch, kill_at)
        with pytest.raises(KilledError):
            prune(path)
    rest = count_choices(monkeypatch)
    solution, check = prune(path)
    assert rest == whole[kill_at:]
    assert np.array_equal(solution.mask, expected.mask)
    assert solution.num_iterations == expected.num_iterations
    assert solution.stats["curve"] == expected.stats["curve"]
    assert solution.stats["num_resumed"] == kill_at
    assert check.is_verified


def add_all(path: Path) -> None:
    """Three choices, of which the second found nothing."""
    journal = Journal(path, "print", N)
    for number, key in enumerate(KEYS):
        mask = None if number == 1 else np.arange(N) < number
        journal.add(key, Choice(mask, 10 * number))


@needs_fork
def test_choices_killed_anywhere_are_whole(tmp_path: Path) -> None:
    """Killed at each touch of the folder, the file holds the first choices, or is not there.

    Mutation: `add` writes in place instead of whole: fails.
    """
    was_killed, number, most = True, 0, 0
    while was_killed:
        path = tmp_path / str(number) / "progress.npz"
        path.parent.mkdir()
        was_killed = killed_at_touch(partial(add_all, path), path.parent, number)
        journal = Journal(path, "print", N)
        known = [journal.find(key) is not None for key in KEYS]
        assert known == sorted(known, reverse=True)
        assert journal.num_known >= most
        most, number = journal.num_known, number + 1
    assert most == len(KEYS)
    assert number > 10


def test_choices_come_back_as_they_were(tmp_path: Path) -> None:
    """Masks of a length that fills no bytes, iterations, and that nothing was found."""
    add_all(tmp_path / "progress.npz")
    journal = Journal(tmp_path / "progress.npz", "print", N)
    first, second, third = (journal.find(key) for key in KEYS)
    assert first is not None
    assert second is not None
    assert third is not None
    assert third.mask is not None
    assert third.mask.tolist() == [True, True] + [False] * (N - 2)
    assert (first.num_iterations, second.mask, third.num_iterations) == (0, None, 20)


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"rel_epsilon": 0.06}, {"num_proposals": 6000}, {"l2": 2e-2}]
)
def test_progress_of_another_run_is_refused(other: dict[str, Any], tmp_path: Path) -> None:
    """Other settings and other data would be answered by choices that were not made for them.

    Mutation: `_read` does not compare the fingerprint: fails.
    """
    path = tmp_path / "progress.npz"
    prune(path)
    with pytest.raises(ProblemError, match=r"another run.*delete it"):
        prune(path, **other)


def test_a_stored_choice_that_breaks_a_limit_is_chosen_anew(tmp_path: Path) -> None:
    """Masks that were changed on disk prune nothing that must be kept.

    Mutation: `_choose` takes up what `find` gives without the problem: fails.
    """
    path = tmp_path / "progress.npz"
    free, _ = prune(None)
    given: dict[str, Any] = {"must_keep": free.pruned[:3], "checkpoint": path}
    expected, _ = prune(**given)
    with np.load(path) as file:
        content = dict(file)
    masks = np.unpackbits(content["masks"], axis=1, count=len(Y))
    for mask in masks:
        # As many as before, or a search that believes the file never ends.
        mask[mask.argmax()], mask[free.pruned[0]] = 0, 1
    np.savez(path, **(content | {"masks": np.packbits(masks, axis=1)}))
    solution, check = prune(**given)
    assert check.is_verified
    assert not solution.mask[free.pruned[:3]].any()
    assert np.array_equal(solution.mask, expected.mask)


def test_a_stored_choice_of_another_size_is_not_found(tmp_path: Path) -> None:
    """What was asked for is part of what a choice must keep.

    Mutation: `find` does not look at what the mask breaks: fails.
    """
    add_all(tmp_path / "progress.npz")
    journal = Journal(tmp_path / "progress.npz", "print", N)
    problem = subsetsel.Problem(np.ones((N, 2)), size=2)
    assert journal.find(KEYS[2], problem) is not None
    assert journal.find(KEYS[2], problem.replace(size=3)) is None


def test_progress_on_other_rows_is_refused(tmp_path: Path) -> None:
    """The same head with rows of another precision leads to other choices."""
    path = tmp_path / "progress.npz"
    prune(path)
    with pytest.raises(ProblemError, match="another run"):
        prune(path, dtype=np.float64)


def test_a_full_disk_ends_the_keeping_but_not_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One warning that says what is lost; the result is that of a run without a checkpoint.

    Mutation: `add` lets the error through: fails.
    """

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "progress.npz")

    monkeypatch.setattr(Journal, "_write", fail)
    with pytest.warns(RuntimeWarning, match="No space left.*would start again") as seen:
        solution, _ = prune(tmp_path / "progress.npz")
    assert len(seen) == 1
    assert np.array_equal(solution.mask, prune(None)[0].mask)


def test_progress_on_other_labels_is_refused(tmp_path: Path) -> None:
    """One label more or less is another training set."""
    path = tmp_path / "progress.npz"
    prune(path)
    labels = Y.copy()
    labels[0] = (labels[0] + 1) % 3
    with pytest.raises(ProblemError, match="another run"):
        subsetsel.prune(X, labels, l2=1e-2, rel_epsilon=0.05, num_proposals=5000, checkpoint=path)


def test_a_clock_may_change_between_sittings(tmp_path: Path) -> None:
    """More time is what one gives a run that was cut short."""
    path = tmp_path / "progress.npz"
    first, _ = prune(path, time_limit=60)
    second, _ = prune(path, time_limit=120)
    assert np.array_equal(first.mask, second.mask)


@pytest.mark.parametrize(
    "change",
    [
        {"masks": np.zeros((3, 1), dtype=np.uint8)},
        {"masks": np.zeros((3, 2), dtype=np.float64)},
        {"keys": np.zeros((2, 16), dtype=np.uint8)},
        {"is_found": np.array(True)},
        {"num_iterations": np.array([1, 2, -3])},
        {"keys": np.array(7)},
    ],
)
def test_a_forged_progress_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    """One error that names the file; nothing of it is taken up.

    Mutation: `_read` without `_is_sound`: fails.
    """
    path = tmp_path / "progress.npz"
    add_all(path)
    with np.load(path) as file:
        content = dict(file)
    np.savez(path, **(content | change))
    with pytest.raises(FileFormatError, match=r"progress\.npz"):
        Journal(path, "print", N)
