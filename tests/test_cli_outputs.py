"""What `subsetsel prune` writes: what is kept, and what is refused before the work."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import QUICK, blobs, call, prune, refused

from subsetsel import Solution
from subsetsel.cli.console import ExitCode
from subsetsel.cli.output import repeated_code
from subsetsel.errors import OptionError
from subsetsel.formats import read_data, read_solution
from subsetsel.formats.kept import check_kept, write_kept
from subsetsel.report.manifest import Manifest


def refused_at_once(patch: pytest.MonkeyPatch, *arguments: Any) -> str:
    """What a command is told that is refused before any head is trained."""

    def train(*_: Any, **__: Any) -> None:
        raise AssertionError("a head is trained")

    with patch.context() as short:
        short.setattr("subsetsel.influence.fit_head", train)
        return refused(*arguments)


# --- what is kept, as it came ------------------------------------------------------------------


def make_source(path: Path) -> Path:
    """Data of 120 examples with ids in the format of a name, with texts and oddities."""
    X, y = blobs(0, 120)
    names = [f"n{i}" for i in range(120)]
    if path.suffix == ".npz":
        np.savez(path, X=X, y=y, ids=np.array(names), about=np.array("a remark"))
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet

        table = pa.table({"e": X.tolist(), "y": y, "id": names})
        pyarrow.parquet.write_table(table.replace_schema_metadata({"mine": "yes"}), path)
    else:
        comma = "\t" if path.suffix == ".tsv" else ","
        lines = [comma.join(["id", "a", "b", "c", "d", "y"])]
        for i, row in enumerate(X.tolist()):
            # Quotes, a line break in a cell, and numbers written as nobody else would.
            name = f'"n{i}\nof ""all"""' if i % 7 == 0 else f"n{i}"
            lines.append(comma.join([name, *(f"{v:+.20e}" for v in row), f"{y[i]}"]))
        path.write_text("\r\n".join(lines), encoding="utf-8-sig", newline="")
    return path


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_lines_that_are_kept_are_the_bytes_that_came(suffix: str, tmp_path: Path) -> None:
    """Quotes, line ends and the mark of UTF-8 stay; taken together with the others it is all.

    Mutation: records split at line breaks: fails.
    """
    data, kept = make_source(tmp_path / f"d.{suffix}"), tmp_path / f"k.{suffix}"
    result = prune(data, "--size", 30, "--kept", kept, "--json")
    record = json.loads(result.stdout)
    assert record["files"] == [str(kept)]
    assert sorted(record["kept"] + record["pruned"]) == list(range(120))
    source = data.read_bytes()
    end = b"\r\n"
    starts = [source.index(f"n{i}".encode()) for i in record["kept"]]
    assert starts == sorted(starts)
    before, after = read_data(data), read_data(kept)
    assert np.array_equal(before.X[record["kept"]], after.X)
    assert np.array_equal(np.asarray(before.ids)[record["kept"]], np.asarray(after.ids))
    written = kept.read_bytes()
    assert written.startswith(source[: source.index(end) + 2])
    assert all(part in source for part in written.split(b"\r\n"))
    call("prune", kept, "--l2", 1e-2, *QUICK, "--size", 9)


def test_rows_of_parquet_keep_their_columns_types_and_metadata(tmp_path: Path) -> None:
    """Also where the batches do not end where the row groups do."""
    parquet = pytest.importorskip("pyarrow.parquet")
    data, kept = make_source(tmp_path / "d.parquet"), tmp_path / "k.parquet"
    record = json.loads(prune(data, "--size", 30, "--kept", kept, "--json").stdout)
    before, after = parquet.read_table(data), parquet.read_table(kept)
    assert after.schema.equals(before.schema, check_metadata=True)
    assert after.equals(before.take(record["kept"]))


def test_arrays_of_an_npz_are_taken_row_by_row(tmp_path: Path) -> None:
    """X, y and ids; what has no rows stays whole."""
    data, kept = make_source(tmp_path / "d.npz"), tmp_path / "k.npz"
    record = json.loads(prune(data, "--size", 30, "--kept", kept, "--json").stdout)
    with np.load(data) as before, np.load(kept) as after:
        assert set(after.files) == set(before.files)
        for name in ("X", "y", "ids"):
            assert np.array_equal(after[name], before[name][record["kept"]])
        assert after["about"] == "a remark"


