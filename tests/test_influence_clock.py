"""A clock ends every long computation of a head, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from head_oracle import blobs
from torch.utils.data import TensorDataset

from subsetsel.influence import fit_head, influence_rows, lissa_influence, parameter_influence
from subsetsel.influence.head import triangles
from subsetsel.influence.head.conjugate_gradients import IterativeInverse, conjugate_gradients
from subsetsel.influence.head.newton import approach, minimize
from subsetsel.influence.head.woodbury import WoodburyInverse
from subsetsel.support.clock import NO_CLOCK, Clock, TimeIsUp

X, Y = blobs(120, 6, 4)
KEPT = np.arange(len(X)) % 5 > 0
V = np.ones((4, 7))
DATA = TensorDataset(torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(Y))


class Countdown(Clock):
    """A clock that goes by how often it is asked: its time is up at the last of ``checks``."""

    def __init__(self, checks: float) -> None:
        super().__init__()
        self.checks = checks

    def check(self) -> None:
        """Count down."""
        self.checks -= 1
        if self.checks <= 0:
            raise TimeIsUp


def head(inverse: Any = "cholesky", *, has_inverse: bool = True) -> Any:
    """Make a small head, whose inverse is ready or not."""
    made = fit_head(X, Y, l2=1e-2, inverse=inverse)
    if has_inverse:
        made.prepare_inverse()
    return made


def columns(of: Any) -> torch.Tensor:
    """Right sides for the inverse of a head."""
    return torch.ones((of.inverse.scale.shape[0], 2), dtype=torch.float64)


def model() -> torch.nn.Module:
    """Make a linear classifier."""
    return torch.nn.Linear(6, 4)


def influence_of(kind: Any) -> Callable[[Clock], Any]:
    """Influence of a model's parameters by one kind of solver."""
    return lambda clock: parameter_influence(
        model(), DATA, l2=1.0, parameters="", inverse=kind, batch_size=16, clock=clock
    )


def by_hessian(clock: Clock) -> Any:
    """Take the Hessian at a head's minimum."""
    at = head()
    return at.objective_function.timed(clock).hessian(at.to_scaled(at.theta))


def by_steps(clock: Clock) -> Any:
    """Minimize from zero."""
    objective = head().objective_function.timed(clock)
    return minimize(objective, objective.scale.new_zeros((4, 7)), tolerance=1e-8)


def by_evaluations(clock: Clock) -> Any:
    """Come near the minimum by L-BFGS."""
    objective = head().objective_function.timed(clock)
    return approach(objective, objective.scale.new_zeros((4, 7)))


def by_conjugate_gradients(clock: Clock) -> Any:
    """Solve with a diagonal matrix by conjugate gradients."""
    diagonal = torch.arange(1.0, 9.0, dtype=torch.float64)[:, None]
    ones = torch.ones((8, 2), dtype=torch.float64)
    return conjugate_gradients(
        lambda u: diagonal * u, lambda u: u, ones, 1e-8, cure="None.", clock=clock
    )


def weakest(kind: str) -> Callable[[Clock], Any]:
    """Look for the weakest direction by one kind of inverse, where both are ready."""

    def run(clock: Clock) -> Any:
        full = head(kind).inverse
        kept = head(kind).kept(KEPT).inverse
        return full.weakest_direction(kept, clock=clock)

    return run


def by_woodbury(clock: Clock) -> Any:
    """Prepare a Woodbury inverse."""
    made = head(has_inverse=False)
    return WoodburyInverse(made.objective_function.timed(clock), made.to_scaled(made.theta))


LONG: dict[str, Callable[[Clock], Any]] = {
    "fit_head": lambda clock: fit_head(X, Y, l2=1e-2, clock=clock),
    "fit_head, squared": lambda clock: fit_head(X, Y, l2=1e-2, loss="squared", clock=clock),
    "minimize": by_steps,
    "approach": by_evaluations,
    "hessian": by_hessian,
    "influence_rows": lambda clock: influence_rows(head(), clock=clock),
    "influence_rows by cg": lambda clock: influence_rows(head("cg"), storage="dense", clock=clock),
    "prepare_inverse": lambda clock: head(has_inverse=False).prepare_inverse(clock),
    "prepare_inverse by cg": lambda clock: head("cg", has_inverse=False).prepare_inverse(clock),
    "solve by cg": lambda clock: head("cg").inverse.solve(columns(head()), clock=clock),
    "solve": lambda clock: head().inverse.solve(columns(head()), clock=clock),
    "half": lambda clock: head().inverse.half(columns(head()), clock=clock),
    "half, transposed": lambda clock: head().inverse.half(
        columns(head()), transposed=True, clock=clock
    ),
    "woodbury": by_woodbury,
    "solve by woodbury": lambda clock: by_woodbury(NO_CLOCK).solve(columns(head()), clock=clock),
    "half by woodbury": lambda clock: by_woodbury(NO_CLOCK).half(columns(head()), clock=clock),
    "weakest_direction by woodbury": lambda clock: by_woodbury(NO_CLOCK).weakest_direction(
        by_woodbury(NO_CLOCK), clock=clock
    ),
    "smallest_eigenvalue": lambda clock: head().inverse.smallest_eigenvalue(clock=clock),
    "refit": lambda clock: head().refit(KEPT, clock=clock),
    "refit from elsewhere": lambda clock: head().refit(KEPT, theta=0 * V, clock=clock),
    "newton_step": lambda clock: head().kept(KEPT, clock=clock).newton_step(),
    "curvature": lambda clock: head().kept(KEPT, clock=clock).curvature(),
    "curvature without an inverse": lambda clock: (
        head(has_inverse=False).kept(KEPT, clock=clock).curvature()
    ),
    "weakest_direction by cg": weakest("cg"),
    "curvature_along": lambda clock: head().curvature_along(V, clock=clock),
    "conjugate_gradients": by_conjugate_gradients,
    "lissa_influence": lambda clock: lissa_influence(head(), num_steps=9, clock=clock),
    "lissa_influence by batches": lambda clock: lissa_influence(
        head(), num_steps=9, batch_size=9, clock=clock
    ),
    "parameter_influence": influence_of("cholesky"),
    "parameter_influence by cg": influence_of("cg"),
}


