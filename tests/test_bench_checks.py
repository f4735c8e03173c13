"""The benchmark's independent checkers, and what is read off the runs."""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import check
import exact_head
import families
import metrics

SQUARE = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, 0.5]], dtype=np.float32)


def mask_of(*pruned: int, n: int = 4) -> check.BoolArray:
    """Boolean mask with these indices pruned."""
    mask = np.zeros(n, dtype=np.bool_)
    mask[list(pruned)] = True
    return mask


def test_true_claim_passes() -> None:
    """Nothing is found wrong with a right answer."""
    question = check.Question(SQUARE, epsilon=0.5)
    assert check.check(question, mask_of(0, 1, 3), norm=0.5, bound=3.2, status="optimal") == []


@pytest.mark.parametrize(
    ("claim", "complaint"),
    [
        ({"mask": mask_of(0, 1, 2)}, "norm 2 above 0.5"),
        ({"mask": mask_of(0, 1), "norm": 0.1}, "norm claimed"),
        ({"mask": mask_of(0, 1), "bound": 1.99}, "below a known size of 2"),
        ({"mask": mask_of(0, 1), "bound": 2.9, "best_value": 3.0}, "below a known size of 3"),
        ({"mask": mask_of(0, 1), "status": "optimal", "optimum": 3.0}, "optimal claimed"),
        ({"mask": mask_of(0, 1, 3), "optimum": 2.0}, "better than the enumerated"),
        ({"mask": None, "status": "infeasible", "best_value": 1.0}, "a feasible subset is known"),
        ({"mask": None, "status": "feasible"}, "without a subset"),
        ({"mask": np.zeros(3, dtype=np.bool_)}, "of shape"),
        ({"mask": np.array([0, 1])}, "of shape"),
    ],
)
def test_false_claim_is_caught(claim: dict[str, Any], complaint: str) -> None:
    """Each kind of false claim is named."""
    question = check.Question(SQUARE, epsilon=0.5)
    mask = claim.pop("mask")
    found = check.check(question, mask, **claim)
    assert complaint in "; ".join(found)


def test_false_claims_about_a_size_are_caught() -> None:
    """Under Eq. 4 the size must be exact and a bound is a lower one."""
    question = check.Question(SQUARE, size=2)
    assert check.check(question, mask_of(0, 1), norm=0.0, bound=0.0) == []
    assert "asked for" in check.check(question, mask_of(0))[0]
    assert "above a known norm" in check.check(question, mask_of(0, 1), bound=0.1)[0]
    assert (
        "optimal claimed" in check.check(question, mask_of(0, 2), status="optimal", optimum=0.0)[0]
    )


def test_kept_normalization_shrinks_the_radius() -> None:
    """Three of four pruned leave a quarter of epsilon, and all four are never allowed."""
    question = check.Question(SQUARE, epsilon=1.9, normalization="kept")
    assert check.violations(question, mask_of(0, 1, 3), 0.5) != []
    assert check.violations(question, mask_of(0, 3), 0.9) == []
    assert "nothing is kept" in check.violations(question, mask_of(0, 1, 2, 3), 0.0)


def test_group_limits_are_checked() -> None:
    """Both ends of a group's limits count."""
    groups = np.array([0, 0, 1, 1])
    question = check.Question(SQUARE, size=2, groups=groups, group_limits={0: (1, 1), 1: (1, 1)})
    assert len(check.violations(question, mask_of(0, 1), 0.0)) == 2
    assert check.violations(question, mask_of(0, 2), 0.0) == []


@pytest.mark.parametrize(
    "asked",
    [
        {"epsilon": 1.0},
        {"epsilon": 2.5, "normalization": "kept"},
        {"size": 3},
        {"size": 4, "groups": np.arange(8) % 2, "group_limits": {0: (1, 2), 1: (2, 3)}},
        {"epsilon": 1e-9},
    ],
)
def test_enumeration_finds_the_optimum(asked: dict[str, Any]) -> None:
    """It agrees with a plain loop over all subsets."""
    S = families.tiny(8, 3, seed=5)
    question = check.Question(S, **asked)
    values = []
    for bits in itertools.product([False, True], repeat=8):
        mask = np.array(bits)
        if not check.violations(question, mask, check.norm_of(S, mask)):
            values.append(question.value(mask))
    found = check.enumerate_optimum(question)
    assert found is not None
    best = max(values) if question.form == "max_size" else min(values)
    assert found[0] == pytest.approx(best)
    assert question.value(found[1]) == pytest.approx(best)


