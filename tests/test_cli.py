"""The command line: what it prints, where, its exit codes, and what it leaves on the disk."""

from __future__ import annotations

import io
import json
import re
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
from subsetsel.cli.output import exit_code
from subsetsel.report.manifest import Manifest
from subsetsel.support.records import sha256_of_file


def call(*arguments: Any, expect: int = 0, stdin: bytes | None = None) -> Any:
    """Run a command in this process; its result has stdout and stderr."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
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


@contextmanager
def interrupt_at_first_subset(*_: Any) -> Iterator[Any]:
    """Press Ctrl-C once there is something to save."""

    def press(record: Progress) -> None:
        if record.size is not None:
            signal.raise_signal(signal.SIGINT)

    yield press


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
        (["--epsilon", "one"], "Invalid value for '--epsilon'"),
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


def test_ctrl_c_saves_the_best_subset_so_far(
    matrix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real SIGINT in the middle of a run: whole files, and exit code 130."""
    monkeypatch.setattr("subsetsel.cli.search.solve_progress", interrupt_at_first_subset)
    out = tmp_path / "pruned.npz"
    result = call("solve", matrix, "--size", 20, "--out", out, expect=130)
    assert "interrupted" in result.stdout
    solution = Solution.load(out)
    assert (solution.limit, solution.size) == ("interrupted", 20)
    assert Manifest.read(tmp_path / "pruned.manifest.json").solution["limit"] == "interrupted"


def test_standard_input_is_told_apart_by_its_first_bytes(matrix: Path) -> None:
    """npy, npz and text give the same answer as the file, and a table goes to stdout."""
    S = np.load(matrix)
    packed, text = io.BytesIO(), io.StringIO()
    np.savez(packed, S=S)
    np.savetxt(text, S, delimiter=",", fmt="%.17g")
    quick = ("--size", 20, "--solver", "greedy", "--out", "-")
    tables = [
        call("solve", "-", *quick, stdin=content).stdout
        for content in (matrix.read_bytes(), packed.getvalue(), text.getvalue().encode())
    ]
    assert tables[0] == tables[1] == tables[2] == call("solve", matrix, *quick).stdout
    assert tables[0].startswith("index,pruned\n0,")
    assert sum(line.endswith(",1") for line in tables[0].splitlines()) == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["solve", "-", "--size", "2"], "standard input is empty"),
        (["prune", "-", "--test", "-", "--l2", "1", "--size", "2"], "only one of the files"),
        (["solve", "S.npy", "--size", "2", "--out", "-", "--json"], "choose one"),
    ],
)
def test_misuse_of_standard_streams_is_refused(arguments: list[str], message: str) -> None:
    """One clear line."""
    assert message in call(*arguments, expect=2, stdin=b"").stderr


def test_a_solve_is_repeated_from_its_manifest(matrix: Path, tmp_path: Path) -> None:
    """Same settings, same S, same subset; another S, and it says what differs."""
    out = tmp_path / "pruned.npz"
    call(
        "solve", matrix, "--epsilon", 5, "--seed", 3, "--option", "num_proposals=900", "--out", out
    )
    manifest = tmp_path / "pruned.manifest.json"
    assert "the same subset as in the manifest" in call("solve", "--from", manifest).stderr
    np.save(matrix, np.random.default_rng(1).normal(size=(60, 4)) + 0.3)
    assert "input S: " in call("solve", "--from", manifest, expect=1).stderr


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
    call("solve", matrix, "--size", 9, "--out", tmp_path / "pruned.npz")
    (tmp_path / "pruned.manifest.json").rename(tmp_path / "manifest.json")
    given = [str(tmp_path / a) if a.endswith(".json") else a for a in arguments]
    assert message in call("solve", *given, expect=2).stderr


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
    call("solve", matrix, "--size", 9, "--out", tmp_path / "pruned.npz")
    manifest = tmp_path / "pruned.manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    assert message in call("solve", "--from", manifest, expect=2).stderr