@pytest.mark.parametrize("has_ids", [True, False])
def test_a_list_holds_the_ids_that_are_kept(has_ids: bool, tmp_path: Path) -> None:
    """One a line; indices where there are no ids."""
    X, y = blobs(0, 120)
    ids: Any = {"ids": np.array([f"dir/é {i}.png" for i in range(120)])} if has_ids else {}
    np.savez(tmp_path / "d.npz", X=X, y=y, **ids)
    kept = tmp_path / "k.txt"
    record = json.loads(prune(tmp_path / "d.npz", "--size", 30, "--kept", kept, "--json").stdout)
    lines = kept.read_text(encoding="utf-8").splitlines()
    assert lines == [f"dir/é {i}.png" if has_ids else str(i) for i in record["kept"]]


def test_lines_of_json_and_packed_tables_are_kept_as_they_came(tmp_path: Path) -> None:
    """The writer knows them, whoever reads them."""
    mask = np.array([True, False, False])
    source, kept = tmp_path / "d.jsonl", tmp_path / "k.jsonl"
    source.write_text('{"a": 1}\n\n{"a":2 , "t": "é"}\n{"a": 3}', encoding="utf-8")
    check_kept(kept, source, 3, None)
    write_kept(kept, source, mask)
    assert kept.read_text(encoding="utf-8") == '{"a":2 , "t": "é"}\n{"a": 3}'
    packed, kept = tmp_path / "d.csv.gz", tmp_path / "k.csv.gz"
    packed.write_bytes(gzip.compress(b"a;b\n1;2\n3;4\n5;6\n"))
    check_kept(kept, packed, 3, None, delimiter=";")
    write_kept(kept, packed, mask, delimiter=";")
    assert gzip.decompress(kept.read_bytes()) == b"a;b\n3;4\n5;6\n"


def test_what_is_kept_of_a_folder_is_a_list(tmp_path: Path) -> None:
    """Of several files there is no one format to write; a list is what the message names."""
    folder = tmp_path / "parts.parquet"
    folder.mkdir()
    with pytest.raises(OptionError, match=r"as a list alone; name a \.txt file"):
        check_kept(tmp_path / "k.parquet", folder, 3, None)
    check_kept(tmp_path / "k.txt", folder, 3, None)
    write_kept(tmp_path / "k.txt", folder, np.array([True, False, False]))
    assert (tmp_path / "k.txt").read_text() == "1\n2\n"


def test_the_kept_rows_of_standard_input_are_written(tmp_path: Path) -> None:
    """The format is that of --format."""
    data, kept = make_source(tmp_path / "d.csv"), tmp_path / "k.csv"
    words = ("prune", "-", "--format", "csv", "--l2", 1e-2, *QUICK, "--size", 30, "--kept", kept)
    call(*words, stdin=data.read_bytes())
    assert read_data(kept).n == 90


def test_nothing_is_kept_where_no_subset_satisfies_what_was_asked(
    data: Path, tmp_path: Path
) -> None:
    """No file that looks like a result."""
    kept = tmp_path / "k.npz"
    result = prune(data, "--epsilon", 1e-13, "--kept", kept, expect=1)
    assert "k.npz was not written" in result.stderr
    assert not kept.exists()


