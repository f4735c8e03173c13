"""A search within a run, on other rows or for another size, whose work counts as the run's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from subsetsel.engine.other_form import Engine
from subsetsel.engine.run import Run
from subsetsel.problem.problem import Problem
from subsetsel.problem.progress import Progress
from subsetsel.rows.base import BoolArray
from subsetsel.support.clock import TimeIsUp


def inner_run(
    run: Run,
    problem: Problem,
    *,
    guess: BoolArray | None,
    max_iterations: int | None,
    effort: float = 1.0,
    **changes: Any,
) -> Run:
    """Prepare a search within a run; what it finds stays its own.

    Parameters
    ----------
    run : Run
        Its clock and interruption hold for the search too.
    problem : Problem
    guess : ndarray of shape (n,), bool, or None
        Where the search starts.
    max_iterations : int or None
        Beside the iterations that are left to the run.
    effort : float
        Share of the usual work.
    **changes
        Other limits of the search.
    """
    counted = 0

    def follow(record: Progress) -> None:
        nonlocal counted
        run.add_iterations(record.num_iterations - counted)
        counted = record.num_iterations

    bounds = [most for most in (run.iterations_left, max_iterations) if most is not None]
    own: dict[str, Any] = {
        "time_limit": None,
        "max_iterations": min(bounds, default=None),
        "target": None,
        "initial_guess": guess,
        "callback": follow,
        "progress": None,
        "bound": False,
        "trace": False,
    }
    inner = Run(problem, replace(run.limits, **own | changes), parent=run, effort=effort)
    if guess is not None:
        inner.submit(guess)
    return inner


def search_within(run: Run, engine: Engine, inner: Run, *, set_aside: float) -> bool:
    """Search, and say whether neither clock nor user cut the search short.

    Parameters
    ----------
    run : Run
    engine : callable
    inner : Run
        From `inner_run`; the best subset is left there.
    set_aside : float
        Seconds of the run's time for what comes after this search.
    """
    before, is_late = run.num_iterations, False
    run.set_aside = set_aside
    try:
        engine(inner.problem, inner)
    except TimeIsUp:
        is_late = True
    finally:
        run.set_aside = 0.0
        run.add_iterations(inner.num_iterations - (run.num_iterations - before))
    return not (is_late or inner.limit in {"time", "interrupted"})
