"""The benchmark's own parts: instances, the independent checker, metrics, and the harness."""

from __future__ import annotations

import itertools
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import check
import compare_solvers
import comparison
import data
import families
import harness
import instances
import metrics
import recording
import report
import store
from entrant import Budget, Claim, Entrant
from peers import PEERS

# --- instances ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", families.FAMILIES)
def test_family_is_reproducible(family: str) -> None:
    """The same shape and seed give the same float32 matrix, another seed another one."""
    build = families.FAMILIES[family]
    first, again, other = build(40, 6, 3), build(40, 6, 3), build(40, 6, 4)
    assert first.dtype == np.float32
    assert first.shape == (40, 6)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_planted_subset_sums_to_exactly_zero() -> None:
    """The zero does not depend on the order or the precision of the sum."""
    S = families.planted(300, 7, seed=1)[families.planted_mask(300, seed=1)]
    assert not np.cumsum(S, axis=0, dtype=np.float32)[-1].any()
    assert not np.cumsum(S[::-1], axis=0, dtype=np.float32)[-1].any()
    assert np.abs(S).min(axis=0).max() < 1


def test_chunks_of_a_matrix_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every chunk draws its own numbers: no row occurs twice."""
    monkeypatch.setattr(families, "_CHUNK", 16)
    S = families.mixed(50, 4, seed=0)
    assert np.unique(S, axis=0).shape == S.shape


def test_goals_mean_what_they_say() -> None:
    """Percent are of ||S^T 1|| and of n; bare numbers are absolute; words set the rest."""
    S = families.gaussian(50, 4, 0)
    total = float(np.linalg.norm(S.sum(axis=0, dtype=np.float64)))
    assert instances.build("gaussian-50x4/eps=20%").question.epsilon == pytest.approx(0.2 * total)
    assert instances.build("gaussian-50x4/eps=0.5").question.epsilon == 0.5
    assert instances.build("gaussian-50x4/size=40%").question.size == 20
    assert instances.build("gaussian-50x4/size=7").question.size == 7
    assert instances.build("gaussian-50x4/eps=1,kept").question.normalization == "kept"
    limits = instances.build("gaussian-50x4/size=20,balanced").question.group_limits
    assert limits is not None
    assert sum(least for least, _ in limits.values()) <= 20 <= sum(m for _, m in limits.values())


@pytest.mark.parametrize(
    "name",
    [
        "gaussian-50x4",  # no goal
        "gaussian-50x4/epsilon=1",  # no such goal
        "nothing-50x4/eps=1",  # no such family
        "gaussian-50/eps=1",  # no shape
        "gaussian-50x4/eps=1,balanced",  # shares need a size
        "none-*",  # matches nothing
    ],
)
def test_bad_names_are_refused(name: str) -> None:
    """A name that is not of the grammar is an error, not an empty comparison."""
    with pytest.raises(ValueError, match=r"goal|unknown matrix|balanced|matches"):
        instances.select([name])


def test_patterns_select_listed_instances_once() -> None:
    """Patterns expand in order and a name occurs once."""
    names = instances.select(["tiny-12x2/*", "tiny-*"])
    assert names[0].startswith("tiny-12x2/")
    assert len(names) == len(set(names)) > 3


@pytest.mark.parametrize("name", [n for n in instances.listed_names() if n.startswith("tiny-12")])
def test_tiny_instances_carry_their_optimum(name: str) -> None:
    """What is enumerated is feasible and claimed as optimum."""
    instance = instances.build(name)
    assert instance.known is not None
    assert instance.known[1] == "enumeration"
    assert instance.optimum == instance.known[0]


def test_random_norm_is_that_of_random_subsets() -> None:
    """It agrees with the expectation over all subsets of the size."""
    instance = instances.build("gaussian-200x8/size=40%")
    S, m, n = instance.question.S.astype(np.float64), 80, 200
    mean = S.mean(axis=0)
    spread = np.mean(np.sum(S * S, axis=1)) - mean @ mean
    expected = math.sqrt(m * (n - m) / (n - 1) * spread + m * m * (mean @ mean))
    assert instance.random_norm == pytest.approx(expected, rel=0.25)


# --- the checker -------------------------------------------------------------------------------

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


# --- harness -----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def without_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collect no garbage before a run: that is for fair times, and no test here looks at them."""
    monkeypatch.setattr(harness, "gc", SimpleNamespace(collect=lambda: 0))


