"""What is called proved is true: judged in exact arithmetic; estimates prove nothing."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from relaxed import relax

from subsetsel import Problem, SubsetselError, solve
from subsetsel.bounds.diagonal import tangent_bound
from subsetsel.bounds.dual import evaluate_dual, lower_bound_on_norm, norm_along
from subsetsel.bounds.relaxation import SHARP, Ascent
from subsetsel.engine.result import Candidate
from subsetsel.influence import fit_head, influence_rows
from subsetsel.problem.problem import FEASIBILITY
from subsetsel.rows import DenseRows, Rows
from subsetsel.rows.base import AnyFloatArray, FloatArray, IndexArray
from subsetsel.rows.rank import reduce_rank

_LIMIT = Fraction(1) + Fraction(FEASIBILITY)


def exact_squares(S: Any, offset: Any = None) -> tuple[np.ndarray, list[Fraction]]:
    """All masks of the rows, and ||v0 + S^T W||^2 of each without any rounding."""
    n, d = S.shape
    masks = (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1
    start = np.zeros(d) if offset is None else offset
    # Float64 numbers are whole multiples of one power of 2: all sums are of integers.
    numbers = [[Fraction(float(x)) for x in row] for row in np.vstack([S, start])]
    unit = max(x.denominator for row in numbers for x in row)
    whole = np.array([[int(x * unit) for x in row] for row in numbers], dtype=object)
    totals = masks.astype(object) @ whole[:-1] + whole[-1]
    return masks, [Fraction(int(x), unit**2) for x in (totals**2).sum(axis=1)]


def largest_size(S: Any, problem: Problem, offset: Any = None) -> int:
    """Largest size of a subset that is feasible in exact arithmetic; -1 where none is."""
    assert problem.epsilon is not None
    masks, squares = exact_squares(S, offset)
    allowed = (Fraction(problem.epsilon) * _LIMIT) ** 2
    sizes = [
        int(mask.sum())
        for mask, square in zip(masks, squares, strict=True)
        if square <= allowed and not problem.linear_violations(mask)
    ]
    return max(sizes, default=-1)


def least_square(S: Any, problem: Problem) -> Fraction:
    """Least squared norm of a subset of the size that is asked for, in exact arithmetic."""
    masks, squares = exact_squares(S)
    pairs = zip(masks, squares, strict=True)
    return min(square for mask, square in pairs if not problem.linear_violations(mask))


# --- a part that no weight moves ------------------------------------------------------------------

_RATIOS = st.sampled_from([0.3, 0.9, 0.99, 0.999, 1.0, 1.001, 1.01, 1.5])


def beside_a_fixed_row(seed: int, n: int, ratio: float) -> tuple[Problem, FloatArray]:
    """Rows with a drift, and one that must go whose norm is ``ratio`` times epsilon."""
    rng = np.random.default_rng(seed)
    d = int(rng.integers(1, 6))
    S = rng.normal(rng.choice([0.0, 0.3, 1.0]), 1.0, (n, d))
    drift = S.sum(axis=0)
    epsilon = float(rng.choice([0.05, 0.2, 0.6])) * float(np.linalg.norm(drift))
    direction = rng.choice([-1.0, 1.0]) * drift + rng.choice([0.0, 1.0]) * rng.normal(size=d)
    fixed = direction / np.linalg.norm(direction) * epsilon * ratio
    S = np.vstack([S, fixed])
    return Problem(S, epsilon=epsilon, must_prune=[n]), S


@settings(deadline=None, max_examples=80)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 9), ratio=_RATIOS)
def test_relaxed_value_and_optimum_are_below_the_bound(seed: int, n: int, ratio: float) -> None:
    """With a fixed row near epsilon: value <= bound, and no subset is larger than the bound."""
    problem, S = beside_a_fixed_row(seed, n, ratio)
    relaxation = relax(problem)
    assert relaxation.value <= relaxation.bound
    assert largest_size(S, problem) <= np.floor(relaxation.bound)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), n=st.integers(20, 200), ratio=_RATIOS.filter(lambda x: x != 1))
def test_fixed_rows_near_epsilon_leave_no_gap(seed: int, n: int, ratio: float) -> None:
    """The relaxation closes its gap as it does without the fixed row, or excludes everything."""
    problem, S = beside_a_fixed_row(seed, n, ratio)
    alone = relax(Problem(S[:n], epsilon=problem.epsilon))
    assume(alone.bound - alone.value <= 1e-3 * alone.bound)
    relaxation = relax(problem)
    is_excluded = relaxation.bound < 1
    gap = relaxation.bound - relaxation.value
    assert is_excluded or gap <= max(1e-3 * relaxation.bound, 0.1)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), n=st.integers(2, 9), ratio=_RATIOS)
def test_an_offset_is_a_row_that_must_go(seed: int, n: int, ratio: float) -> None:
    """||v0 + S^T W|| <= epsilon: one size less than with v0 as a row, and never below the best.

    Mutation: the bound forgets the offset: fails.
    """
    problem, S = beside_a_fixed_row(seed, n, ratio)
    free, offset = Problem(S[:n], epsilon=problem.epsilon, offset=S[n]), S[n]
    relaxation = Ascent(free).run(SHARP)
    assert largest_size(S[:n], free, offset) <= np.floor(relaxation.bound)
    assert relaxation.value <= relaxation.bound
    as_row = relax(problem)
    if as_row.bound > 1 and as_row.value > 1:
        assert relaxation.bound == pytest.approx(as_row.bound - 1, abs=0.15)


def test_tangent_bound_knows_the_offset() -> None:
    """With D = 0 the tangent at the relaxed optimum proves what the dual proves."""
    problem, S = beside_a_fixed_row(3, 40, 0.99)
    free = Problem(S[:40], epsilon=problem.epsilon, offset=S[40])
    relaxation = Ascent(free).run(SHARP)
    bound = tangent_bound(free, np.zeros(40), relaxation.weights, np.zeros(0)).bound
    assert bound == pytest.approx(relaxation.bound, abs=0.1)
    assert abs(bound - relax(Problem(S[:40], epsilon=problem.epsilon)).bound) > 0.2


def test_a_cap_holds_for_the_relaxed_value() -> None:
    """The relaxed value stays below max_size, as the bound does."""
    S = np.random.default_rng(0).normal(size=(50, 3)) + 0.3
    relaxation = relax(Problem(S, epsilon=9.0, max_size=4))
    assert relaxation.value == pytest.approx(4)
    assert relaxation.value <= relaxation.bound == 4


def test_more_fixed_rows_than_the_cap_allows() -> None:
    """Nothing is feasible, and the relaxation ends without a value."""
    S = np.random.default_rng(0).normal(size=(6, 3))
    assert relax(Problem(S, epsilon=0.0, must_prune=[0, 1, 2], max_size=1)).value == 0


@pytest.mark.parametrize("d", [1, 3])
def test_a_fixed_row_that_nothing_makes_up_for_is_excluded(d: int) -> None:
    """The dual falls without end: the bound is below the one example that must go."""
    S = np.vstack([np.full((8, d), 0.5), np.full((1, d), 1.001 / np.sqrt(d))])
    problem = Problem(S, epsilon=1.0, must_prune=[8])
    assert relax(problem).bound < 1
    assert solve(problem, solver="greedy").status == "infeasible"


# --- rows that are estimates ----------------------------------------------------------------------

_SOLVERS = ["anneal", "greedy", "exact", "cpsat", "relax"]


class Doubtful(DenseRows):
    """Rows whose product with a direction contradicts their sums by a share of it."""

    share = 0.0

    def dot(self, direction: FloatArray) -> FloatArray:
        """S u, with an error that a bound would take for a gain."""
        out: FloatArray = (1.0 + self.share) * super().dot(direction)
        return out


def doubtful(S: Any, share: float) -> Doubtful:
    """Rows with such an error."""
    rows = Doubtful(S)
    rows.share = share
    return rows


class Searched(DenseRows):
    """Exact sums, while single rows and norms are those of an approximation."""

    def __init__(self, S: AnyFloatArray) -> None:
        super().__init__(S)
        # Norms far too small, as estimates may be.
        self.__dict__["squared_norms"] = 1e-6 * np.einsum("ij,ij->i", S, S)

    @property
    def proxy(self) -> Rows:
        """Half as long as the rows."""
        return DenseRows(0.5 * self._array)

    def take(self, indices: IndexArray) -> AnyFloatArray:
        """Chosen rows, from the approximation."""
        return self.proxy.take(indices)

    def block(self, start: int, stop: int) -> AnyFloatArray:
        """Rows, from the approximation."""
        return self.proxy.block(start, stop)

    def dot(self, direction: FloatArray) -> FloatArray:
        """Exact."""
        return np.asarray(self._array @ direction)

    def sum(self, weights: Any) -> FloatArray:
        """Exact."""
        return np.asarray(np.asarray(weights, float) @ self._array)

    def dense(self) -> None:
        """No array."""


_S = np.random.default_rng(5).normal(size=(9, 3)) + 0.7


@pytest.mark.parametrize("solver", _SOLVERS)
@pytest.mark.parametrize("goal", [{"epsilon": 1.9}, {"size": 5}])
def test_estimated_norms_prove_nothing(solver: str, goal: dict[str, Any]) -> None:
    """No bound that says anything, and neither "optimal" nor "infeasible"."""
    solution = solve(Problem(Searched(_S), **goal), solver=solver, max_iterations=500)
    assert solution.status in {"feasible", "unknown"}
    assert solution.bound in ({0.0} if "size" in goal else {None, 9.0})


@pytest.mark.parametrize("solver", _SOLVERS)
def test_estimated_norms_do_not_exclude_everything(solver: str) -> None:
    """A row that must go is too long for epsilon: true, and yet not proved by estimates."""
    problem = Problem(Searched(_S), epsilon=0.1, must_prune=[0])
    assert solve(problem, solver=solver, max_iterations=500).status == "unknown"


def test_what_needs_no_norm_is_still_proved() -> None:
    """More fixed examples than may be pruned exclude everything, whatever the norms."""
    assert solve(Problem(Searched(_S), size=1, must_prune=[0, 1])).status == "infeasible"


@pytest.mark.parametrize("solver", _SOLVERS)
def test_conjugate_gradients_prove_nothing(solver: str) -> None:
    """Rows that each cost an iterative solve have no bound, where a factor's have one."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), rng.integers(0, 3, 30)
    bounds = []
    for inverse in ("cg", "cholesky"):
        head = fit_head(X, y, l2=1e-2, num_classes=3, inverse=inverse)
        rows = influence_rows(head, ridge="excluded", storage="factored")
        epsilon = 0.3 * float(np.linalg.norm(rows.total))
        solution = solve(Problem(rows, epsilon=epsilon), solver=solver, max_iterations=500)
        bounds.append(30.0 if solution.bound is None else solution.bound)
        assert inverse == "cholesky" or solution.status == "feasible"
    assert bounds[1] < bounds[0] == 30.0


