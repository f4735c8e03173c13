"""`select_for_training`: what to keep for a network that will be trained on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.engine.options import Limits, require_integer
from subsetsel.errors import OptionError, ProblemError
from subsetsel.problem.goal import Goal
from subsetsel.problem.solution import Solution
from subsetsel.selection.chooser import Chooser
from subsetsel.selection.composition import CHOICES, Choice, Composition, reference_rules
from subsetsel.selection.confirm import MIN_PAIRS
from subsetsel.selection.count import NUM_TRIALS
from subsetsel.selection.referee import Referee, Train, seed_of
from subsetsel.selection.search import CHEAP_BUDGET, Selection, Settings
from subsetsel.selection.study import Space, Study, Trial, earlier_compositions, only_run
from subsetsel.selection.verdict import conclude
from subsetsel.support.clock import Clock
from subsetsel.support.records import sha256_of_array

Start = Literal["scratch", "trained"]

# Before the search is led by what it found, it looks at four cuts across their range.
_FIRST_CUTS = (0.15, 0.35, 0.55, 0.75)
_FIRST_EVENNESS = 0.5
_NUM_EARLIER = 6
_CHOICES: dict[Start, tuple[Choice, ...]] = {
    "scratch": ("draw", "joint in cells"),
    "trained": CHOICES,
}


def select_for_training(
    train: Train,
    *,
    difficulty: Any,
    labels: ArrayLike,
    num_kept: int | None = None,
    fraction: float | None = None,
    rows: Any = None,
    start: Start = "scratch",
    held_out: float = 0.1,
    num_trials: int | None = None,
    num_confirmations: int = 6,
    seed: int = 0,
    study: str | PathLike[str] | None = None,
    warm_start: str | PathLike[str] | None = None,
    time_limit: float | None = None,
    solve_options: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] | None = None,
    callback: Callable[[Trial], object] | None = None,
) -> Solution:
    """Choose what a whole network is trained on, with that training as the referee.

    A random part of the data is set aside. Compositions (which difficulty, which classes, drawn or
    chosen jointly) are tried: each is what ``train`` is given to train on, and is judged on that
    part. The best two are then trained on fresh seeds beside random, each time judged on examples
    that nothing was judged on before. Random is what comes back unless one of them is ahead of it.

    Parameters
    ----------
    train : callable
        ``train(kept, held_out, seed) -> float``: trains anew on the examples ``kept`` and returns
        the score on the examples ``held_out``, higher is better. Both are sorted arrays of indices,
        int64. Initial parameters and the order of batches should follow ``seed``. If it takes
        ``budget``, a share of a whole training, compositions are searched at half of it.
    difficulty : array_like of shape (n,), Score, or mapping of name to either
        Higher is harder, such as EL2N of a short training (`subsetsel.scores.TrainingRecorder`). Of
        several the search takes the one that serves best.
    labels : array_like of shape (n,)
        The class of each example.
    num_kept, fraction : optional
        How many are kept, or the share that is pruned. Exactly one.
    rows : Problem or whatever `Problem` takes, optional
        Influence of the same examples; opens joint choices. Its own goal and constraints play no
        part.
    start : {"scratch", "trained"}
        Whether ``train`` starts from random parameters, or goes on from a model that was trained on
        all the data: there the joint choice is the default, and ``rows`` are needed. Such a model
        has seen what is held out, so its scores are high there; let ``train`` judge on examples of
        its own that the model has not seen, where there are some.
    held_out : float
        Share of the data that is set aside for the referee; it is open to the choice at the end.
    num_trials : int, optional
        Compositions that are tried; 24 by default, near a trained model the fixed rules alone. The
        fixed rules (random, class-balanced, strata, gentle strata, and the joint ones if there are
        rows) are always among them.
    num_confirmations : int
        Fresh seeds with which the winner, the runner-up and random are trained; 3 at least.
    seed : int
    study : path, optional
        A file that every training is written to; the same call goes on where it was stopped. It is
        an Optuna journal.
    warm_start : path, optional
        The study of an earlier search, such as one with a smaller network or fewer steps; its best
        compositions are tried first.
    time_limit : float, optional
        Seconds. No training is begun that would not end in time, as far as the trainings before it
        tell; one that runs is not cut off.
    solve_options : mapping, optional
        Of `subsetsel.solve`, for joint choices.
    progress : callable, optional
        Given lines of text: the cost before it starts, and one for each training.
    callback : callable, optional
        Given each trial; returning True ends the search, and the best are confirmed.

    Returns
    -------
    Solution
        ``kept`` is what to train on. ``message`` says what came back and why; ``stats`` holds the
        composition, all trials, the confirmation with its intervals, and remarks. After Ctrl-C it
        is the best composition so far, with the limit ``"interrupted"``.

    Raises
    ------
    OptionError
        If an option makes no sense, or a study is of another search.
    ProblemError
        If the data make no sense.
    TrainingError
        If ``train`` fails on random examples, with which everything is compared.
    MissingExtraError
        If Optuna is not installed: ``pip install "subsetsel[select]"``.

    See Also
    --------
    subsetsel.solve : the joint choice alone.
    subsetsel.prune : a guarantee for the head.

    Examples
    --------
    >>> import numpy as np, subsetsel
    >>> from sklearn.linear_model import LogisticRegression
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(300, 2)), np.arange(300) % 2
    >>> X[:, 0] += 2 * y
    >>> def train(kept, held_out, seed):
    ...     return LogisticRegression().fit(X[kept], y[kept]).score(X[held_out], y[held_out])
    >>> margin = -np.abs(X[:, 0] - 1)
    >>> sol = subsetsel.select_for_training(
    ...     train, difficulty=margin, labels=y, num_kept=30, num_trials=6
    ... )
    >>> len(sol.kept)
    30
    """
    # Callbacks of another signature, and checked alike.
    calls: dict[str, Any] = {"callback": callback, "progress": progress}
    Limits(time_limit=time_limit, seed=seed, **calls)
    clock = Clock(time_limit)
    referee = Referee(train)
    chooser = Chooser(difficulty, labels, rows, solve_options=solve_options)
    if (num_kept is None) == (fraction is None):
        raise OptionError(
            f"give exactly one of num_kept, how many are kept, and fraction, the share that is "
            f"pruned; got {'none' if num_kept is None else 'both'}."
        )
    goal = Goal.parse(chooser.n, num_kept=num_kept, fraction=fraction)
    assert goal.size is not None
    kept = chooser.n - goal.size
    pool = check_settings(chooser.n, kept, held_out, num_trials, num_confirmations)
    _check_start(chooser, start)
    choices: tuple[str, ...] = _CHOICES[start] if rows is not None else ("draw",)
    space = Space(tuple(chooser.difficulty), choices, room=1 - kept / pool)
    fixed = _fixed(chooser, kept, pool, space, warm_start, has_search=start == "scratch")
    num_rules = sum(rule not in {"searched", "earlier"} for rule, _ in fixed)
    most = max(NUM_TRIALS[start], len(fixed))
    settings = Settings(
        num_kept=kept,
        num_trials=max(most if num_trials is None else num_trials, num_rules),
        num_confirmations=num_confirmations,
        held_out=held_out,
        seed=seed,
        default="joint" if start == "trained" else "",
    )
    say = progress or (lambda line: None)
    with only_run(study):
        about = _about(chooser, settings, start, space, fixed)
        about |= {"budget": CHEAP_BUDGET if referee.takes_budget else 1.0}
        log = Study(study, about, space, seed)
        selection = Selection(
            settings, chooser, referee, log, fixed, clock=clock, say=say, callback=callback
        )
        selection.run()
        return conclude(selection, start, seed_of(seed), study)


def check_settings(
    n: int, num_kept: int, held_out: float, num_trials: int | None, num_confirmations: int
) -> int:
    """Refuse what makes no sense; give how many of n examples there are to choose from."""
    if not (isinstance(held_out, (int, float, np.floating)) and 0 < held_out <= 0.5):
        raise OptionError(
            f"held_out is a share of the data, 0 < held_out <= 0.5; got {held_out!r}."
        )
    if num_trials is not None:
        require_integer("num_trials", num_trials, 1)
    require_integer("num_confirmations", num_confirmations, MIN_PAIRS)
    pool = n - max(1, round(held_out * n))
    if not 0 < num_kept < pool:
        raise ProblemError(
            f"num_kept = {num_kept} of {n} leaves no choice: {n - pool} examples are set aside for "
            f"the referee, and 1 to {pool - 1} of the {pool} others can be kept. Keep fewer, or "
            "take a smaller held_out."
        )
    if pool < num_confirmations:
        raise ProblemError(
            f"num_confirmations = {num_confirmations}, but there are only {pool} examples that are "
            "not held out in the search, and each confirmation holds out some of its own; take at "
            f"most {pool}, or more examples."
        )
    return pool


def _check_start(chooser: Chooser, start: str) -> None:
    if start not in get_args(Start):
        raise OptionError(f"start must be 'scratch' or 'trained', got {start!r}.")
    if start == "trained" and chooser.problem is None:
        raise OptionError(
            "start='trained' chooses jointly and needs rows, such as Problem.from_model(model, "
            "dataset, l2=..., num_kept=...); without them use start='scratch'."
        )


def _fixed(
    chooser: Chooser,
    num_kept: int,
    pool: int,
    space: Space,
    warm_start: str | PathLike[str] | None,
    *,
    has_search: bool,
) -> list[tuple[str, Composition]]:
    """List what is tried before anything is searched."""
    score = space.scores[0]
    rules = reference_rules(score, num_kept, pool, chooser.num_classes, space.choices)
    fixed = list(rules.items())
    if warm_start is not None:
        earlier = earlier_compositions(warm_start, _NUM_EARLIER, space)
        return fixed + [("earlier", one) for one in earlier if one not in rules.values()]
    if has_search:
        cuts = (part * space.max_hard_cut for part in _FIRST_CUTS)
        fixed += [("searched", Composition(score, cut, evenness=_FIRST_EVENNESS)) for cut in cuts]
    return fixed


def _about(
    chooser: Chooser,
    settings: Settings,
    start: str,
    space: Space,
    fixed: list[tuple[str, Composition]],
) -> dict[str, Any]:
    """Say what a study is about, so that another search does not go on with it."""
    return {
        # Their order counts: the fixed rules take the first.
        "scores": space.scores,
        "num_kept": settings.num_kept,
        "held_out": settings.held_out,
        "seed": settings.seed,
        "start": start,
        "choices": space.choices,
        "labels": sha256_of_array(chooser.labels),
        "difficulty": {name: sha256_of_array(v) for name, v in chooser.difficulty.items()},
        "warm_start": [one.record() for rule, one in fixed if rule == "earlier"],
        **chooser.about_rows(),
    }