def entrant_that(claim: Any, **more: Any) -> Entrant:
    """An entrant that claims, or raises, what it is given."""

    def run(_: instances.Instance, __: Budget) -> Claim:
        if isinstance(claim, BaseException):
            raise claim
        answer: Claim = claim
        return answer

    return Entrant("somebody", "", run, **more)


TINY = "tiny-12x2/eps=20%"


def test_lies_and_crashes_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """A false claim fails, a crash is an error, a refusal by name is a skip."""
    from subsetsel import OptionError

    instance = instances.build(TINY)
    nothing = np.zeros(12, dtype=np.bool_)
    budget = Budget(1.0)
    run = harness.run_once
    assert run(entrant_that(Claim(nothing, 0.0, 12.0)), instance, budget).outcome == "ok"
    assert run(entrant_that(Claim(~nothing, 0.0)), instance, budget).outcome == "failed"
    assert run(entrant_that(ZeroDivisionError()), instance, budget).outcome == "error"
    assert run(entrant_that(OptionError("no")), instance, budget).outcome == "refused"
    refused = run(entrant_that(None, refuses=lambda _: "too large"), instance, budget)
    assert (refused.outcome, refused.reason) == ("skipped", "too large")
    missing = run(entrant_that(None, requires=("no_such_package",)), instance, budget)
    assert "no_such_package" in missing.reason
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_caught_ctrl_c_ends_the_comparison() -> None:
    """A solver that returns its incumbent on Ctrl-C does not hide it from the harness."""
    claim = Claim(np.zeros(12, dtype=np.bool_), 0.0, is_interrupted=True)
    with pytest.raises(KeyboardInterrupt):
        harness.run_once(entrant_that(claim), instances.build(TINY), Budget(1.0))


def record_of(solver: str, size: int, **more: Any) -> harness.Record:
    """A finished run under Eq. 3."""
    return harness.Record(
        "x/eps=1", solver, 0, 1.0, "max_size", 9, 2, "ok", size=size, norm=0.5, digest="d", **more
    )


def test_bounds_are_held_against_other_solvers() -> None:
    """A bound below what another solver found is a contradiction."""
    good = [record_of("a", 5, bound=7.5), record_of("b", 7)]
    assert harness.cross_check(good) == []
    bad = [record_of("a", 5, bound=6.9), record_of("b", 7)]
    assert "a claims the bound 6.9" in harness.cross_check(bad)[0]


def test_bounds_on_the_norm_are_held_against_other_solvers() -> None:
    """Under Eq. 4 a bound above what another solver found is a contradiction."""
    records = [record_of("a", 5, bound=0.4), record_of("b", 5)]
    for record in records:
        record.form = "min_norm"
    assert harness.cross_check(records) == []
    records[0].bound = 0.6
    assert "a claims the bound 0.6" in harness.cross_check(records)[0]


def test_what_must_not_be_is_listed() -> None:
    """False claims and crashes count; a refusal only if the solver never did anything else."""
    refusal = record_of("a", 0)
    refusal.outcome, refusal.instance = "refused", "y/eps=1"
    assert harness.complaints([record_of("a", 5), refusal]) == []
    assert harness.complaints([refusal]) == ["a refused everything it was asked"]
    refusal.outcome, refusal.reason = "error", "boom"
    assert harness.complaints([record_of("a", 5), refusal]) == ["error: y/eps=1 a boom"]


def test_results_survive_a_killed_run(tmp_path: Path) -> None:
    """Finished runs count as done, a half-written line does not, and a repetition replaces."""
    first = store.Store(tmp_path)
    first.add(record_of("a", 5, trace=[(0.1, 5.0)]))
    with (tmp_path / "traces.jsonl").open("a") as stream:
        stream.write('{"trace": [], "of_an_older_version": 1}\n{"instance": "x/ep')
    again = store.Store(tmp_path)
    assert again.done == {("x/eps=1", "a", 0, 1.0)}
    assert again.records[0].trace == [(0.1, 5.0)]
    again.add(record_of("a", 6))
    assert [record.size for record in again.records] == [6]
    assert (tmp_path / "results.csv").read_text().count("\n") == 2