# --- prune, verify, report ----------------------------------------------------------------------


def prune(data: Path, *arguments: Any, expect: int = 0) -> Any:
    """`subsetsel prune` with the settings these tests share."""
    return call("prune", data, "--l2", 1e-2, *arguments, expect=expect)


def test_a_pruned_file_is_verified_by_the_next_command(data: Path, tmp_path: Path) -> None:
    """What `prune` promises, `verify` finds: Definition 1 with its error bar."""
    out = tmp_path / "pruned.npz"
    prune(data, "--rel-epsilon", 0.05, "--out", out)
    check = json.loads(call("verify", out, "--data", data, "--json").stdout)["verification"]
    assert check["is_verified"]
    assert check["change"] + check["change_error"] <= check["epsilon"]
    assert Solution.load(out).size > 0
    assert "verified" in call("verify", out, "--data", data).stdout


def test_an_interrupted_pruning_goes_on_and_a_finished_one_leaves_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C leaves what was chosen; the same command takes it up, and removes it at its end."""
    out, left = tmp_path / "pruned.npz", tmp_path / "pruned.checkpoint.npz"
    few = ("--rel-epsilon", 0.05, "--out", out, "--option", "num_proposals=5000")
    with monkeypatch.context() as patch:
        patch.setattr("subsetsel.cli.data.solve_progress", interrupt_at_first_subset)
        first = prune(data, *few, expect=130)
    assert left.exists()
    assert "the same command goes on from" in first.stderr
    assert "found" in prune(data, *few).stderr
    assert not left.exists()


def test_the_manifest_of_a_pruning_holds_ids_hash_and_check(data: Path, tmp_path: Path) -> None:
    """What is needed to find the examples and to repeat the run."""
    prune(data, "--size", 30, "--out", tmp_path / "pruned.npz")
    manifest = Manifest.read(tmp_path / "pruned.manifest.json")
    solution = Solution.load(tmp_path / "pruned.npz")
    assert manifest.pruned == [f"image-{i}" for i in solution.pruned]
    assert manifest.inputs[0]["sha256"] == sha256_of_file(data)
    assert manifest.verification is not None
    assert manifest.verification["change"] > 0


def test_a_table_gives_the_same_subset_as_an_npz(data: Path, tmp_path: Path) -> None:
    """The format of the file changes nothing."""
    with np.load(data) as arrays:
        X, y = arrays["X"], arrays["y"]
    lines = ["a,b,kind,c,d"]
    lines += [
        f"{r[0]!r},{r[1]!r},{c},{r[2]!r},{r[3]!r}" for r, c in zip(X.tolist(), y, strict=True)
    ]
    (tmp_path / "data.csv").write_text("\n".join(lines))
    prune(data, "--size", 30, "--out", tmp_path / "one.npz")
    prune(tmp_path / "data.csv", "--label", "kind", "--size", 30, "--out", tmp_path / "two.npz")
    one, two = (Solution.load(tmp_path / f"{name}.npz") for name in ("one", "two"))
    assert np.array_equal(one.mask, two.mask)


@pytest.mark.parametrize("suffix", ["safetensors", "parquet"])
def test_ids_are_carried_from_any_format_to_any_format(
    suffix: str, data: Path, tmp_path: Path
) -> None:
    """The same subset by the same names, and the file written is what `verify` reads."""
    pytest.importorskip({"parquet": "pyarrow"}.get(suffix, suffix))
    from subsetsel.formats.tensors import write_tensors

    with np.load(data) as arrays:
        X, y, ids = (arrays[name] for name in ("X", "y", "ids"))
    other = tmp_path / f"data.{suffix}"
    if suffix == "parquet":
        import pyarrow.parquet

        columns = {"e": X.tolist(), "y": y, "id": ids.tolist()}
        pyarrow.parquet.write_table(pyarrow.table(columns), other)
    else:
        write_tensors(other, {"X": X, "y": y}, {"ids": json.dumps(ids.tolist())})
    quick = ("--size", 30, "--option", "num_proposals=500", "--out")
    prune(data, *quick, tmp_path / "one.npz")
    prune(other, *quick, tmp_path / f"two.{suffix}")
    one, two = (Manifest.read(tmp_path / f"{name}.manifest.json") for name in ("one", "two"))
    assert one.pruned == two.pruned
    assert one.pruned[0].startswith("image-")
    assert one.trace[-1]["size"] == 30
    check = call("verify", tmp_path / f"two.{suffix}", "--data", other, "--json")
    assert json.loads(check.stdout)["verification"]["num_pruned"] == 30


def test_a_run_from_standard_input_is_repeated_from_standard_input(
    data: Path, tmp_path: Path
) -> None:
    """The manifest keeps the content's SHA-256, and - as its name."""
    content = data.read_bytes()
    quick = ("--l2", 0.01, "--size", 30, "--option", "num_proposals=500")
    call("prune", "-", *quick, "--out", tmp_path / "pruned.npz", stdin=content)
    (entry,) = Manifest.read(tmp_path / "pruned.manifest.json").inputs
    assert (entry["path"], entry["sha256"]) == ("-", sha256_of_file(data))
    result = call("prune", "--from", tmp_path / "pruned.manifest.json", stdin=content)
    assert "the same subset" in result.stderr