@pytest.mark.parametrize(("share", "is_exact"), [(0.0, True), (1e-12, True), (1e-3, False)])
def test_products_that_contradict_sums_are_noticed(share: float, is_exact: bool) -> None:
    """A random product says whether a storage's own products are of one matrix."""
    rows = doubtful(_S, share)
    assert rows.is_exact is is_exact
    assert np.isfinite(rows.row_error).all() == is_exact
    bound = solve(Problem(rows, epsilon=1.9)).bound
    assert (bound is not None and bound < 9) == is_exact


def test_an_array_is_exact_in_every_type() -> None:
    """The numbers that are stored are the problem, also in float32."""
    for dtype in (np.float32, np.float64):
        rows = DenseRows(_S.astype(dtype))
        assert rows.is_exact
        assert rows.block_error == 0.0
        assert rows.row_error.max() < 1e-13


def test_rows_rounded_to_float32_enter_the_tails() -> None:
    """Blocks of a formula are rounded; the rank reduction's error covers sums of the formula."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.integers(0, 3, 40)
    head = fit_head(X, y, l2=1e-2, num_classes=3)
    rows = influence_rows(head, ridge="included", storage="factored", dtype=np.float32)
    reduced = reduce_rank(rows)
    misses = []
    for _ in range(50):
        weights = rng.normal(size=40)
        miss = rows.sum(weights) - reduced.lift(weights @ reduced.rows)
        misses.append(float(np.linalg.norm(miss)) / float(np.abs(weights) @ reduced.tails))
    assert max(misses) <= 1
    wide = np.concatenate([part.astype(np.float64) for *_, part in rows.blocks()])
    # Without the rounding the tails would be too small by far.
    assert reduce_rank(DenseRows(wide)).tails.max() < 1e-3 * reduced.tails.max()


# --- in exact arithmetic --------------------------------------------------------------------------


def hard_rows(seed: int) -> Any:
    """Few rows of one of the kinds that float64 finds hard: ties, scales, near cancellation."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(2, 8)), int(rng.integers(1, 4))
    S = rng.normal(rng.choice([0.0, 0.5]), 1.0, (n, d))
    kinds = [
        S * 10.0 ** rng.uniform(-9, 0, (n, 1)),
        np.round(2 * S) / 2 + 1e-8 * rng.normal(size=S.shape),
        1e8 * S,
        1e-7 * S,
        np.vstack([S, -S[: max(1, n // 2)] * (1 + 1e-7)]),
        S + 1e6,
    ]
    return kinds[int(rng.integers(len(kinds)))].astype(
        np.float32 if rng.random() < 0.5 else np.float64
    )


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    shift=st.sampled_from([0.0, 1e-12, -1e-12, 5e-10, -5e-10, 1e-7, -1e-7, 1e-6, -1e-6]),
)
def test_every_u_bounds_the_size_in_exact_arithmetic(seed: int, shift: float) -> None:
    """Epsilon lies at the norm of a subset, or a little beside it."""
    S, rng = hard_rows(seed), np.random.default_rng(seed)
    masks, squares = exact_squares(S)
    epsilon = float(squares[int(rng.integers(1, len(masks)))]) ** 0.5 * (1 + shift)
    problem = Problem(S, epsilon=epsilon)
    best = largest_size(S, problem)
    for u in (rng.normal(size=problem.d), problem.rows.total, relax(problem).dual.u):
        assert best <= np.floor(evaluate_dual(problem, u).bound)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), share=st.floats(0, 1))
def test_every_u_bounds_the_norm_in_exact_arithmetic(seed: int, share: float) -> None:
    """Eq. 4, in float32 and float64: no bound is above the least norm."""
    S, rng = hard_rows(seed), np.random.default_rng(seed)
    problem = Problem(S, size=round(share * len(S)))
    least = least_square(S, problem)
    u = problem.rows.sum(rng.random(len(S)))
    for bound in (norm_along(problem, u), lower_bound_on_norm(problem)):
        assert Fraction(bound) ** 2 <= least


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), share=st.floats(0, 1))
def test_bound_with_normalization_kept_in_exact_arithmetic(seed: int, share: float) -> None:
    """The bound of shrinking radii is below no subset that is feasible at its own size."""
    S = np.abs(hard_rows(seed)) + np.float32(0.1)
    masks, squares = exact_squares(S)
    total = float(squares[-1]) ** 0.5
    problem = Problem(S, epsilon=max(share, 1e-3) * total, normalization="kept")
    solution = solve(problem, solver="anneal", max_iterations=200)
    assert problem.epsilon is not None
    assert solution.bound is not None
    for mask, square in zip(masks, squares, strict=True):
        left = Fraction(int((~mask).sum()), len(S))
        if not problem.linear_violations(mask):
            is_feasible = square <= (Fraction(problem.epsilon) * left * _LIMIT) ** 2
            assert not is_feasible or mask.sum() <= np.floor(solution.bound)