def test_enumeration_refuses_what_it_cannot_do() -> None:
    """More than 20 examples are too many, and an impossible question has no optimum."""
    with pytest.raises(ValueError, match="too many"):
        check.enumerate_optimum(check.Question(np.zeros((21, 1)), size=1))
    impossible = check.Question(
        SQUARE, size=4, groups=np.zeros(4, dtype=np.int64), group_limits={0: (0, 1)}
    )
    assert check.enumerate_optimum(impossible) is None


def test_checker_reads_a_saved_solution(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a script it returns 1 for a file that breaks the limit."""
    np.save(tmp_path / "S.npy", SQUARE)
    np.savez(tmp_path / "sol.npz", pruned=np.array([0, 1, 3]))
    files = [str(tmp_path / "S.npy"), str(tmp_path / "sol.npz")]
    assert check.main([*files, "--epsilon", "0.5"]) == 0
    assert check.main([*files, "--epsilon", "0.4"]) == 1
    assert "above 0.4" in capsys.readouterr().out


def test_the_exact_head_is_a_minimum() -> None:
    """Its gradient vanishes to its own error, and a step to any side raises the objective."""
    rng = np.random.default_rng(0)
    X, y, l2 = rng.normal(size=(12, 2)), np.arange(12) % 3, 0.01
    theta, error = exact_head.exact_minimizer(X, y, l2, 3, np.zeros((3, 3)))

    def objective(at: Any) -> float:
        logits = np.column_stack([X, np.ones(12)]) @ at.T
        chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return float(-np.log(chances[np.arange(12), y]).mean() + 0.5 * l2 * (at * at).sum())

    assert error < 1e-12
    for step in 1e-4 * np.eye(9).reshape(9, 3, 3):
        assert objective(theta + step) > objective(theta) < objective(theta - step)


# --- metrics -----------------------------------------------------------------------------------


def test_gap_uses_the_floor_of_the_bound() -> None:
    """A fraction of an example is no gap."""
    assert metrics.gap_to_bound("max_size", 10, 10.9) == 0
    assert metrics.gap_to_bound("max_size", 9, 10.9) == pytest.approx(0.1)
    assert metrics.gap_to_bound("max_size", 0, 0.5) == 0
    assert metrics.gap_to_bound("max_size", 3, None) is None
    assert metrics.gap_to_bound("min_norm", 4.0, 3.0) == pytest.approx(0.25)
    assert metrics.gap_to_bound("min_norm", 4.0, 0.0) is None


def test_gap_to_best_of_both_forms() -> None:
    """Missing share of the size; excess over the norm."""
    assert metrics.gap_to_best("max_size", 90, 100) == pytest.approx(0.1)
    assert metrics.gap_to_best("min_norm", 1.5, 1.0) == pytest.approx(0.5)
    assert metrics.gap_to_best("min_norm", 1.5, 0.0) == math.inf
    assert metrics.gap_to_best("min_norm", None, 1.0) is None


def test_primal_integral_of_a_known_curve() -> None:
    """1 until something is found, half while half is missing, 0 at the reference."""
    trace = [(2.0, 50.0), (6.0, 100.0)]
    assert metrics.primal_integral("max_size", trace, 10.0, 100.0) == pytest.approx(0.4)
    assert metrics.primal_integral("max_size", [], 10.0, 100.0) == 1
    assert metrics.primal_integral("max_size", [(12.0, 100.0)], 10.0, 100.0) == 1


def test_primal_integral_of_norms_counts_decades() -> None:
    """Three decades above the reference are half of the scale of six."""
    assert metrics.primal_integral("min_norm", [(0.0, 1e3)], 10.0, 1.0) == pytest.approx(0.5)
    assert metrics.primal_integral("min_norm", [(0.0, 1e9)], 10.0, 1.0) == 1
    assert metrics.integral_reference("min_norm", 0.0, 5.0) == pytest.approx(0.005)


def test_time_to_target() -> None:
    """The first moment at or beyond the target, or never."""
    trace = [(1.0, 5.0), (2.0, 3.0)]
    assert metrics.time_to_target("min_norm", trace, 3.0) == 2.0
    assert metrics.time_to_target("max_size", trace, 5.0) == 1.0
    assert metrics.time_to_target("min_norm", trace, 1.0) == math.inf
    assert metrics.target_value("max_size", 8, 1.0) == 8
    assert metrics.target_value("max_size", 10_000, 1.0) == 9_990
    assert metrics.target_value("min_norm", 2.0, 100.0) == 2.5


def test_shifted_geometric_mean() -> None:
    """It lies between the geometric and the arithmetic mean."""
    assert metrics.shifted_geometric_mean([3.0, 3.0]) == pytest.approx(3.0)
    assert 0 < metrics.shifted_geometric_mean([0.0, 8.0]) < 4
    assert metrics.shifted_geometric_mean([0.0, 3.0]) == pytest.approx(1.0)
    assert math.isnan(metrics.shifted_geometric_mean([]))
