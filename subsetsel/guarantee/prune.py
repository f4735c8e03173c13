"""`prune`: the largest subset found for which the refitted head provably stays within epsilon."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any

from numpy.typing import ArrayLike

from subsetsel.engine.method import Method
from subsetsel.engine.options import Callback, Limits
from subsetsel.engine.registry import get_spec
from subsetsel.guarantee.answer import answer, load_head, nothing_set_up
from subsetsel.guarantee.criteria import Criteria
from subsetsel.guarantee.task import Task, pose, refuse_arguments_of_solve
from subsetsel.guarantee.verification import Verification
from subsetsel.problem.in_shards import bring, open_features
from subsetsel.problem.progress import Limit
from subsetsel.problem.solution import Solution
from subsetsel.support.clock import Clock, TimeIsUp
from subsetsel.support.threads import one_blas_thread

# Options of `Problem.from_features` besides its goal and its limits.
_DATA_OPTIONS = ("num_classes", "device", "dtype", "storage")


@one_blas_thread()
def prune(
    X: Any,
    y: Any = None,
    *,
    l2: float | None = None,
    sample_weight: Any = None,
    epsilon: float | None = None,
    rel_epsilon: float | None = None,
    max_loss_gap: float | None = None,
    max_accuracy_drop: float | None = None,
    validation: tuple[Any, Any] | None = None,
    test: tuple[Any, Any] | None = None,
    min_curvature: float | None = None,
    max_size: int | None = None,
    groups: ArrayLike | None = None,
    group_limits: Mapping[Any, tuple[int | None, int | None]] | None = None,
    must_prune: ArrayLike | None = None,
    must_keep: ArrayLike | None = None,
    constraints: Sequence[Any] | None = None,
    solver: str = "anneal",
    time_limit: float | None = None,
    max_iterations: int | None = None,
    target: int | None = None,
    seed: int = 0,
    initial_guess: Any = None,
    callback: Callback | None = None,
    num_workers: int = 1,
    progress: Callback | None = None,
    trace: bool = False,
    checkpoint: str | PathLike[str] | None = None,
    engine: Any = None,
    **options: Any,
) -> tuple[Solution, Verification]:
    """Prune as many examples as an exact refit of the head allows: Definition 1 of the paper.

    At each size that is tried the solver minimizes the joint influence (Eq. 4, ridge included),
    and the head is refitted on the kept examples. The set returned is the largest of those whose
    refit satisfied ``change + change_error <= epsilon`` and every other limit; a larger one may
    exist. The promise is about the head on these features, not about a network that is retrained
    on the subset.

    Parameters
    ----------
    X : array_like of shape (n, h), path, list of paths, dask array or data frame, or Problem
        Features, in memory or in shards; or a problem from `Problem.from_features`, `from_head` or
        `from_model`, whose own ``epsilon`` holds unless another is given.
    y : array_like of shape (n,), or for features in shards a column, path or dask array
        Labels, integers or strings; not beside a `Problem`.
    l2 : float
        Weight decay of mean_i loss_i + (l2 / 2) ||theta||^2, bias included.
    sample_weight : array_like of shape (n,), optional
        Positive weights of the examples in that mean, and in the one over what is kept; not beside
        a `Problem`. On ``validation`` and ``test`` all examples count alike.
    epsilon, rel_epsilon : float, optional
        Largest change of the parameters, absolute or as a fraction of ||theta||_2.
    max_loss_gap, max_accuracy_drop : float, optional
        Largest rise of the mean loss, and largest fall of the accuracy (a share), on
        ``validation``. With these alone the change is measured but not limited, and the search
        minimizes the rise of the training objective instead of the change (Eq. 4 in the metric
        "loss"), also of a `Problem` whose own rows are in parameters. Conjugate gradients cannot
        do that; there the change is minimized.
    validation : (X, y), optional
        Examples that take part in the choice: limits hold on them, and on new data the loss and
        the accuracy are worse than that.
    test : (X, y), optional
        Examples that take no part in the choice, for the accuracy and loss in the result, and
        for 95 % intervals that say what the limits are worth on new data.
    min_curvature : float, optional
        Keep at least this share of the curvature of the objective in every direction.
    max_size, groups, group_limits, must_prune, must_keep, constraints : optional
        As in `Problem`; not beside one, except ``must_prune``, ``must_keep`` and ``max_size``.
    solver : str
        A name of `available_solvers`.
    time_limit : float, optional
        Seconds from the call on, for the head, S, the search and all refits; only what is loaded
        or compiled first, `Solution.compile_time`, is not counted. What was verified by then comes
        back. Without a limit the result is the same for the same seed, number of workers and
        machine.
    max_iterations : int, optional
        In the solver's own unit, over all sizes tried.
    target : int, optional
        Stop at this size.
    seed : int
    initial_guess : Solution or Boolean mask, optional
        An earlier answer. Where it still holds, it is verified again and little more is done; else
        the search starts from it. A mask for fewer examples is taken as the answer for the first
        of them, and the search starts at the same share of all examples.
    callback, progress : callable, optional
        Called with a `Progress`, which tells the largest verified subset; ``callback`` stops the
        search by returning True.
    num_workers : int
        Threads.
    trace : bool
        Keep every larger verified subset in ``Solution.trace``.
    checkpoint : path, optional
        An ``.npz`` file that stores what the solver chose for every size. A run that was killed
        does not choose again: it refits the stored choices and goes on, to the same result. A file
        of other data or settings is refused. Delete the file once the result is saved.
    engine : distributed.Client or str, optional
        Who computes with features in shards; see `Problem.from_features`.
    **options
        ``num_classes``, ``device``, ``dtype`` and ``storage`` of `Problem.from_features`, and the
        solver's own options.

    Returns
    -------
    Solution
        ``stats["curve"]`` lists every size that was tried with its predicted and measured change.
        The status is "optimal" if the other constraints allow nothing larger. It is "unknown" if
        nothing could be verified: then nothing is pruned, and ``stats["smallest_epsilon"]`` is the
        smallest epsilon that would have admitted a set that was tried, if any would. Where
        ``limit`` is "time" or "interrupted" nothing may have been tried; ``message`` says so.
    Verification
        Of the subset returned; where nothing could be verified, of the set that came nearest, and
        where nothing was tried, of the empty set: change 0, known without a refit. In both cases
        ``is_verified`` is False.

    Raises
    ------
    ProblemError
        For bad data, bad limits, or constraints that leave no non-empty subset.
    OptionError
        For a bad option, or a demand the solver does not honour.

    References
    ----------
    Yang et al., Dataset Pruning, ICLR 2023, arXiv:2205.09329, Definition 1.

    Examples
    --------
    >>> import numpy as np, subsetsel
    >>> X = np.random.default_rng(0).normal(size=(60, 2))
    >>> solution, check = subsetsel.prune(X, X[:, 0] > 0, l2=0.1, rel_epsilon=0.05)
    >>> check.change + check.change_error <= check.epsilon
    True
    """
    limits = Limits(
        time_limit=time_limit,
        max_iterations=max_iterations,
        target=target,
        seed=seed,
        callback=callback,
        num_workers=num_workers,
        progress=progress,
        bound=False,
        trace=trace,
    )
    refuse_arguments_of_solve(options)
    X, y, sample_weight, read_time = _read(X, y, sample_weight, engine)
    arguments = {"sample_weight": sample_weight, "epsilon": epsilon, "rel_epsilon": rel_epsilon}
    arguments |= {"max_size": max_size, "groups": groups, "group_limits": group_limits}
    arguments |= {"must_prune": must_prune, "must_keep": must_keep, "constraints": constraints}
    arguments |= {name: options.pop(name, None) for name in _DATA_OPTIONS}
    set_up = partial(
        pose,
        (X, y, l2),
        arguments,
        Criteria(None, max_loss_gap, max_accuracy_drop, min_curvature),
        splits=(validation, test),
        guess=initial_guess,
    )
    return _answer_within(set_up, (y, epsilon, read_time), (solver, options), limits, checkpoint)


def _read(X: Any, y: Any, sample_weight: Any, engine: Any) -> tuple[Any, Any, Any, float]:
    """Open what lies in shards; give the seconds that it took, too."""
    before = time.perf_counter()
    X, y = open_features(X, y, engine)
    sample_weight = bring(sample_weight, engine, "sample_weight")
    return X, y, sample_weight, time.perf_counter() - before


def _answer_within(
    set_up: Callable[..., Task],
    question: tuple[Any, float | None, float],
    solver: tuple[str, dict[str, Any]],
    limits: Limits,
    checkpoint: str | PathLike[str] | None,
) -> tuple[Solution, Verification]:
    """Answer within the time limit; where it ends in the set-up, with nothing pruned.

    The ``question`` is the labels, epsilon, and the seconds that it took to read features in
    shards. Without labels such an end is raised.
    """
    before = time.perf_counter()
    spec = get_spec(solver[0])
    method = Method.of(spec, solver[1], spec.starts)
    load_head()
    loading_time = time.perf_counter() - before
    y, epsilon, read_time = question
    clock = Clock(limits.time_limit, read_time)
    try:
        task = set_up(clock=clock)
    except (TimeIsUp, KeyboardInterrupt) as error:
        if y is None:
            raise
        limit: Limit = "time" if isinstance(error, TimeIsUp) else "interrupted"
        solution, check = nothing_set_up(
            y, limits.seed, solver[0], limit=limit, clock=clock, epsilon=epsilon
        )
    else:
        solution, check = answer(task, method, limits, checkpoint, clock)
    return replace(solution, compile_time=solution.compile_time + loading_time), check
