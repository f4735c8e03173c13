"""An offset v0 beside S^T W: selection against a target, and what knows no target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from subsetsel.solvers._chunk_search import walk_chunks
from subsetsel.solvers._walk import Cooling

import subsetsel
from subsetsel import OptionError, Problem, ProblemError, solve
from subsetsel.engine.run import Run
from subsetsel.engine.start import smallest_rows
from subsetsel.influence import fit_head, influence_rows
from subsetsel.rows import as_rows
from subsetsel.rows.base import FloatArray
from subsetsel.rows.rank import reduce_rank
from subsetsel.testing import check_solution, enumerate_optimum

N, D = 800, 8


def rows(seed: int = 0) -> FloatArray:
    """Rows of lengths that differ a hundredfold."""
    rng = np.random.default_rng(seed)
    return np.asarray(rng.normal(size=(N, D)) * rng.lognormal(0.0, 1.0, (N, 1)))


def planted(S: FloatArray, size: int, seed: int = 1) -> FloatArray:
    """What makes some subset of this size perfect."""
    chosen = np.random.default_rng(seed).permutation(len(S))[:size]
    return np.asarray(-S[chosen].sum(axis=0))


# --- every way of searching -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("solver", "options"), [("anneal", {"num_proposals": 50_000}), ("greedy", {})]
)
def test_a_target_far_from_nothing_is_reached(solver: str, options: Any) -> None:
    """Of 800 rows 300 are found that add up to the target to a hundredth of its length."""
    S = rows() + 0.3
    offset = planted(S, 300)
    solution = solve(S, size=300, offset=offset, solver=solver, **options)
    assert solution.norm == pytest.approx(np.linalg.norm(offset + S[solution.mask].sum(axis=0)))
    assert solution.norm < 1e-2 * np.linalg.norm(offset)


def test_most_are_pruned_within_a_distance_of_the_target() -> None:
    """Eq. 3 from a point far outside the ball: feasible, and within a per cent of the bound."""
    S = rows() + 0.3
    solution = solve(S, epsilon=40.0, offset=1.2 * planted(S, 300))
    assert solution.norm <= 40.0 * (1 + 1e-9)
    assert solution.gap is not None
    assert solution.gap < 0.01


def test_rows_that_are_read_in_chunks_are_led_to_the_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Swaps within chunks of 64 lower the norm that has the offset in it."""
    monkeypatch.setattr("subsetsel.solvers._chunk_search._MAX_CHUNK", 64)
    S, rng = rows() + 0.3, np.random.default_rng(0)
    problem = Problem(S, size=300, offset=planted(S, 300))
    mask, norms = rng.permutation(N) < 300, problem.rows.squared_norms
    cooling = Cooling(float(np.quantile(norms, 0.9)), float(norms.min()), 0)
    before, run = problem.norm(mask), Run.quiet(problem)
    after = walk_chunks(problem, run, mask.copy(), np.arange(N), cooling, rng)
    assert problem.norm(after) < 0.05 * before


def test_an_approximation_in_other_coordinates_is_refused() -> None:
    """Rows that cost an iterative solve each: the message says how to do without."""
    rng = np.random.default_rng(0)
    head = fit_head(rng.normal(size=(40, 3)), np.arange(40) % 2, l2=1e-2, inverse="cg")
    S = influence_rows(head)
    with pytest.raises(OptionError, match="no offset can be added; use inverse='cholesky'"):
        solve(Problem(S, size=9, offset=np.ones(S.d)))


@pytest.mark.filterwarnings("ignore::subsetsel.DegenerateProblemWarning")
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("normalization", ["full", "kept"])
def test_the_sizes_that_reach_the_target_are_found_through_the_bridge(
    min_norm_only: str, seed: int, normalization: Any
) -> None:
    """A bisection of sizes finds a feasible one wherever it lies; where none is, no size is."""
    rng = np.random.default_rng(seed)
    S = rng.normal(0.5, 1.0, (10, 2))
    offset = -S[: rng.integers(1, 10)].sum(axis=0)
    problem = Problem(S, epsilon=0.4, offset=offset, normalization=normalization)
    solution = solve(problem, solver=min_norm_only)
    check_solution(problem, solution)
    assert solution.is_feasible == (enumerate_optimum(problem) is not None)