@pytest.mark.parametrize(
    ("source", "kept", "message", "cure"),
    [
        ("d.csv", "k.parquet", "d.csv is csv; name a .csv file, or a .txt file", "k.csv"),
        ("d.npz", "k.csv", "d.npz is npz; name a .npz file, or a .txt file", "k.txt"),
        ("d.csv", "k.txt", "holds a line break; write the rows instead", "k.csv"),
        ("d.csv", "d.csv", "--kept would be written over", "k.csv"),
        ("d.npz", "p.npz", "--kept and --out are one file", "k.npz"),
        ("d.npz", "p.manifest.json", "the manifest of --out and --kept are one file", "k.npz"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_the_work(
    source: str, kept: str, message: str, cure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names what can; that is written. The data stay as they were."""
    data = make_source(tmp_path / source)
    before = data.read_bytes()
    words = ("prune", data, "--l2", 1e-2, *QUICK, "--size", 30, "--out", tmp_path / "p.npz")
    said = refused_at_once(monkeypatch, *words, "--kept", tmp_path / kept)
    assert message in said
    assert data.read_bytes() == before
    call(*words, "--kept", tmp_path / cure)
    assert (tmp_path / cure).exists()


# --- what can be known before the work ---------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.arange(50), "the ids have shape (50,)"),
        (np.arange(120) % 100, "the id 0 stands in example 0 and in example 100"),
    ],
)
def test_ids_that_do_not_tell_examples_apart_are_refused_before_the_work(
    ids: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Either advice works: other ids, or none."""
    X, y = blobs(0, 120)
    path = tmp_path / "d.npz"
    np.savez(path, X=X, y=y, ids=ids)
    said = refused_at_once(monkeypatch, "prune", path, "--l2", 1e-2, *QUICK, "--size", 30)
    assert message in said
    better: Any
    for better in ({"ids": np.arange(120)}, {}):
        np.savez(path, X=X, y=y, **better)
        prune(path, "--size", 30)


@pytest.mark.parametrize(
    ("words", "message", "cure"),
    [
        (("--solver", "aneal"), "aneal", ("--solver", "anneal")),
        (("--option", "num_proposal=5"), "num_proposal", ("--option", "num_proposals=5")),
        (("--time-limit", "-1"), "time_limit", ("--time-limit", "1")),
    ],
)
def test_a_search_that_cannot_begin_is_refused_before_the_head_is_trained(
    words: tuple[str, ...],
    message: str,
    cure: tuple[str, ...],
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Solver, option and limit are known to be wrong without the data."""
    said = refused_at_once(monkeypatch, "prune", data, "--l2", 1e-2, "--size", 30, *words)
    assert message in said
    prune(data, "--size", 30, *cure)


@pytest.mark.parametrize(
    ("out", "certificate", "message"),
    [
        ("data.npz", None, "--out would be written over"),
        ("c.npz", "c.json", "the arrays of --certificate and --out are one file"),
        (None, "data.json", "the arrays of --certificate would be written over"),
        ("p.npz", "p.manifest.json", "the manifest of --out and --certificate are one file"),
        ("taken.npz", None, "the manifest of --out would be "),
        (None, "taken.manifest.json", "--certificate would be "),
    ],
)
def test_no_file_of_a_run_is_written_over_another(
    out: str | None,
    certificate: str | None,
    message: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Above all not over the data; with other names the command works.

    Mutation: `check_places` without its comparison with what is read: fails.
    """
    before = data.read_bytes()
    (tmp_path / "taken.manifest.json").mkdir()
    words = ["prune", data, "--l2", 1e-2, *QUICK, "--rel-epsilon", 0.05]
    names = {"--out": out, "--certificate": certificate}
    given = [word for flag, name in names.items() if name for word in (flag, tmp_path / name)]
    assert message in refused_at_once(monkeypatch, *words, *given)
    assert data.read_bytes() == before
    call(*words, "--out", tmp_path / "fine.npz", "--certificate", tmp_path / "claim.json")


@pytest.mark.parametrize("flag", ["--kept", "--certificate"])
def test_a_folder_that_cannot_be_written_to_is_found_before_the_work(
    flag: str, data: Path, tmp_path: Path
) -> None:
    """Whatever the file is for, and before the data are read; another folder will do."""
    (tmp_path / "file").touch()
    name = {"--kept": "k.txt", "--certificate": "c.json"}[flag]
    words = ("--l2", 1e-2, *QUICK, "--size", 30, flag)
    said = refused("prune", "missing.npz", *words, tmp_path / "file" / name)
    assert str(tmp_path / "file") in said
    call("prune", data, *words, tmp_path / "new folder" / name)


def test_what_a_solver_remarks_is_saved_whatever_it_is(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sets, objects, NaN and arrays: the result is not lost at the end of a search.

    Mutation: `write_solution` that hands a solver's remarks on as they are: fails.
    """
    from subsetsel.engine import solve as engine

    strange: Any = {"a": {1}, "b": object(), "c": float("nan"), "d": np.arange(2), 5: 1j}
    search = engine.solve

    def remark(*arguments: Any, **options: Any) -> Solution:
        solution = search(*arguments, **options)
        return replace(solution, stats={**solution.stats, **strange})

    monkeypatch.setattr(engine, "solve", remark)
    for suffix in ("npz", "parquet"):
        out = tmp_path / f"p.{suffix}"
        prune(data, "--size", 30, "--out", out)
        stats = read_solution(out).stats
        assert (stats["a"], stats["c"], stats["d"], stats["5"]) == ([1], None, [0, 1], "1j")
        assert call("verify", out, "--data", data).exit_code == 0


def test_a_repeated_run_on_reordered_data_goes_by_ids(data: Path, tmp_path: Path) -> None:
    """The same names in another order are the same subset."""
    manifest = Manifest.of(
        Solution(np.arange(120) < 40, norm=0.1, status="feasible"),
        command="prune",
        settings={},
        inputs={},
        ids=np.arange(120),
    )
    turned = replace(manifest, pruned=[str(name) for name in manifest.pruned[::-1]])
    assert repeated_code(ExitCode.DONE, manifest, turned) == ExitCode.DONE