@pytest.mark.parametrize("name", LONG)
def test_a_clock_that_ran_out_ends_the_work(name: str) -> None:
    """Whatever takes long asks the clock before it begins."""
    with pytest.raises(TimeIsUp):
        LONG[name](Clock(limit=0))


@pytest.mark.parametrize(
    ("name", "checks"),
    [
        ("fit_head", 30),
        ("influence_rows", 4),
        ("influence_rows by cg", 20),
        ("refit", 8),
        ("weakest_direction by cg", 8),
        ("woodbury", 8),
        ("weakest_direction by woodbury", 8),
        ("lissa_influence", 12),
        ("parameter_influence by cg", 20),
    ],
)
def test_the_clock_is_asked_again_and_again(name: str, checks: int) -> None:
    """A deadline in the middle of the work ends it there."""
    with pytest.raises(TimeIsUp):
        LONG[name](Countdown(checks))


@pytest.mark.parametrize("inverse", ["cholesky", "cg"])
def test_what_a_clock_prepared_serves_after_its_deadline(inverse: Any) -> None:
    """The inverse that a head keeps does not remember the clock it was prepared under."""
    made, clock = head(inverse, has_inverse=False), Countdown(np.inf)
    found = made.prepare_inverse(clock)
    clock.checks = 0
    assert found is made.inverse
    assert bool(torch.isfinite(made.inverse.solve(columns(made))).all())


def test_an_interrupted_preparation_keeps_nothing() -> None:
    """After `TimeIsUp` the inverse is prepared anew, and right."""
    made = head(has_inverse=False)
    with pytest.raises(TimeIsUp):
        made.prepare_inverse(Clock(limit=0))
    solved = made.inverse.solve(columns(made))
    assert torch.equal(solved, head().inverse.solve(columns(made)))


@pytest.fixture
def matrix(monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """Give a positive definite matrix of several tiles."""
    monkeypatch.setattr(triangles, "TILE", 8)
    numbers = torch.as_tensor(np.random.default_rng(0).standard_normal((29, 29)))
    return numbers @ numbers.T + torch.eye(29)


def test_tiles_make_the_factor_of_the_whole_matrix(matrix: torch.Tensor) -> None:
    """L, with zeros above its diagonal."""
    expected = torch.linalg.cholesky(matrix)
    assert triangles.factor_in_place(matrix)
    torch.testing.assert_close(matrix, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("place", [3, 12, 28])
def test_tiles_notice_a_matrix_without_a_factor(matrix: torch.Tensor, place: int) -> None:
    """In whichever tile it shows."""
    matrix[place, place] = -1.0
    assert not triangles.factor_in_place(matrix)


@pytest.mark.parametrize("is_transposed", [False, True])
def test_tiles_solve_with_the_whole_triangle(matrix: torch.Tensor, is_transposed: bool) -> None:
    """L^-1 and L^-T times columns, which stay as they are."""
    lower = torch.linalg.cholesky(matrix)
    given = torch.as_tensor(np.random.default_rng(1).standard_normal((29, 3)))
    before = given.clone()
    solve = triangles.solve_upper if is_transposed else triangles.solve_lower
    triangle = lower.T if is_transposed else lower
    torch.testing.assert_close(triangle @ solve(lower, given), before, rtol=1e-11, atol=1e-11)
    assert torch.equal(given, before)


@pytest.mark.parametrize("checks", [2, 5, 9])
def test_a_clock_ends_the_work_between_tiles(matrix: torch.Tensor, checks: int) -> None:
    """One factor of many tiles need not be finished."""
    with pytest.raises(TimeIsUp):
        triangles.factor_in_place(matrix, Countdown(checks))


def test_no_clock_never_ends_the_work() -> None:
    """It has no deadline."""
    assert NO_CLOCK.remaining == np.inf


def test_an_iterative_inverse_is_prepared_under_the_objectives_clock() -> None:
    """The clock of the objective that it is given counts."""
    made = head("cg")
    with pytest.raises(TimeIsUp):
        IterativeInverse(made.objective_function.timed(Clock(limit=0)), made.to_scaled(made.theta))