def test_best_known_values_only_improve(tmp_path: Path) -> None:
    """A worse value changes nothing; another matrix under the same name starts anew."""
    path = tmp_path / "best.json"
    assert store.update_best_known([record_of("a", 5)], path) == ["x/eps=1"]
    assert store.update_best_known([record_of("b", 4)], path) == []
    assert store.update_best_known([record_of("b", 6)], path) == ["x/eps=1"]
    assert json.loads(path.read_text())["x/eps=1"]["found_by"] == "b"
    other = record_of("c", 1)
    other.digest = "e"
    assert store.update_best_known([other], path) == ["x/eps=1"]


def test_best_value_needs_the_same_matrix() -> None:
    """A value of another matrix under the same name is not used."""
    known = {"x/eps=1": {"value": 9, "digest": "d"}}
    assert store.best_value("x/eps=1", [record_of("a", 5)], known) == 9
    known["x/eps=1"]["digest"] = "e"
    assert store.best_value("x/eps=1", [record_of("a", 5, known_value=6)], known) == 6


def test_unseeded_solvers_run_once() -> None:
    """Seeds multiply the runs of those alone whom a seed changes."""
    given = compare_solvers.parse_arguments([
        "--instances",
        TINY,
        "--seeds",
        "3",
        "--time-limit",
        "1",
    ])
    entrants = {
        "fixed": entrant_that(None, is_seeded=False),
        "seeded": entrant_that(None),
    }
    jobs = list(comparison.plan(given, entrants))
    assert [(job.solver, job.seed) for job in jobs] == [
        ("fixed", 0),
        ("seeded", 0),
        ("seeded", 1),
        ("seeded", 2),
    ]


@pytest.fixture
def thread_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore what the command sets in the environment."""
    for name in recording.THREAD_VARIABLES:
        monkeypatch.setenv(name, "1")


@pytest.mark.usefixtures("thread_variables")
def test_comparison_runs_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command compares, writes everything, returns 0, and repeats nothing."""
    command = ["--instances", TINY, "tiny-12x2/size=50%", "--solvers", "herding"]
    command += ["--time-limit", "0.2", "--out", str(tmp_path)]
    assert compare_solvers.main(command) == 0
    assert "2 runs to do" in capsys.readouterr().out
    env = json.loads((tmp_path / "env.json").read_text())[0]
    assert env["command"].endswith("--out ...")
    assert {"cpu", "cores", "versions", "date", "commit"} <= set(env)
    assert (tmp_path / "results.csv").read_text().count("herding") == 2
    assert compare_solvers.main(command) == 0
    assert "0 runs to do, 2 done before" in capsys.readouterr().out


def test_quality_over_time_is_drawn(tmp_path: Path) -> None:
    """One panel for each instance with a known best value; nothing to draw is no picture."""
    record = record_of("a", 5, trace=[(0.1, 3.0), (0.2, 5.0)])
    path = tmp_path / "quality.png"
    assert not report.plot_quality([record], {}, path)
    assert report.plot_quality([record], {"x/eps=1": report.Reference(5.0, 1.0)}, path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("thread_variables")
def test_unknown_solver_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A name nobody has is a bad command."""
    assert compare_solvers.main(["--solvers", "nobody"]) == 2
    assert "no solver matches 'nobody'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["tiny-12x2/eps=20%", "tiny-12x2/size=75%", "tiny-12x2/size=25%"])
def test_herding_gives_feasible_subsets(name: str) -> None:
    """It answers both forms, on either side of one half."""
    record = harness.run_once(PEERS["herding"], instances.build(name), Budget(1.0))
    assert record.outcome == "ok"
    assert record.size is not None


# --- real data ---------------------------------------------------------------------------------


def test_missing_data_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message lists the places that were tried."""
    monkeypatch.setenv("SUBSETSEL_DATA", str(tmp_path))
    with pytest.raises(data.DataMissingError, match="no folder nothing-here"):
        data.find_folder("nothing-here", tmp_path / "elsewhere")


def test_principal_components_share_one_scale() -> None:
    """Centred, uncorrelated, of unit mean square norm, sorted; the test half treated alike."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, size=(60, 4, 5), dtype=np.uint8)
    labels = np.zeros(60, dtype=np.int64)
    features = data.pca_features(data.Images(pixels, labels, pixels[:7], labels[:7]), 6)
    covariance = features.train.T @ features.train / 60
    np.testing.assert_allclose(features.train.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-12)
    assert np.trace(covariance) == pytest.approx(1)
    assert (np.diff(np.diag(covariance)) <= 0).all()
    np.testing.assert_allclose(features.test, features.train[:7])