def test_sample_weights_go_with_an_offset() -> None:
    """The column that weighs the examples has no offset."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 2)), np.arange(12) % 2
    weight = rng.uniform(0.5, 2.0, 12)
    plain = Problem.from_features(X, y, l2=0.1, sample_weight=weight, epsilon=1.0)
    offset = -0.5 * plain.rows.sum(np.arange(12) < 3)
    epsilon = 0.3 * float(np.sqrt(plain.rows.squared_norms.max()))
    assert plain.head is not None
    problem = Problem.from_head(plain.head, epsilon=epsilon, offset=offset)
    solution = solve(problem)
    check_solution(problem, solution)
    best = enumerate_optimum(problem)
    assert best is not None
    assert solution.size >= best.size - 1 > 0


# --- where most are fixed -------------------------------------------------------------------------


# --- before and after a search --------------------------------------------------------------------


def test_the_sort_counts_the_length_of_the_offset() -> None:
    """Its subset is feasible by the triangle inequality, which begins at the offset."""
    S = rows()
    problem = Problem(S, epsilon=5.0, offset=np.full(D, 4.9 / np.sqrt(D)))
    mask = smallest_rows(problem)
    assert mask.any()
    assert problem.is_feasible(mask)
    assert np.sqrt(problem.rows.squared_norms[mask]).sum() <= 0.1 + 1e-9


def test_everything_can_go_where_it_leads_to_the_target() -> None:
    """The degenerate case is that of v0 + S^T 1."""
    S = rows() + 0.3
    with pytest.warns(subsetsel.DegenerateProblemWarning):
        assert solve(S, epsilon=1.0, offset=-S.sum(axis=0)).size == N


def test_a_path_keeps_its_offset() -> None:
    """Every point is judged with it."""
    S = rows()
    offset = planted(S, 200)
    for solution in subsetsel.path(S, sizes=[150, 200], offset=offset, solver="greedy"):
        again = np.linalg.norm(offset + S[solution.mask].sum(axis=0))
        assert solution.norm == pytest.approx(again)


def test_a_lower_bound_on_the_norm_counts_the_offset() -> None:
    """Eq. 4 towards a target that 20 rows cannot reach: proved to within a per cent."""
    S = rows() + 0.3
    solution = solve(S, size=20, offset=20.0 * planted(S, 20))
    assert solution.bound is not None
    assert 0.99 * solution.norm < solution.bound <= solution.norm


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_the_rank_is_reduced_with_the_offset(scale: float) -> None:
    """Norms stay, also of an offset that leaves the row space."""
    rng = np.random.default_rng(0)
    S = rng.normal(size=(30, 3)) @ rng.normal(size=(3, 12))
    offset = scale * rng.normal(size=12)
    reduced = reduce_rank(as_rows(S), offset)
    assert reduced.rank == 4
    for _ in range(10):
        mask = rng.random(30) < 0.4
        whole = np.linalg.norm(offset + S[mask].sum(axis=0))
        here = np.linalg.norm(reduced.offset + reduced.rows[mask].sum(axis=0))
        assert abs(here - whole) <= reduced.tails[mask].sum() + reduced.offset_tail
    assert reduced.offset_tail < 1e-12 * np.linalg.norm(offset)


# --- what is said and what is refused -------------------------------------------------------------


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ({"size": 100}, ", with an offset of length"),
        ({"epsilon": 60.0}, " <= epsilon = 60, with an offset of length"),
        ({"epsilon": 60.0, "normalization": "kept"}, "<= epsilon * kept share ="),
    ],
)
def test_the_summary_tells_of_the_offset_and_not_of_retraining(
    goal: dict[str, Any], words: str
) -> None:
    """A norm with a target in it predicts no change of a head."""
    S = rows() + 0.3
    problem = Problem(S, offset=planted(S, 100), **goal)
    text = str(solve(problem, solver="greedy"))
    assert words in text
    assert "predicted change" not in text
    assert "with an offset" in repr(problem)


@pytest.mark.parametrize(
    "offset", [np.ones(D + 1), np.ones((D, 1)), np.full(D, np.nan), np.full(D, 1e200), ["a"] * D]
)
def test_a_vector_that_is_no_offset_is_refused(offset: Any) -> None:
    """The message names the argument and what it must hold."""
    with pytest.raises(ProblemError, match="offset must"):
        Problem(rows(), size=3, offset=offset)


def test_what_refits_a_head_refuses_an_offset() -> None:
    """A refit moves the head alone: hessian="kept", verify and prune say so."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 2)), np.arange(40) % 2
    ask = Problem.from_features
    with pytest.raises(ProblemError, match="offset"):
        ask(X, y, l2=0.1, size=9, hessian="kept", offset=np.ones(3))
    problem = ask(X, y, l2=0.1, size=9, offset=np.ones(3))
    with pytest.raises(ProblemError, match=r"verify measures .* leave offset out"):
        subsetsel.verify(problem, np.arange(40) < 9)
    with pytest.raises(ProblemError, match=r"prune measures .* leave offset out"):
        subsetsel.prune(problem, epsilon=1.0)


@pytest.mark.parametrize("columns", [3, 4])
def test_other_rows_need_an_offset_of_their_own_width(columns: int) -> None:
    """`with_rows` keeps the offset where it fits, and says so where it does not."""
    problem = Problem(np.eye(5, 3), size=2, offset=np.ones(3))
    if columns == 3:
        assert problem.with_rows(np.eye(5, 3)).norm(np.zeros(5, bool)) == pytest.approx(3**0.5)
    else:
        with pytest.raises(ProblemError, match="offset must hold one number per column"):
            problem.with_rows(np.eye(5, 4))
