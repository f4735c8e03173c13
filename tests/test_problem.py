"""The problem: what it accepts, what it says about a subset, and asking again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from subsetsel import Problem, ProblemError, Solution
from subsetsel.problem.constraints import Constraints

_S = np.array([[3.0, 0.0], [0.0, 4.0], [-3.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def _mask(*pruned: int) -> Any:
    mask = np.zeros(5, dtype=np.bool_)
    mask[list(pruned)] = True
    return mask


# --- construction -------------------------------------------------------------------------------


def test_forms() -> None:
    """A norm asks Eq. 3, a size Eq. 4."""
    assert Problem(_S, epsilon=1.0).form == "max_size"
    assert Problem(_S, size=2).form == "min_norm"


def test_shape_and_S() -> None:
    """Both n and d are those of S, which is not copied."""
    problem = Problem(_S, epsilon=1.0)
    assert (problem.n, problem.d) == (5, 2)
    assert np.shares_memory(problem.S, _S)


def test_S_of_other_storage_is_rows() -> None:
    """Where S is no C-contiguous array, `S` gives the rows that stand for it."""
    problem = Problem(np.asfortranarray(_S), epsilon=1.0)
    assert problem.S is problem.rows


def test_kept_caps_the_size() -> None:
    """Normalization "kept" always keeps one example."""
    assert Problem(_S, epsilon=1.0, normalization="kept").max_size == 4
    assert Problem(_S, epsilon=1.0).max_size == 5


@pytest.mark.parametrize("given", [[1, 3], np.array([3, 1]), _mask(1, 3), (1, 3)])
def test_fixed_examples_as_indices_or_mask(given: Any) -> None:
    """must_prune and must_keep take indices in any order, or a mask."""
    np.testing.assert_array_equal(Problem(_S, size=2, must_prune=given).must_prune, _mask(1, 3))
    np.testing.assert_array_equal(Problem(_S, size=2, must_keep=given).must_keep, _mask(1, 3))


def test_fixed_mask_is_copied() -> None:
    """Changing the mask afterwards does not change the problem."""
    given = _mask(1)
    problem = Problem(_S, size=2, must_prune=given)
    given[:] = True
    np.testing.assert_array_equal(problem.must_prune, _mask(1))


def test_no_fixed_examples() -> None:
    """An empty list fixes nobody."""
    problem = Problem(_S, size=2, must_prune=[], must_keep=[])
    assert problem.free.all()


def test_free_is_the_rest() -> None:
    """Free is who is neither to be pruned nor to be kept."""
    problem = Problem(_S, size=2, must_prune=[0], must_keep=[4])
    np.testing.assert_array_equal(problem.free, _mask(1, 2, 3))


def test_groups_and_constraints_add_up() -> None:
    """Group limits and general constraints are rows of one matrix."""
    problem = Problem(
        _S,
        size=2,
        groups=[0, 0, 1, 1, 1],
        group_limits={0: (0, 1)},
        constraints=[(np.ones(5), 0, 3)],
    )
    assert len(problem.constraints) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, ["exactly one of", "got none"]),
        ({"epsilon": 1.0, "size": 2}, ["exactly one of", "epsilon and size"]),
        ({"epsilon": -1.0}, ["epsilon", "-1.0"]),
        ({"epsilon": np.nan}, ["epsilon", "nan"]),
        ({"size": 6}, ["size", "n = 5", "6"]),
        ({"size": -1}, ["size", "-1"]),
        ({"rel_epsilon": 0.1}, ["rel_epsilon", "Problem.from_features"]),
        ({"epsilon": 1.0, "normalization": "half"}, ["normalization", "'half'", "'kept'"]),
        ({"size": 5, "normalization": "kept"}, ["'kept'", "at least one"]),
        ({"size": 2, "must_prune": [0, 1], "must_keep": [1]}, ["must_prune", "must_keep", "1"]),
        ({"size": 2, "must_prune": [5]}, ["must_prune", "0 to 4", "5"]),
        ({"size": 2, "must_keep": [-1]}, ["must_keep", "0 to 4", "-1"]),
        ({"size": 2, "must_keep": [0.5]}, ["must_keep", "indices", "float64"]),
        ({"size": 2, "must_keep": ["a"]}, ["must_keep", "indices"]),
        ({"size": 2, "must_prune": np.ones(4, dtype=bool)}, ["must_prune", "(4,)", "(5,)"]),
        ({"size": 2, "must_prune": [[0, 1]]}, ["must_prune", "(1, 2)"]),
        ({"size": 2, "groups": [0] * 5}, ["groups and group_limits"]),
        ({"size": 2, "constraints": [(np.ones(4), 0, 1)]}, ["shape (5,)", "(4,)"]),
        ({"size": 2, "max_size": 3}, ["max_size goes with epsilon"]),
    ],
)
def test_refuses(arguments: dict[str, Any], words: list[str]) -> None:
    """A question that makes no sense is refused, naming argument, value and rule."""
    with pytest.raises(ProblemError) as error:
        Problem(_S, **arguments)
    for word in words:
        assert word in str(error.value)


def test_error_is_also_a_value_error() -> None:
    """Callers who know nothing of subsetsel catch ValueError."""
    with pytest.raises(ValueError, match="exactly one"):
        Problem(_S)


# --- what it says about a subset ----------------------------------------------------------------


def test_norm() -> None:
    """||W^T S||_2 of a subset, by hand."""
    problem = Problem(_S, epsilon=1.0)
    assert problem.norm(_mask(0, 1)) == 5.0
    assert problem.norm(_mask(0, 2)) == 0.0
    assert problem.norm(_mask()) == 0.0


def test_norm_of_a_solution() -> None:
    """A solution stands for its mask."""
    problem = Problem(_S, epsilon=1.0)
    assert problem.norm(Solution(mask=_mask(0, 1), norm=5.0, status="feasible")) == 5.0  # type: ignore[arg-type]


def test_norm_is_float64_for_float32_rows() -> None:
    """The norm of float32 rows is computed in float64."""
    S = np.full((1000, 1), 0.1, dtype=np.float32)
    exact = 1000 * float(np.float32(0.1))
    assert Problem(S, size=0).norm(np.ones(1000, dtype=bool)) == pytest.approx(exact, rel=1e-14)


@pytest.mark.parametrize(
    "mask", [[0, 1], np.array([0, 1]), np.ones(4, dtype=bool), np.ones(6), np.ones((5, 1), bool)]
)
def test_masks_are_never_guessed(mask: Any) -> None:
    """Indices, wrong lengths and numbers are refused where a mask is meant."""
    with pytest.raises(ProblemError, match=r"Boolean array of shape \(5,\).*mask\[pruned\]"):
        Problem(_S, epsilon=1.0).norm(mask)


def test_radius() -> None:
    """Full: epsilon whatever is pruned; kept: the kept share of it; Eq. 4: no limit."""
    assert Problem(_S, epsilon=2.0).radius(4) == 2.0
    assert Problem(_S, epsilon=2.0, normalization="kept").radius(4) == pytest.approx(0.4)
    assert Problem(_S, size=2).radius(2) == np.inf


@pytest.mark.parametrize(
    ("arguments", "mask", "complaint"),
    [
        ({"epsilon": 5.0}, _mask(0, 1), None),
        ({"epsilon": 4.9}, _mask(0, 1), "the norm is 5, more than 4.9"),
        ({"epsilon": 5.0, "normalization": "kept"}, _mask(0, 1), "the norm is 5, more than 3"),
        ({"epsilon": 9.0, "normalization": "kept"}, _mask(0, 1), None),
        ({"size": 2}, _mask(0, 1), None),
        ({"size": 2}, _mask(0), "1 are pruned, not 2"),
        ({"epsilon": 9.0, "max_size": 1}, _mask(0, 1), "2 are pruned, more than max_size = 1"),
        ({"epsilon": 9.0, "must_prune": [2]}, _mask(0), "1 examples of must_prune"),
        ({"epsilon": 9.0, "must_keep": [0]}, _mask(0), "1 examples of must_keep"),
        ({"epsilon": 9.0, "constraints": [(np.ones(5), 2, 3)]}, _mask(0), "outside [2, 3]"),
    ],
)
def test_feasibility_and_its_reasons(
    arguments: dict[str, Any], mask: Any, complaint: str | None
) -> None:
    """A feasible subset breaks nothing; of an infeasible one the broken rule is said in words."""
    problem = Problem(_S, **arguments)
    assert problem.is_feasible(mask) == (complaint is None)
    assert bool(problem.violations(mask)) == (complaint is not None)
    if complaint is not None:
        assert complaint in problem.violations(mask)[0]


def test_feasible_up_to_rounding() -> None:
    """A norm within 1e-9 of epsilon, relatively, counts as within; 1e-8 does not."""
    S = np.array([[1.0]])
    prune = np.array([True])
    assert Problem(S, epsilon=1 / (1 + 5e-10)).is_feasible(prune)
    assert not Problem(S, epsilon=1 / (1 + 1e-8)).is_feasible(prune)


def test_epsilon_zero_means_zero() -> None:
    """With epsilon 0 only an exact cancellation is feasible."""
    problem = Problem(_S, epsilon=0.0)
    assert problem.is_feasible(_mask(0, 2))
    assert not problem.is_feasible(_mask(3))


# --- asking again -------------------------------------------------------------------------------


def test_replace_shares_S() -> None:
    """Another question of the same S copies nothing."""
    problem = Problem(_S, epsilon=1.0)
    assert problem.replace(size=2).rows is problem.rows


def test_replace_changes_the_goal() -> None:
    """A norm and a size replace each other."""
    problem = Problem(_S, epsilon=1.0)
    sized = problem.replace(size=2)
    assert (sized.form, sized.size, sized.epsilon) == ("min_norm", 2, None)
    back = sized.replace(epsilon=3.0)
    assert (back.form, back.size, back.epsilon, back.max_size) == ("max_size", None, 3.0, 5)


def test_replace_keeps_the_rest() -> None:
    """Limits, fixed examples and normalization stay."""
    problem = Problem(
        _S, epsilon=1.0, must_keep=[0], normalization="kept", constraints=[(np.ones(5), 0, 3)]
    )
    other = problem.replace(epsilon=2.0)
    assert other.normalization == "kept"
    assert other.must_keep[0]
    assert len(other.constraints) == 1


def test_replace_leaves_the_original() -> None:
    """The first problem is as it was."""
    problem = Problem(_S, epsilon=1.0)
    problem.replace(size=2, must_keep=[0], normalization="kept")
    assert problem.form == "max_size"
    assert problem.normalization == "full"
    assert problem.free.all()


def test_replace_keeps_max_size() -> None:
    """The user's cap stays when epsilon changes, and can be replaced."""
    problem = Problem(_S, epsilon=1.0, max_size=2)
    assert problem.replace(epsilon=2.0).max_size == 2
    assert problem.replace(max_size=3).max_size == 3