def test_a_held_out_set_is_compared(data: Path, tmp_path: Path) -> None:
    """`--test` adds accuracy and loss on examples that were not trained on."""
    X, y = blobs(1, 60)
    np.savez(tmp_path / "test.npz", X=X, y=y)
    result = prune(data, "--size", 30, "--test", tmp_path / "test.npz", "--json")
    check = json.loads(result.stdout)["verification"]
    assert check["accuracy"] is not None
    assert check["loss_gap"] is not None


def test_a_run_is_repeated_from_its_manifest(data: Path, tmp_path: Path) -> None:
    """Same settings, same data, same subset."""
    prune(data, "--size", 30, "--seed", 5, "--out", tmp_path / "pruned.npz")
    result = call("prune", "--from", tmp_path / "pruned.manifest.json")
    assert "the same subset as in the manifest" in result.stderr


def test_a_repeated_run_on_other_data_says_what_differs(data: Path, tmp_path: Path) -> None:
    """Exit code 1, and the input is named."""
    prune(data, "--size", 30, "--out", tmp_path / "pruned.npz")
    X, y = blobs(7, 120)
    np.savez(data, X=X, y=y, ids=np.array([f"image-{i}" for i in range(len(y))]))
    result = call("prune", "--from", tmp_path / "pruned.manifest.json", expect=1)
    assert "NOT the same subset" in result.stderr
    assert "input data: " in result.stderr


def test_a_dry_run_says_the_cost_and_writes_nothing(data: Path, tmp_path: Path) -> None:
    """Four features and a bias, three classes: S has (3 - 1)(4 + 1) columns."""
    arguments = ("--size", 30, "--dry-run", "--out", tmp_path / "pruned.npz")
    cost = json.loads(prune(data, *arguments, "--json").stdout)
    assert (cost["n"], cost["d"], cost["S_bytes"]) == (120, 10, 4 * 120 * 10)
    assert "about" in prune(data, *arguments).stdout
    assert not (tmp_path / "pruned.npz").exists()


def test_a_subset_that_breaks_its_promise_is_exit_code_1(data: Path, tmp_path: Path) -> None:
    """Forty examples cannot be left out for a change of 1e-9."""
    mask = np.arange(120) < 40
    Solution(mask=mask, norm=0.0, status="feasible", epsilon=1e-9).save(tmp_path / "bad.npz")
    result = call("verify", tmp_path / "bad.npz", "--data", data, "--l2", 1e-2, expect=1)
    assert "NOT verified" in result.stdout


