"""The command line: what it prints, where, its exit codes, and what it leaves on the disk."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from subsetsel import Progress, Solution
from subsetsel.cli.app import app
from subsetsel.cli.outcome import exit_code
from subsetsel.report.manifest import Manifest

pytestmark = pytest.mark.filterwarnings("default::subsetsel.DegenerateProblemWarning")


def call(*arguments: Any, expect: int = 0) -> Any:
    """Run a command in this process; its result has stdout and stderr."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == expect, result.output
    return result


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    """A small S in a file."""
    path = tmp_path / "S.npy"
    np.save(path, np.random.default_rng(0).normal(size=(60, 4)) + 0.3)
    return path


def blobs(seed: int, count: int) -> tuple[Any, Any]:
    """Three overlapping classes in four dimensions."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 3
    return rng.normal(size=(count, 4)) + 1.5 * np.eye(3, 4)[y], y


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Labelled data with ids in a file."""
    X, y = blobs(0, 120)
    path = tmp_path / "data.npz"
    np.savez(path, X=X, y=y, ids=np.array([f"image-{i}" for i in range(len(y))]))
    return path


# --- solve --------------------------------------------------------------------------------------


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


def test_options_reach_the_solver(matrix: Path) -> None:
    """An unknown one is the solver's own error, with the closest name."""
    result = call(
        *("solve", matrix, "--size", 20, "--solver", "greedy", "--option", "initial_gess=1"),
        expect=2,
    )
    assert "initial_guess" in result.stderr


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
        (["--epsilon", "one"], "valid number"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(
    matrix: Path, arguments: list[str], message: str
) -> None:
    """No traceback, nothing on stdout."""
    result = call("solve", matrix, *arguments, expect=2)
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_matrix_with_nan_is_refused(tmp_path: Path) -> None:
    """The error says where."""
    S = np.ones((5, 2))
    S[3, 1] = np.nan
    np.save(tmp_path / "S.npy", S)
    assert "3" in call("solve", tmp_path / "S.npy", "--size", 2, expect=2).stderr


@pytest.mark.parametrize(
    ("status", "limit", "is_verified", "code"),
    [
        ("optimal", None, True, 0),
        ("feasible", "time", True, 0),
        ("infeasible", None, True, 1),
        ("unknown", "time", True, 1),
        ("feasible", None, False, 1),  # the check by exact refit fails
        ("feasible", "interrupted", True, 130),
    ],
)
def test_exit_codes(status: Any, limit: Any, is_verified: bool, code: int) -> None:
    """What the shell is told."""
    solution = Solution(mask=np.array([True, False]), norm=1.0, status=status, limit=limit)
    assert exit_code(solution, is_verified=is_verified) == code


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused_before_the_work(matrix: Path, tmp_path: Path) -> None:
    """The error names the folder."""
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    result = call("solve", matrix, "--size", 2, "--out", folder / "p.npz", expect=2)
    assert str(folder) in result.stderr


def test_ctrl_c_saves_the_best_subset_so_far(
    matrix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real SIGINT in the middle of a run: whole files, and exit code 130."""

    @contextmanager
    def interrupt_at_first_subset(*_: Any) -> Iterator[Any]:
        def press(record: Progress) -> None:
            if record.size is not None:
                signal.raise_signal(signal.SIGINT)

        yield press

    monkeypatch.setattr("subsetsel.cli.search.solve_progress", interrupt_at_first_subset)
    out = tmp_path / "pruned.npz"
    result = call("solve", matrix, "--size", 20, "--out", out, expect=130)
    assert "interrupted" in result.stdout
    solution = Solution.load(out)
    assert (solution.limit, solution.size) == ("interrupted", 20)
    assert Manifest.read(tmp_path / "pruned.manifest.json").solution["limit"] == "interrupted"


# --- compare, solvers, info ---------------------------------------------------------------------


def test_compare_has_a_row_for_each_solver(matrix: Path) -> None:
    """The same problem, one line each."""
    result = call("compare", matrix, "--size", 20, "--solvers", "greedy,anneal", "--json")
    rows = json.loads(result.stdout)["results"]
    assert [row["solver"] for row in rows] == ["greedy", "anneal"]
    assert {row["size"] for row in rows} == {20}


def test_solvers_lists_what_is_registered() -> None:
    """By name, with what each proves."""
    rows = json.loads(call("solvers", "--json").stdout)["solvers"]
    names = [row["name"] for row in rows]
    assert "anneal" in names
    text = call("solvers").stdout
    assert all(name in text for name in names)


def test_info_prints_versions() -> None:
    """What a bug report needs."""
    record = json.loads(call("info", "--json").stdout)
    assert record["versions"]["numpy"] == np.__version__
    assert "anneal" in record["solvers"]
    assert "numpy" in call("info").stdout


def test_version() -> None:
    """`--version` prints it and stops."""
    import subsetsel

    assert call("--version").stdout.strip() == f"subsetsel {subsetsel.__version__}"


def test_every_command_has_an_example_in_its_help() -> None:
    """Help shows how it is used, with the exit codes on the first page."""
    assert "130" in call("--help").stdout
    for name in ("demo", "prune", "verify", "solve", "compare", "report", "solvers", "info"):
        assert f"subsetsel {name}" in call(name, "--help").stdout
