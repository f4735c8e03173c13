"""Data in shards on the command line: several files, an engine, the plan, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import QUICK, blobs, call, interrupt_at_first_subset, refused

from subsetsel import Solution
from subsetsel.cli.console import _traffic
from subsetsel.cli.read_shards import _note_if_small
from subsetsel.errors import FileFormatError
from subsetsel.report import manifest as manifests
from subsetsel.report.manifest import Manifest
from subsetsel.shards.table import Shards
from subsetsel.shards.workers import Serial

parquet = pytest.importorskip("pyarrow.parquet")
arrow = pytest.importorskip("pyarrow")

FIT = ("--l2", 1e-2, *QUICK)


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """120 examples of three classes in four parquet files, and a glob of them."""
    X, y = blobs(0, 120)
    for k, own in enumerate(np.array_split(np.arange(120), 4)):
        columns: dict[str, Any] = {f"f{c}": X[own, c].astype(np.float32) for c in range(4)}
        columns |= {"kind": y[own], "name": [f"image-{i}" for i in own]}
        parquet.write_table(arrow.table(columns), tmp_path / f"part-{k}.parquet")
    return tmp_path / "*.parquet"


@pytest.fixture
def matrices(tmp_path: Path) -> Path:
    """S of 300 x 4 in three files, and a glob of them."""
    S = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32) + np.float32(0.3)
    for k, own in enumerate(np.array_split(S, 3)):
        np.save(tmp_path / f"S-{k}.npy", own)
    return tmp_path / "*.npy"


def test_examples_in_shards_are_pruned_verified_and_pruned_again(
    parts: Path, tmp_path: Path
) -> None:
    """The subset, its manifest, the list of what is kept; a check; a repetition."""
    names = ("--label", "kind", "--id", "name")
    out, kept = tmp_path / "p.npz", tmp_path / "kept.txt"
    files = sorted(tmp_path.glob("*.parquet"))
    arguments = (*names, *FIT, "--fraction", 0.3, "--out", out, "--kept", kept)
    result = call("prune", *files, *arguments)
    solution = Solution.load(out)
    assert solution.size == 36
    assert kept.read_text().split() == [f"image-{i}" for i in solution.kept]
    record = Manifest.read(tmp_path / "p.manifest.json")
    assert record.settings["shards"]["paths"] == list(map(str, files))
    assert "refit" in result.stdout or "change" in result.stdout
    checked = call("verify", out, "--data", parts)
    assert "warning" not in checked.stderr
    again = call("prune", "--from", tmp_path / "p.manifest.json")
    assert "the same subset" in again.stderr


def test_the_shards_are_those_that_are_asked_for(parts: Path) -> None:
    """A quoted glob with a shard's size; the search says what it took."""
    arguments = ("--label", "kind", "--drop", "name", *FIT, "--rel-epsilon", 0.05, "--json")
    out = ("--rows-per-shard", 10, "--out", parts.parent / "p.npz")
    found = json.loads(call("prune", parts, *arguments, *out).stdout)
    assert not (parts.parent / "p.checkpoint.npz").exists()
    assert found["verification"]["is_verified"]
    assert found["solution"]["size"] > 0


def test_labels_may_lie_in_a_file_of_their_own(tmp_path: Path) -> None:
    """Features in .npy, labels in a table of text."""
    X, y = blobs(0, 60)
    for k in range(2):
        np.save(tmp_path / f"X-{k}.npy", X[30 * k : 30 * k + 30])
    (tmp_path / "y.csv").write_text("kind\n" + "\n".join(map(str, y)) + "\n")
    labels = ("--labels", tmp_path / "y.csv", *FIT, "--fraction", 0.2, "--json")
    found = json.loads(call("prune", tmp_path / "X-*.npy", *labels).stdout)
    assert found["solution"]["size"] == 12