def test_replace_normalization_moves_its_own_cap() -> None:
    """The cap of n - 1 belongs to "kept" and goes with it."""
    kept = Problem(_S, epsilon=1.0, normalization="kept")
    assert kept.replace(normalization="full").max_size == 5
    assert Problem(_S, epsilon=1.0).replace(normalization="kept").max_size == 4


def test_replace_adds_constraints() -> None:
    """Extra constraints come after those there are."""
    problem = Problem(_S, epsilon=1.0, constraints=[(np.ones(5), 0, 3)])
    extra = Constraints.build(5, [(np.ones(5), 1, 2)])
    assert len(problem.replace(extra_constraints=extra).constraints) == 2
    assert len(problem.constraints) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epsilon": 1.0, "size": 2}, ["exactly one"]),
        ({"epsilon": -1.0}, ["epsilon", "-1.0"]),
        ({"size": 9}, ["size", "n = 5"]),
        ({"size": 5, "normalization": "kept"}, ["'kept'"]),
        ({"must_keep": [7]}, ["must_keep", "7"]),
        ({"normalization": "half"}, ["normalization", "'half'"]),
        ({"must_prune": [0], "must_keep": [0]}, ["must_prune and must_keep"]),
    ],
)
def test_replace_refuses(change: dict[str, Any], words: list[str]) -> None:
    """A changed question is checked like a new one."""
    with pytest.raises(ProblemError) as error:
        Problem(_S, epsilon=1.0).replace(**change)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"epsilon": 0.5}, "Problem(n=5, d=2, epsilon=0.5, normalization='full')"),
        ({"size": 3}, "Problem(n=5, d=2, size=3)"),
        (
            {"size": 3, "constraints": [(np.ones(5), 0, 3)]},
            "Problem(n=5, d=2, size=3, 1 linear constraints)",
        ),
    ],
)
def test_repr(arguments: dict[str, Any], text: str) -> None:
    """A problem shows its size and its question."""
    assert repr(Problem(_S, **arguments)) == text
