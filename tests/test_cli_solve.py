"""`subsetsel solve` and `compare-solvers`: a bare S in, a subset out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import QUICK, call, interrupt_at_first_subset, refused

from subsetsel import Solution
from subsetsel.cli.output import exit_code
from subsetsel.report.manifest import Manifest


def test_solve_prints_a_summary(matrix: Path) -> None:
    """Text for people, on stdout; stderr stays empty when it is no terminal."""
    result = call("solve", matrix, "--epsilon", 3, "--solver", "greedy")
    assert "pruned" in result.stdout
    assert result.stderr == ""


def test_solve_prints_one_json_object(matrix: Path) -> None:
    """Nothing else is on stdout."""
    result = call("solve", matrix, "--size", 20, "--solver", "greedy", "--json")
    record = json.loads(result.stdout)
    assert record["solution"]["size"] == 20
    assert record["solution"]["solver"] == "greedy"


def test_solve_saves_the_subset_and_a_manifest(matrix: Path, tmp_path: Path) -> None:
    """Both files speak of the same subset."""
    out = tmp_path / "new" / "pruned.npz"
    call("solve", matrix, "--size", 20, "--solver", "greedy", "--out", out)
    solution = Solution.load(out)
    manifest = Manifest.read(tmp_path / "new" / "pruned.manifest.json")
    assert manifest.pruned == solution.pruned.tolist()
    assert manifest.settings["size"] == 20


def test_the_tight_bound_is_asked_for(tmp_path: Path) -> None:
    """`--tight-bound` proves more than the relaxation alone."""
    np.save(tmp_path / "S.npy", np.diag(np.linspace(1.0, 2.0, 12)))
    arguments = ("solve", tmp_path / "S.npy", "--epsilon", 2.6, "--solver", "greedy", "--json")
    plain, tight = (
        json.loads(call(*arguments, *more).stdout)["solution"]["bound"]
        for more in ((), ("--tight-bound",))
    )
    assert tight < plain - 0.5


def test_a_dry_run_of_a_matrix_says_what_it_takes(matrix: Path, tmp_path: Path) -> None:
    """Size, memory, and the norm above which nothing is left to decide; nothing is written."""
    arguments = ("solve", matrix, "--size", 20, "--dry-run", "--out", tmp_path / "p.npz")
    cost = json.loads(call(*arguments, "--json").stdout)
    assert (cost["n"], cost["d"], cost["S_bytes"]) == (60, 4, 60 * 4 * 8)
    assert np.isclose(cost["norm_of_all"], np.linalg.norm(np.load(matrix).sum(0)))
    assert "60 x 4" in call(*arguments).stdout
    assert not (tmp_path / "p.npz").exists()


def test_options_reach_the_solver(matrix: Path) -> None:
    """An unknown one is the solver's own error, with the closest name."""
    wrong = ("--solver", "greedy", "--option", "initial_gess=1")
    assert "initial_guess" in refused("solve", matrix, "--size", 20, *wrong)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give exactly one of --epsilon, --size, --fraction, --num-kept; got none"),
        (["--epsilon", "1", "--size", "2"], "got --epsilon and --size"),
        (["--epsilon", "-1"], "epsilon must be"),
        (["--epsilon", "nan"], "epsilon must be"),
        (["--size", "61"], "size"),
        (["--epsilon", "1", "--solver", "gredy"], "Did you mean 'greedy'?"),
        (["--epsilon", "1", "--normalization", "half"], "'full' or 'kept'"),
        (["--epsilon", "1", "--time-limit", "-1"], "time_limit must be"),
        (["--epsilon", "1", "--option", "x"], "name=value"),
        (["--epsilon", "1", "--out", "pruned.txt"], "--out must name an .npz file"),
        (["--epsilon", "one"], "Invalid value for '--epsilon'"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(
    matrix: Path, arguments: list[str], message: str
) -> None:
    """No traceback, nothing on stdout."""
    assert message in refused("solve", matrix, *arguments)


def test_a_matrix_with_nan_is_refused(tmp_path: Path) -> None:
    """The error says where."""
    S = np.ones((5, 2))
    S[3, 1] = np.nan
    np.save(tmp_path / "S.npy", S)
    assert "S[3, 1] is nan" in refused("solve", tmp_path / "S.npy", "--size", 2)


@pytest.mark.parametrize(
    ("status", "limit", "code"),
    [
        ("optimal", None, 0),
        ("feasible", "time", 0),
        ("infeasible", None, 1),
        ("unknown", "time", 1),
        ("feasible", "interrupted", 130),
    ],
)
def test_exit_codes(status: Any, limit: Any, code: int) -> None:
    """What the shell is told."""
    solution = Solution(mask=np.array([True, False]), norm=1.0, status=status, limit=limit)
    assert exit_code(solution) == code


def test_ctrl_c_saves_the_best_subset_so_far(
    matrix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real SIGINT in the middle of a run: whole files, and exit code 130."""
    monkeypatch.setattr("subsetsel.cli.solve.solve_progress", interrupt_at_first_subset)
    out = tmp_path / "pruned.npz"
    result = call("solve", matrix, "--size", 20, "--out", out, expect=130)
    assert "interrupted" in result.stdout
    solution = Solution.load(out)
    assert (solution.limit, solution.size) == ("interrupted", 20)
    assert Manifest.read(tmp_path / "pruned.manifest.json").solution["limit"] == "interrupted"


def test_a_solve_is_repeated_from_its_manifest(matrix: Path, tmp_path: Path) -> None:
    """Same settings, same S, same subset; another S, and it says what differs."""
    out = tmp_path / "pruned.npz"
    call("solve", matrix, "--epsilon", 5, "--seed", 3, *QUICK, "--out", out)
    manifest = tmp_path / "pruned.manifest.json"
    assert "the same subset as in the manifest" in call("solve", "--from", manifest).stderr
    np.save(matrix, np.random.default_rng(1).normal(size=(60, 4)) + 0.3)
    assert "input S: " in call("solve", "--from", manifest, expect=1).stderr


def test_an_offset_is_read_recorded_and_repeated(matrix: Path, tmp_path: Path) -> None:
    """The vector of a file is added, its hash is in the manifest, and a repetition reads it."""
    S, vector, out = np.load(matrix), tmp_path / "v0.npy", tmp_path / "pruned.npz"
    np.save(vector, -S[:9].sum(axis=0))
    call("solve", matrix, "--size", 9, "--offset", vector, *QUICK, "--out", out)
    solution = Solution.load(out)
    assert np.isclose(solution.norm, np.linalg.norm(S[solution.pruned].sum(0) - S[:9].sum(0)))
    manifest = tmp_path / "pruned.manifest.json"
    assert [item["name"] for item in Manifest.read(manifest).inputs] == ["S", "offset"]
    assert "the same subset as in the manifest" in call("solve", "--from", manifest).stderr
    np.save(vector, np.ones(4))
    assert "input offset: " in call("solve", "--from", manifest, expect=1).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "manifest.json", "--epsilon", "1"], "leave out --epsilon"),
        (["--epsilon", "1"], "name the file of S"),
    ],
)
def test_a_solve_without_its_one_question_is_refused(
    arguments: list[str], message: str, matrix: Path, tmp_path: Path
) -> None:
    """Two answers to what is asked, or none to of what."""
    call("solve", matrix, "--size", 9, "--solver", "greedy", "--out", tmp_path / "pruned.npz")
    (tmp_path / "pruned.manifest.json").rename(tmp_path / "manifest.json")
    given = [str(tmp_path / a) if a.endswith(".json") else a for a in arguments]
    assert message in refused("solve", *given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"command": "prune"}, "not of `subsetsel solve`"),
        ({"settings": {"size": 9, "progress": 1}}, "progress"),
        ({"settings": {"size": 9, "num_propsals": 1}}, "num_propsals"),
        ({"settings": {"size": "many"}}, "size"),
    ],
)
def test_a_manifest_that_no_solve_wrote_is_refused(
    change: dict[str, Any], message: str, matrix: Path, tmp_path: Path
) -> None:
    """One line that names what is wrong; nothing of the file is believed."""
    call("solve", matrix, "--size", 9, "--solver", "greedy", "--out", tmp_path / "pruned.npz")
    manifest = tmp_path / "pruned.manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    assert message in refused("solve", "--from", manifest)


def test_compare_solvers_has_a_row_for_each_solver(matrix: Path) -> None:
    """The same problem, one line each."""
    arguments = ("compare-solvers", matrix, "--size", 20, "--time-limit", 0.2)
    rows = json.loads(call(*arguments, "--solvers", "greedy,anneal", "--json").stdout)["results"]
    assert [row["solver"] for row in rows] == ["greedy", "anneal"]
    assert {row["size"] for row in rows} == {20}


def test_a_solver_that_refuses_is_a_row_that_says_why(tmp_path: Path) -> None:
    """In the table for people, under its title; the other solvers are still asked."""
    np.save(tmp_path / "S.npy", np.eye(600))
    arguments = ("compare-solvers", tmp_path / "S.npy", "--size", 20, "--time-limit", 0.2)
    title, *lines = call(*arguments, "--solvers", "exact,greedy").stdout.splitlines()
    assert title.split() == ["solver", "status", "pruned", "norm", "bound", "seconds"]
    assert lines[0].split()[:2] == ["exact", "refused"]
    assert "use solver='anneal'" in lines[0]
    assert lines[1].split()[:3] == ["greedy", "feasible", "20"]
