"""The harness of the benchmark: checked runs, the folder of results, the command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import compare_solvers
import comparison
import harness
import instances
import recording
import report
import store
from entrant import Budget, Claim, Entrant
from peers import PEERS


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


def test_a_table_without_traces_is_not_overwritten(tmp_path: Path) -> None:
    """Committed results have no traces: a comparison does not write over them."""
    (tmp_path / "results.csv").write_text("instance\n")
    with pytest.raises(ValueError, match="choose another --out"):
        store.Store(tmp_path)


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