def test_a_matrix_in_shards_is_solved_and_solved_again(matrices: Path, tmp_path: Path) -> None:
    """Three files are three shards; the manifest knows them."""
    out = tmp_path / "p.npz"
    call("solve", matrices, "--epsilon", 20, "--solver", "greedy", "--out", out)
    solution = Solution.load(out)
    assert 0 < solution.norm <= 20
    assert Manifest.read(tmp_path / "p.manifest.json").inputs[0]["num_shards"] >= 1
    again = call("solve", "--from", tmp_path / "p.manifest.json")
    assert "the same subset" in again.stderr


def test_an_interrupted_run_goes_on_from_its_checkpoint(
    matrices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder beside --out keeps the steps, the same command uses them, and removes it."""
    out, kept = tmp_path / "p.npz", tmp_path / "p.checkpoint"
    command = ("solve", matrices, "--epsilon", 20, *QUICK, "--out", out)
    with monkeypatch.context() as patched:
        patched.setattr("subsetsel.cli.solve.solve_progress", interrupt_at_first_subset)
        assert "goes on from" in call(*command, expect=130).stderr
    assert list(kept.glob("*.npz"))
    assert "is not searched for again" in call(*command).stderr
    assert not kept.exists()
    assert Solution.load(out).limit != "interrupted"


def test_a_dry_run_of_shards_prints_the_plan(parts: Path, matrices: Path, tmp_path: Path) -> None:
    """From headers and labels; nothing is trained, nothing written."""
    pruning = ("prune", parts, "--label", "kind", "--id", "name", "--l2", 1e-2, "--dry-run")
    out = ("--out", tmp_path / "p.npz", "--rows-per-shard", 10)
    plan = json.loads(call(*pruning, "--rel-epsilon", 0.1, *out, "--json").stdout)
    assert (plan["n"], plan["d"], plan["num_shards"]) == (120, 10, 4)
    assert not (tmp_path / "p.npz").exists()
    machines = ("--assume", "machines=32", "--assume", "classes=10", "--engine", "tcp://no:1")
    text = call(*pruning, "--fraction", 0.4, *machines).stdout
    assert "32 machines of 8 cores" in text
    assert "120 x 45" in text
    solving = call("solve", matrices, "--size", 60, "--engine", "here", "--dry-run").stdout
    assert "300 x 4" in solving
    assert "1 machines of 1 cores" in solving


def test_a_plan_that_would_be_refused_ends_with_code_2(parts: Path) -> None:
    """The plan is printed all the same, with the cure in it; fewer classes cure it."""
    pruning = ("prune", parts, "--label", "kind", "--drop", "name", "--l2", 1e-2, "--dry-run")
    more = ("--fraction", 0.4, "--rows-per-shard", 10, "--assume")
    assert "refused: parameters" in call(*pruning, *more, "classes=10000", expect=2).stdout
    assert "refused" not in call(*pruning, *more, "classes=10").stdout


@pytest.mark.parametrize(
    ("arguments", "message", "cure"),
    [
        (["no-*.parquet"], "no file matches", ["PARTS"]),
        (["PARTS", "--label", "sort"], "has no column 'sort'", ["PARTS", "--label", "kind"]),
        (["PARTS", "--rows-per-shard", 0], "at least 1, got 0", ["PARTS"]),
        (["PARTS", "--assume", "cores=2"], "goes with --dry-run", ["PARTS"]),
        (["PARTS", "--certificate", "c.json"], "--certificate does not go", ["PARTS"]),
        (["-"], "standard input (-) is read once", ["PARTS"]),
        (["PARTS", "--kept", "kept.csv"], "as a list alone", ["PARTS", "--kept", "kept.txt"]),
        (["PARTS", "--engine", "tcp://127.0.0.1:1"], "127.0.0.1:1", ["PARTS", "--engine", "here"]),
    ],
)
def test_wrong_inputs_are_named_and_their_cures_work(
    parts: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[Any],
    message: str,
    cure: list[Any],
) -> None:
    """One clear line, before any work; the command that it proposes runs."""
    monkeypatch.chdir(parts.parent)
    monkeypatch.setitem(
        pytest.importorskip("distributed").config["distributed"]["comm"]["timeouts"],
        *("connect", "0.2s"),
    )
    usual = ["--drop", "name", "--rows-per-shard", 30, "--label", "kind"]
    for given, is_wrong in ((arguments, True), (cure, False)):
        words = [parts if word == "PARTS" else word for word in [*usual, *given]]
        if is_wrong:
            assert message in refused("prune", *words, *FIT, "--fraction", 0.3)
        else:
            call("prune", *words, *FIT, "--fraction", 0.3)


def test_files_of_different_widths_are_named(matrices: Path) -> None:
    """Both files, both widths; without the odd one it works."""
    odd = matrices.parent / "S-3.npy"
    np.save(odd, np.ones((3, 5), dtype=np.float32))
    message = refused("solve", matrices, "--size", 10, "--solver", "greedy")
    assert "S-3.npy has 5" in message
    assert "has 4" in message
    odd.unlink()
    call("solve", matrices, "--size", 10, "--solver", "greedy")


def test_flags_of_columns_need_columns(tmp_path: Path) -> None:
    """Files of arrays have none; --drop is refused, and without it the data are read."""
    X, y = blobs(0, 60)
    for k in range(2):
        np.savez(tmp_path / f"part-{k}.npz", X=X[k::2], y=y[k::2])
    pruning = ("prune", tmp_path / "part-*.npz", *FIT, "--fraction", 0.3)
    assert "--drop names a column" in refused(*pruning, "--drop", "name")
    call(*pruning)


def test_pictures_do_not_lie_in_shards(parts: Path) -> None:
    """--model reads pictures; without it the files are features."""
    pruning = ("prune", parts, "--rows-per-shard", 30, *FIT, "--fraction", 0.3)
    assert "--model does not go" in refused(*pruning, "--model", "network:make")
    call(*pruning, "--label", "kind", "--drop", "name")


def test_a_run_in_memory_is_not_repeated_in_shards(data: Path, tmp_path: Path) -> None:
    """--from says how; an engine does not go with data that were in memory."""
    out = tmp_path / "p.npz"
    call("prune", data, *FIT, "--fraction", 0.3, "--out", out)
    again = ("prune", "--from", tmp_path / "p.manifest.json")
    assert "leave out --engine" in refused(*again, "--engine", "here")
    call(*again)


def test_one_shard_on_an_engine_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is shared out; two shards say nothing, nor does this process."""
    one, two = (Shards(Serial(), [None] * k, [5] * k) for k in (1, 2))
    _note_if_small(one, "tcp://host:1")
    assert "leave out --engine" in capsys.readouterr().err
    _note_if_small(one, None)
    _note_if_small(two, "tcp://host:1")
    assert capsys.readouterr().err == ""


def test_progress_tells_rounds_and_bytes() -> None:
    """Of shards; nothing where there are none."""
    shards = Shards(Serial(), [], [])
    shards.num_rounds, shards.bytes_sent = 12, 3_400_000
    assert _traffic(shards) == "12 rounds, 3.4 MB; "
    assert _traffic(None) == ""


def test_a_manifest_of_many_examples_lists_none(
    matrices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows the digest of the subset, tells a repetition by it, and names the file to check."""
    monkeypatch.setattr(manifests, "MAX_LISTED", 10)
    out = tmp_path / "p.npz"
    call("solve", matrices, "--size", 60, "--solver", "greedy", "--out", out)
    record = Manifest.read(tmp_path / "p.manifest.json")
    assert record.pruned == record.kept == []
    again = call("solve", "--from", tmp_path / "p.manifest.json")
    assert "the same subset" in again.stderr
    assert not record.has_subset_of(replace(record, subset_sha256="0"))
    with pytest.raises(FileFormatError, match="lists none of them"):
        record.mask()