def test_limits_on_validation_examples_and_curvature_hold(data: Path, tmp_path: Path) -> None:
    """Loss, accuracy, curvature and class floors reach `prune`; the manifest repeats them."""
    X, y = blobs(1, 60)
    np.savez(tmp_path / "val.npz", X=X, y=y)
    out = tmp_path / "pruned.npz"
    limits = ("--max-loss-gap", 1e-3, "--max-accuracy-drop", 0.01, "--min-curvature", 0.4)
    prune(
        data,
        *limits,
        *("--validation", tmp_path / "val.npz", "--keep-per-class", 12, "--out", out),
        *("--option", "num_proposals=5000"),
    )
    solution = Solution.load(out)
    seen = solution.stats["validation"]
    assert seen["loss_gap"] <= 1e-3
    assert seen["accuracy_drop"] <= 0.01
    assert np.bincount(blobs(0, 120)[1][solution.kept]).min() >= 12
    check = json.loads(call("verify", out, "--data", data, "--json").stdout)["verification"]
    assert check["curvature"] >= 0.4
    assert "the same subset" in call("prune", "--from", tmp_path / "pruned.manifest.json").stderr


def test_a_certificate_is_confirmed_from_the_data_alone(data: Path, tmp_path: Path) -> None:
    """`verify` evaluates it; other data are refused with exit code 1. Both tell the scope."""
    claim = tmp_path / "claim.json"
    prune(data, "--rel-epsilon", 0.05, "--certificate", claim)
    text = call("verify", claim, "--data", data).stdout
    assert "confirmed" in text
    assert "the head; not the retrained network" in text
    X, y = blobs(7, 120)
    np.savez(data, X=X, y=y)
    result = call("verify", claim, "--data", data, "--json", expect=1)
    recheck = json.loads(result.stdout)["recheck"]
    assert recheck["is_confirmed"] is False
    assert recheck["scope"] == "the head; not the retrained network"


def test_what_cannot_be_verified_is_not_certified(data: Path, tmp_path: Path) -> None:
    """No set changes the head by 1e-13: exit code 1, the smallest epsilon named, no file."""
    claim = tmp_path / "claim.json"
    quick = ("--option", "num_proposals=500")
    result = prune(data, "--epsilon", 1e-13, "--certificate", claim, *quick, expect=1)
    assert "the smallest epsilon" in result.stdout
    assert "was not written" in result.stderr
    assert not claim.exists()


def test_a_manifest_is_verified_by_the_ids_it_names(data: Path, tmp_path: Path) -> None:
    """Its pruned ids are found again in data that were shuffled since."""
    prune(data, "--rel-epsilon", 0.05, "--out", tmp_path / "pruned.npz")
    order = np.random.default_rng(0).permutation(120)
    X, y = blobs(0, 120)
    np.savez(data, X=X[order], y=y[order], ids=np.array([f"image-{i}" for i in order]))
    result = call("verify", tmp_path / "pruned.manifest.json", "--data", data, "--json")
    assert json.loads(result.stdout)["verification"]["is_verified"] is True