@pytest.mark.filterwarnings("ignore::subsetsel.errors.DegenerateProblemWarning")
@pytest.mark.parametrize("solver", ["exact", "cpsat"])
@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 10_000),
    shift=st.sampled_from([0.0, 5e-10, -5e-10, 2e-9, -2e-9, 1e-7, -1e-7]),
)
def test_optimal_is_optimal_in_exact_arithmetic(solver: str, seed: int, shift: float) -> None:
    """A larger subset that is feasible within 1e-9 is never cut off by tolerances or rounding."""
    S, rng = hard_rows(seed), np.random.default_rng(seed)
    masks, squares = exact_squares(S)
    epsilon = float(squares[int(rng.integers(1, len(masks)))]) ** 0.5 * (1 + shift)
    assume(epsilon > 0)
    problem = Problem(S, epsilon=epsilon)
    solution = solve(problem, solver=solver, bound=False)
    # Sums that float64 cannot tell from the limit may count on either side.
    loss = 1e-14 * float(np.abs(S).sum()) / epsilon
    best = largest_size(S, problem.replace(epsilon=epsilon * (1 - 1e-13 - loss)))
    assert solution.status != "optimal" or solution.size >= best


# --- what is said of tolerances -------------------------------------------------------------------


def test_scip_says_its_tolerance_where_no_bound_confirms_it() -> None:
    """Optimal with a gap that float64 proves only in part: both are said."""
    S = np.random.default_rng(1).normal(size=(12, 3))
    solution = solve(Problem(S, size=6), solver="exact")
    assert solution.status == "optimal"
    assert "within a tolerance of 1e-05" in solution.message
    assert "proved in float64 is" in solution.message
    assert solution.bound is not None
    assert solution.bound < solution.norm


