"""What `prune` is asked: a problem with a head, limits, held-out examples, an earlier answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from subsetsel.errors import OptionError, ProblemError
from subsetsel.guarantee.criteria import Criteria
from subsetsel.guarantee.held_out import Split, check_against, check_split
from subsetsel.problem.arguments import Metric, refuse_offset
from subsetsel.problem.ask_head import ask_of_features
from subsetsel.problem.goal import Goal, mask_of, refuse_hidden
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import BoolArray
from subsetsel.support.clock import Clock

# A norm that cannot matter: what counts is the refit.
NO_LIMIT = 1e300
_OF_THE_FIT = ("num_classes", "sample_weight", "device")
_OF_A_SIZE = ("size", "fraction", "num_kept")
_OF_A_FORMULATION = ("formulation", "ridge", "normalization", "metric", "hessian")
_OF_A_BOUND = ("bound", "gap")
_SPLITS = ("validation", "test")
_BESIDE_A_PROBLEM = {"max_size", "must_prune", "must_keep"}


@dataclass(frozen=True, eq=False)
class EarlierAnswer:
    """A subset that answered the same question of the first ``num_examples`` examples.

    Attributes
    ----------
    mask : ndarray of shape (n,), bool
        False for the examples that came later.
    num_examples : int
    """

    mask: BoolArray
    num_examples: int


@dataclass(frozen=True, eq=False)
class Task:
    """A question to `prune`, checked as a whole.

    Attributes
    ----------
    problem : Problem
        With a head, of the form "max_size"; the search replaces its goal.
    criteria : Criteria
        With epsilon, where the change of the head is limited.
    validation, test : (X, y), optional
        Held-out examples that take part in the choice, and that do not.
    earlier : EarlierAnswer, optional
    """

    problem: Problem
    criteria: Criteria
    validation: Split | None
    test: Split | None
    earlier: EarlierAnswer | None

    @property
    def metric(self) -> Metric:
        """In what the search is: where only the loss or accuracy is limited, in the loss.

        That takes a factor of the Hessian, which conjugate gradients do not have.
        """
        assert self.problem.head is not None
        has_factor = self.criteria.epsilon is None and self.problem.head.inverse.is_exact
        return "loss" if has_factor else "parameter"


def refuse_arguments_of_solve(options: Mapping[str, Any]) -> None:
    """Say what to do instead where arguments of `solve` are given to `prune`."""
    for names, why, cure in (
        (
            _OF_A_SIZE,
            "prune looks for the largest size that a refit verifies",
            "limit it by max_size, or fix it: solve(problem) and verify(problem, solution) with "
            "problem = Problem.from_features(X, y, l2=..., {name}={value!r})",
        ),
        (
            _OF_A_FORMULATION,
            "prune limits what an exact refit measures, and chooses the rows that it searches",
            "leave it out, or solve Problem.from_features(X, y, l2=..., epsilon=..., "
            "{name}={value!r})",
        ),
        (
            _OF_A_BOUND,
            "no bound is proved on what an exact refit measures",
            "leave it out; for Eq. 3 with its bound solve Problem.from_features(X, y, l2=..., "
            "epsilon=..., formulation='paper')",
        ),
    ):
        for name in names:
            if name in options:
                cure = cure.format(name=name, value=options[name])
                raise OptionError(
                    f"prune has no argument {name!r}: {why}. {cure[0].upper()}{cure[1:]}."
                )


def pose(
    data: tuple[Any, Any, float | None],
    arguments: dict[str, Any],
    criteria: Criteria,
    *,
    splits: tuple[Split | None, Split | None],
    guess: Any,
    clock: Clock,
) -> Task:
    """Train the head where there is none, and check what can be checked before the search.

    `TimeIsUp` is raised where the clock ends before S is known.

    ``data`` is (X, y, l2) as in `prune`. Of the ``arguments`` of `Problem` those that are None do
    not count. ``criteria`` has no epsilon yet. ``splits`` are the validation and test examples.
    """
    X, y, l2 = data
    arguments = {name: value for name, value in arguments.items() if value is not None}
    goals = ("epsilon", "rel_epsilon")
    goal: dict[str, Any] = {name: arguments.pop(name) for name in goals if name in arguments}
    if len(goal) > 1:
        raise ProblemError("give epsilon or rel_epsilon, not both.")
    if criteria.needs_validation and splits[0] is None:
        raise ProblemError(
            "max_loss_gap and max_accuracy_drop are measured on validation=(X, y); give it."
        )
    is_limited = bool(goal)
    if isinstance(X, Problem):
        _require_head_alone(X, y, l2, arguments)
        is_limited |= X.epsilon is not None
    elif y is None or l2 is None:
        raise ProblemError(
            "prune needs features, labels and the weight decay: prune(X, y, l2=1e-3, "
            "rel_epsilon=0.01); or a Problem that knows its head."
        )
    if not is_limited and not criteria.needs_validation:
        raise ProblemError(
            "prune needs a limit: epsilon, rel_epsilon (a fraction of ||theta||_2), or "
            "max_loss_gap or max_accuracy_drop with validation=(X, y). For a fixed size use solve "
            "and verify."
        )
    named = [
        (name, split) for name, split in zip(_SPLITS, splits, strict=True) if split is not None
    ]
    # Before the head is fitted, which may take minutes.
    if isinstance(X, Problem):
        assert X.head is not None
        for name, split in named:
            check_split(X.head, name, split)
        earlier = _as_answer(guess, X.n)
        problem = _ask_again(X, goal, arguments)
    else:
        fit = {name: arguments.pop(name) for name in _OF_THE_FIT if name in arguments}
        if named:
            check_against(X, y, fit.get("num_classes"), named)
        # Features of another shape are refused below.
        earlier = _as_answer(guess, np.shape(X)[0]) if np.ndim(X) == 2 else None
        goal = goal or {"epsilon": NO_LIMIT}
        problem = ask_of_features(Problem, X, y, {"l2": l2, **fit}, clock, **goal, **arguments)
    epsilon = problem.epsilon if is_limited else None
    return Task(problem, replace(criteria, epsilon=epsilon), *splits, earlier)


def _require_head_alone(problem: Problem, y: Any, l2: Any, arguments: dict[str, Any]) -> None:
    """Refuse a problem without a head, and what cannot be given beside a problem."""
    if y is not None or l2 is not None:
        raise ProblemError("y and l2 cannot be given beside a Problem, which has its own head.")
    if problem.head is None:
        raise ProblemError(
            "prune needs a problem that knows its head and data: make it with "
            "Problem.from_features(X, y, l2=...); Problem(S) knows only S."
        )
    refuse_offset(problem, "prune")
    if getattr(problem.rows, "metric", "parameter") != "parameter":
        raise ProblemError("prune limits the change of the parameters; use metric='parameter'.")
    refused = [name for name in arguments if name not in _BESIDE_A_PROBLEM]
    if refused:
        raise ProblemError(
            f"{' and '.join(refused)} cannot be given beside a Problem; build it with them."
        )


def _ask_again(problem: Problem, goal: dict[str, Any], arguments: dict[str, Any]) -> Problem:
    """Give a problem its epsilon, its own where there is no other, and fix more examples."""
    assert problem.head is not None
    head, epsilon = problem.head, problem.epsilon
    if goal:
        epsilon = Goal.parse(problem.n, theta_norm=head.theta_norm, **goal).epsilon
    if epsilon is None:
        epsilon = NO_LIMIT
    is_full = problem.normalization == "full"
    # What refitting does is searched whatever the problem was made for.
    problem = problem.with_rows(problem.rows)
    problem = problem.replace(epsilon=epsilon, normalization="kept", **arguments)
    if is_full:
        problem.keep_one_of_each(head.labels)
    return problem


def _as_answer(given: Any, n: int) -> EarlierAnswer | None:
    """Read an earlier answer, a Solution or a mask of at most n examples."""
    if given is None:
        return None
    refuse_hidden(given, "initial_guess")
    array = np.asarray(mask_of(given))
    if array.dtype != np.bool_ or array.ndim != 1 or len(array) > n:
        raise OptionError(
            f"initial_guess must be a Solution or a Boolean mask of at most n = {n} examples, got "
            f"{array.dtype} of shape {array.shape}. Of an answer for more examples take the part "
            "that is left: old.mask[still_there]."
        )
    mask = np.zeros(n, dtype=np.bool_)
    mask[: len(array)] = array
    return EarlierAnswer(mask, len(array))