def test_verify_warns_when_the_data_are_not_those_that_were_pruned(
    data: Path, tmp_path: Path
) -> None:
    """Their SHA-256 is in the manifest."""
    prune(data, "--size", 30, "--out", tmp_path / "pruned.npz")
    X, y = blobs(7, 120)
    np.savez(data, X=X, y=y)
    assert "SHA-256 differs" in call("verify", tmp_path / "pruned.npz", "--data", data).stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prune", "{data}", "--size", "9"], "--l2 is needed"),
        (["prune", "--l2", "0.01", "--size", "9"], "name the data"),
        (["prune", "{data}", "--l2", "0.01"], "give exactly one of --epsilon, --rel-epsilon"),
        (["prune", "{data}", "--l2", "-1", "--size", "9"], "l2"),
        (["prune", "{data}", "--l2", "0.01", "--size", "121"], "size"),
        (["prune", "{data}", "--l2", "1", "--max-loss-gap", "1"], "--validation goes together"),
        (
            ["prune", "{data}", "--l2", "1", "--epsilon", "1", "--validation", "{data}"],
            "--validation goes together",
        ),
        (
            ["prune", "{data}", "--l2", "1", "--size", "9", "--min-curvature", "0.5"],
            "it cannot go with --size",
        ),
        (
            ["prune", "{data}", "--l2", "1", "--size", "9", "--keep-per-class", "41"],
            "--keep-per-class must be between 0 and 40",
        ),
        (
            ["prune", "{data}", "--l2", "1", "--size", "9", "--certificate", "c.npz"],
            "--certificate must name a .json file",
        ),
        (["prune", "--from", "{data}"], "is not a manifest"),
        (["prune", "--from", "{manifest}", "--size", "9"], "leave out --size"),
        (["prune", "--from", "{manifest}", "--l2", "0.01"], "leave out --l2"),
        (["prune", "--from", "{manifest}"], "not of `subsetsel prune`"),
        (["verify", "{data}", "--data", "{data}"], "not a solution"),
        (["verify", "{manifest}", "--data", "{data}"], "speaks of 2 examples"),
        (["verify", "{other}", "--data", "{data}"], "--l2 is needed"),
        (["verify", "{other}", "--data", "{data}", "--l2", "0.01"], "speaks of 2 examples"),
        (["report", "{data}"], "is not a manifest"),
    ],
)
def test_bad_data_commands_are_one_clear_line(
    arguments: list[str], message: str, data: Path, tmp_path: Path
) -> None:
    """Exit code 2, no traceback, nothing on stdout."""
    other = tmp_path / "other.npz"
    Solution(mask=np.array([True, False]), norm=0.0, status="feasible").save(other)
    manifest = tmp_path / "m.json"
    Manifest.of(Solution.load(other), command="solve", settings={}, inputs={}).write(manifest)
    words = [word.format(data=data, other=other, manifest=manifest) for word in arguments]
    result = call(*words, expect=2)
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_report_shows_curve_and_examples(data: Path, tmp_path: Path) -> None:
    """With the data at hand, other shares are refitted and the examples shown."""
    quick = ("--size", 30, "--solver", "greedy", "--out", tmp_path / "pruned.npz")
    prune(data, *quick)
    manifest = tmp_path / "pruned.manifest.json"
    shown = ("--data", data, "--image-shape", "2x2", "--curve", "--json")
    record = json.loads(call("report", manifest, *shown).stdout)
    assert [point["is_chosen"] for point in record["points"]].count(True) == 1
    page = (tmp_path / "pruned.manifest.html").read_text()
    assert "30 of 120 examples pruned" in page
    assert page.count("data:image/svg+xml;base64,") >= 3
    assert "random subsets move the head" in page
    assert page.count("data:image/png;base64,") == 3 * 16


def test_report_shows_texts_and_writes_to_standard_output(data: Path, tmp_path: Path) -> None:
    """A table with a column `text`, in the order of the data."""
    Solution(np.arange(120) < 40, norm=0.0, status="feasible").save(tmp_path / "p.npz")
    manifest = tmp_path / "p.json"
    ids = np.array([f"image-{i}" for i in range(120)])
    Manifest.of(
        Solution.load(tmp_path / "p.npz"), command="prune", settings={}, inputs={}, ids=ids
    ).write(manifest)
    lines = ["text", *(f"this is number {i}" for i in range(120))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    page = call("report", manifest, "--data", data, "--examples", tmp_path / "t.csv", "--out", "-")
    assert "this is number" in page.stdout
    assert page.stdout.startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--curve"], "need the examples: --data"),
        (["--data", "{data}", "--image-shape", "3x3"], "9 numbers, and an example has 4"),
        (["--data", "{data}", "--image-shape", "four"], "must look like 28x28"),
        (["--data", "{data}", "--examples", "{data}", "--image-shape", "2x2"], "not both"),
        (["--data", "{data}", "--examples", "{few}"], "shows 2 examples, the data hold 120"),
        (["--out", "page.pdf"], "must name an .html file"),
    ],
)
def test_bad_reports_are_one_clear_line(
    arguments: list[str], message: str, data: Path, tmp_path: Path
) -> None:
    """Exit code 2 before anything is computed."""
    few, manifest = tmp_path / "few.npy", tmp_path / "m.json"
    np.save(few, np.zeros((2, 4, 4)))
    ids = np.array([f"image-{i}" for i in range(120)])
    solution = Solution(np.arange(120) < 40, norm=0.0, status="feasible")
    Manifest.of(solution, command="prune", settings={}, inputs={}, ids=ids).write(manifest)
    words = [word.format(data=data, few=few) for word in arguments]
    assert message in call("report", manifest, *words, expect=2).stderr