def test_scip_says_nothing_where_the_bound_confirms_it() -> None:
    """A size that reaches the bound needs no caveat."""
    solution = solve(Problem(np.eye(3), epsilon=1.0), solver="exact")
    assert (solution.status, solution.size) == ("optimal", 1)
    assert np.floor(solution.bound or 9) == 1
    assert not solution.message


def test_integer_arithmetic_needs_no_caveat() -> None:
    """CP-SAT's proof counts every rounding: its optimum is the bound."""
    S = np.random.default_rng(1).normal(size=(12, 3))
    solution = solve(Problem(S, size=6), solver="cpsat")
    assert (solution.status, solution.bound, solution.message) == ("optimal", solution.norm, "")


class _Claims:
    """A solver that prunes nothing and claims a bound."""

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def solve(self, problem: Problem, options: Any, run: Any) -> Candidate:
        """Submit example 0 and claim."""
        run.submit(np.arange(problem.n) == 0)
        return Candidate(bound=self.bound)


@pytest.mark.parametrize(("goal", "bound"), [({"epsilon": 3.0}, 0.5), ({"size": 1}, 9.0)])
def test_a_bound_that_the_subset_refutes_is_an_error(goal: dict[str, Any], bound: float) -> None:
    """The message names the cure, bound=False, and it works."""
    from subsetsel.engine.finish import conclude
    from subsetsel.engine.options import Limits
    from subsetsel.engine.run import Run

    problem = Problem(np.eye(4), **goal)

    def answer(wanted: bool) -> Any:
        run = Run(problem, Limits(bound=wanted))
        return conclude(problem, "claims", run, _Claims(bound).solve(problem, None, run), 0.0, "")

    with pytest.raises(SubsetselError, match=r"bound of .* is claimed.*bound=False"):
        answer(True)
    assert answer(False).size == 1
