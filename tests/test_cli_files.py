"""Files as people bring them, on the command line: the next command knows what was said once."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commands import QUICK, blobs, call, refused
from commands import prune as prune_with_size

from subsetsel import FileFormatError, OptionError, Solution
from subsetsel.formats import read_data, read_solution, write_solution
from subsetsel.report.manifest import Manifest
from subsetsel.support.records import sha256_of_file

COLUMNS = ["p", "q", "r", "s"]


def frame(seed: int, count: int) -> pd.DataFrame:
    """Labelled examples with ids and a text."""
    X, y = blobs(seed, count)
    out = pd.DataFrame(X, columns=COLUMNS)
    return out.assign(id=[f"i{k}" for k in range(count)], y=y, text="to be left out")


def parts(folder: Path, whole: pd.DataFrame) -> Path:
    """A folder with three parquet files of a frame, and one that a writer left for itself."""
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    folder.mkdir()
    for number, rows in enumerate(np.array_split(np.arange(len(whole)), 3)):
        whole.iloc[rows].to_parquet(folder / f"part-{number}.parquet", index=False)
    (folder / "_SUCCESS.parquet").touch()
    return folder


# --- several files ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["parts", "parts/part-*.parquet", "parts/part-[0-2].parquet"])
def test_a_folder_or_a_glob_is_one_table(name: str, tmp_path: Path) -> None:
    """Its parts stand in the order of their names."""
    whole = frame(0, 60)
    parts(tmp_path / "parts", whole)
    data = read_data(tmp_path / name, drop=("text",))
    assert np.array_equal(data.X, whole[COLUMNS].to_numpy())
    assert data.ids is not None
    assert data.ids.tolist() == whole["id"].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q": None}, r"part-1\.parquet has no column 'q', which .*part-0.*same columns"),
        ({"z": 1.0}, r"part-0\.parquet has no column 'z', which .*part-1.*same columns"),
        ({"q": 1}, r"part-1\.parquet: column 'q' holds int64, and in .*part-0.* it holds double"),
        ({"id": "i0"}, r"'i0' stands in row 0 of .*part-0\.parquet and in row 0 of .*part-1"),
        ({"y": np.nan}, r"column 'y' holds double"),
    ],
)
def test_a_part_that_differs_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    """By its own name, not by that of the folder."""
    folder = parts(tmp_path / "parts", frame(0, 60))
    part = pd.read_parquet(folder / "part-1.parquet")
    for column, value in change.items():
        part = part.drop(columns=column) if value is None else part.assign(**{column: value})
    part.to_parquet(folder / "part-1.parquet", index=False)
    with pytest.raises(FileFormatError, match=message):
        read_data(folder, drop=("text",))


def test_a_name_that_stands_for_nothing_is_refused(tmp_path: Path) -> None:
    """An empty folder, a glob without a match, and a glob of tables that are not read together."""
    with pytest.raises(FileNotFoundError, match=r"holds no \.parquet file"):
        read_data(tmp_path)
    with pytest.raises(FileNotFoundError, match="no file matches"):
        read_data(tmp_path / "*.parquet")
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("u,y\n1,a\n2,b\n")
    with pytest.raises(FileFormatError, match="stands for 2 files; only parquet"):
        read_data(tmp_path / "*.csv")


def test_a_glob_is_pruned_repeated_and_verified(tmp_path: Path) -> None:
    """The manifest has its SHA-256, which changes with any part, and how its columns were read."""
    folder = parts(tmp_path / "parts", frame(0, 120))
    glob, out = folder / "part-*.parquet", tmp_path / "p.npz"
    prune_with_size(glob, "--drop", "text", "--size", 30, "--out", out)
    manifest = Manifest.read(tmp_path / "p.manifest.json")
    assert manifest.inputs[0]["sha256"] == sha256_of_file(glob) == sha256_of_file(folder)
    assert "the same subset" in call("prune", "--from", tmp_path / "p.manifest.json").stderr
    assert "warning" not in call("verify", out, "--data", glob).stderr
    (folder / "part-2.parquet").write_bytes((folder / "part-1.parquet").read_bytes())
    assert manifest.inputs[0]["sha256"] != sha256_of_file(glob)


# --- what is said once --------------------------------------------------------------------------


def test_embeddings_and_labels_are_pruned_verified_and_repeated(tmp_path: Path) -> None:
    """An .npy file and its labels; later commands find the labels by the manifest."""
    X, y = blobs(0, 120)
    np.save(tmp_path / "X.npy", X)
    np.savez(tmp_path / "d.npz", X=X, y=y)
    pd.DataFrame({"kind": y}).to_csv(tmp_path / "labels.csv", index=False)
    how = ("--labels", tmp_path / "labels.csv", "--label", "kind")
    for name, more in (("X.npy", how), ("d.npz", ())):
        sized = ("--size", 30, "--out", tmp_path / f"{name}.npz")
        prune_with_size(tmp_path / name, *more, *sized)
    found, expected = (Solution.load(tmp_path / f"{name}.npz") for name in ("X.npy", "d.npz"))
    assert found.pruned.tolist() == expected.pruned.tolist()
    manifest = tmp_path / "X.npy.manifest.json"
    assert [item["name"] for item in Manifest.read(manifest).inputs] == ["data", "labels"]
    call("verify", tmp_path / "X.npy.npz", "--data", tmp_path / "X.npy")
    call("report", manifest, "--data", tmp_path / "X.npy")
    assert "the same subset" in call("prune", "--from", manifest).stderr


def test_weights_are_used_and_known_to_verify(tmp_path: Path) -> None:
    """The check finds the same change again without being told of them."""
    weights = np.linspace(0.5, 2.0, 120)
    frame(0, 120).drop(columns="text").assign(w=weights, one=1).to_csv(
        tmp_path / "d.csv", index=False
    )
    out = tmp_path / "p.npz"
    sized = ("--size", 30, "--out", out)
    prune_with_size(tmp_path / "d.csv", "--weight", "w", "--drop", "one", *sized)
    record = Manifest.read(tmp_path / "p.manifest.json").verification
    assert record is not None
    again, unweighted = (
        json.loads(call("verify", out, "--data", tmp_path / "d.csv", *more, "--json").stdout)
        for more in ([], ["--weight", "one"])
    )
    assert np.isclose(again["verification"]["change"], record["change"], rtol=1e-6)
    assert not np.isclose(unweighted["verification"]["change"], record["change"], rtol=1e-2)


def test_weights_and_a_certificate_are_refused_before_the_work(tmp_path: Path) -> None:
    """A certificate speaks of a head without weights."""
    frame(0, 60).assign(w=1.0).to_csv(tmp_path / "d.csv", index=False)
    asked = (tmp_path / "d.csv", "--drop", "text", "--weight", "w", "--l2", 1, "--size", 9)
    said = refused("prune", *asked, "--certificate", tmp_path / "c.json")
    assert "leave one of the two out" in said


def test_held_out_columns_go_by_name(tmp_path: Path) -> None:
    """Whatever their order, and with others beside them; today's numbers are those in order.

    Mutation: `read_held_out` without `features=data.names`: fails.
    """
    frame(0, 120).to_csv(tmp_path / "d.csv", index=False, sep=";", decimal=",")
    test = frame(1, 60)
    test.to_csv(tmp_path / "t.csv", index=False, sep=";", decimal=",")
    columns = ["other", "text", "y", *reversed(COLUMNS)]
    test.assign(other=1)[columns].to_csv(tmp_path / "u.csv", index=False, sep=";", decimal=",")
    asked = ("--drop", "text", "--delimiter", ";", "--decimal", ",", "--size", 30, "--json")
    found = [
        json.loads(prune_with_size(tmp_path / "d.csv", *asked, "--test", tmp_path / name).stdout)
        for name in ("t.csv", "u.csv")
    ]
    losses = [one["verification"]["loss_gap"] for one in found]
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    "reading", [{"drop": [1]}, {"features": 5}, {"delimiter": []}, {"decimal": 7}, {"what": 1}]
)
@pytest.mark.parametrize("command", ["prune", "solve"])
def test_a_manifest_that_says_no_way_to_read_is_refused(
    command: str, reading: dict[str, Any], data: Path, matrix: Path, tmp_path: Path
) -> None:
    """Nothing of a file is believed."""
    if command == "prune":
        prune_with_size(data, "--size", 30, "--out", tmp_path / "p.npz")
    else:
        call("solve", matrix, "--size", 9, "--solver", "greedy", "--out", tmp_path / "p.npz")
    path = tmp_path / "p.manifest.json"
    record = json.loads(path.read_text())
    record["settings"]["reading"] = reading
    path.write_text(json.dumps(record))
    why = {"prune": "lacks the settings of a pruning", "solve": "says no way to read S"}
    expected = "--decimal must be" if "decimal" in reading else why[command]
    assert expected in refused(command, "--from", path)


def test_s_is_read_as_its_text_is_written(tmp_path: Path) -> None:
    """By solve and compare-solvers; the manifest knows it."""
    S = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)), columns=["a", "b", "c"])
    S.assign(name="text").to_csv(tmp_path / "S.csv", index=False, sep=";", decimal=",")
    question = ("--size", 9, "--solver", "greedy")
    assert "--delimiter" in refused("solve", tmp_path / "S.csv", *question)
    how = ("--delimiter", ";", "--decimal", ",", "--drop", "name")
    call("solve", tmp_path / "S.csv", *how, *question, "--out", tmp_path / "p.npz")
    assert "the same subset" in call("solve", "--from", tmp_path / "p.manifest.json").stderr
    call("compare-solvers", tmp_path / "S.csv", *how, "--size", 9, "--solvers", "greedy")


def test_a_packed_table_comes_by_standard_input(tmp_path: Path) -> None:
    """In the format csv.gz."""
    content = gzip.compress(frame(0, 60).drop(columns="text").to_csv(index=False).encode())
    asked = ("--l2", 1e-2, "--size", 9, *QUICK, "--out", "-")
    table = call("prune", "-", "--format", "csv.gz", *asked, stdin=content).stdout
    assert table.startswith("index,id,pruned\n0,i0,")


# --- save ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["e.csv", "e.parquet", "e.json", "e.zip"])
def test_save_writes_no_archive_under_another_name(name: str, tmp_path: Path) -> None:
    """Both cures of the message are tried.

    Mutation: `write_solution` of the solution's file without its look at the ending: fails.
    """
    solution = Solution(np.arange(4) < 2, norm=0.5, status="feasible")
    with pytest.raises(OptionError, match=r"must end in \.npz.*e\.npz.*write_solution"):
        solution.save(tmp_path / name)
    assert not list(tmp_path.iterdir())
    solution.save((tmp_path / name).with_suffix(".npz"))
    assert Solution.load(tmp_path / "e.npz").size == 2
    write_solution(solution, tmp_path / "e.csv")
    assert read_solution(tmp_path / "e.csv").size == 2


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", "b", "a", "c"], "ids must differ, and 'a' is there twice"),
        (["a", "b"], r"one id for each of the 4 examples, got shape \(2,\)"),
    ],
)
def test_save_refuses_ids_that_name_no_single_example(
    ids: list[str], message: str, tmp_path: Path
) -> None:
    """Twice the same, or not one for each; without ids, as the message says, it is saved."""
    solution = Solution(np.arange(4) < 2, norm=0.5, status="feasible")
    with pytest.raises(OptionError, match=message):
        solution.save(tmp_path / "e.npz", ids=ids)
    solution.save(tmp_path / "e.npz")
    assert Solution.load(tmp_path / "e.npz").size == 2