@pytest.mark.slow
def test_the_demo_does_what_it_says(tmp_path: Path) -> None:
    """Ten lines, four files, and the head moves three times less than at random or better."""
    folder = tmp_path / "demo"
    result = call("demo", "--folder", folder)
    assert len(result.stdout.splitlines()) == 10
    assert {path.name for path in folder.iterdir()} == {
        "pruned.npz",
        "pruned.manifest.json",
        "demo.png",
        "report.html",
    }
    (ratio,) = re.findall(r"([\d.]+) times as far", result.stdout)
    assert float(ratio) > 3
    ((reach, epsilon),) = re.findall(r"verified: ([\d.]+) <= ([\d.]+)", result.stdout)
    assert float(reach) <= float(epsilon)


# --- compare, solvers, info ---------------------------------------------------------------------


def test_compare_solvers_has_a_row_for_each_solver(matrix: Path) -> None:
    """The same problem, one line each."""
    result = call("compare-solvers", matrix, "--size", 20, "--solvers", "greedy,anneal", "--json")
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


def test_info_prints_what_a_bug_report_needs() -> None:
    """Versions, where the package lies, memory, disk, threads, where kernels are kept, solvers."""
    record = json.loads(call("info", "--json").stdout)
    assert record["versions"]["numpy"] == np.__version__
    assert record["versions"]["highspy"]
    assert Path(record["location"]).name == "subsetsel"
    assert record["torch"]["threads"] >= 1
    assert set(record["kernels"]) == {"compiled", "kept in"}
    assert "anneal" in record["solvers"]
    text = call("info").stdout
    for line in ("free memory: ", "free disk here: ", "  numpy ", "  anneal ", "  kept in "):
        assert line in text


def test_the_shell_completes_commands_options_and_solvers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As bash asks for it."""

    def offered(words: str) -> list[str]:
        monkeypatch.setenv("_SUBSETSEL_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
        result: str = CliRunner().invoke(app, [], prog_name="subsetsel").stdout
        return result.split()

    assert offered("subsetsel pr") == ["prune"]
    assert offered("subsetsel prune --rel") == ["--rel-epsilon"]
    assert offered("subsetsel prune --solver gr") == ["greedy"]


def test_version() -> None:
    """`--version` prints it and stops."""
    import subsetsel

    assert call("--version").stdout.strip() == f"subsetsel {subsetsel.__version__}"


def test_every_command_has_an_example_in_its_help() -> None:
    """Help shows how it is used, with the exit codes on the first page."""
    assert "130" in call("--help").stdout
    for name in ("demo", "prune", "verify", "solve", "compare", "report", "solvers", "info"):
        text = call(name, "--help").stdout
        assert f"subsetsel {name}" in text
        assert "--json" in text


def test_a_subset_and_a_manifest_of_two_runs_are_told_apart(data: Path, tmp_path: Path) -> None:
    """A subset copied over another run's must not be checked with that run's settings.

    Mutation: `verify` without its comparison of the two: fails.
    """
    prune(data, "--size", 30, "--out", tmp_path / "a.npz")
    prune(data, "--size", 40, "--out", tmp_path / "b.npz")
    (tmp_path / "b.npz").replace(tmp_path / "a.npz")
    result = call("verify", tmp_path / "a.npz", "--data", data, expect=2)
    assert "they are of two runs" in result.stderr
