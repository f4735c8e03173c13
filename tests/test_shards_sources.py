"""Files in shards: what is read, how it is cut, and what is refused, by file and row."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subsetsel import Problem
from subsetsel.errors import FileFormatError, OptionError, ProblemError
from subsetsel.shards.files import find_files
from subsetsel.shards.pieces import load_arrays
from subsetsel.shards.sources import open_table
from subsetsel.shards.table import Shards
from subsetsel.shards.workers import Serial

X = np.random.default_rng(0).normal(size=(23, 4)).astype(np.float32)
CODES = np.arange(23) % 3
Y = np.array(["cat", "dog", "horse"])[CODES]


def write_npy(path: Path, features: Any, labels: Any, **_: Any) -> None:
    """Features alone: an npy file holds one array."""
    np.save(path, features)


def write_npz(path: Path, features: Any, labels: Any, **_: Any) -> None:
    """Arrays ``X`` and ``y``."""
    np.savez(path, X=features, y=labels)


def write_packed(path: Path, features: Any, labels: Any, **_: Any) -> None:
    """Arrays ``X`` and ``y``, compressed."""
    np.savez_compressed(path, X=features, y=labels)


def write_parquet(path: Path, features: Any, labels: Any, *, group: int = 5) -> None:
    """A column for each feature, and ``y``."""
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    import pyarrow.parquet

    columns = {f"f{k}": column for k, column in enumerate(features.T)}
    pyarrow.parquet.write_table(arrow.table({**columns, "y": labels}), path, row_group_size=group)


def write_lists(path: Path, features: Any, labels: Any, **_: Any) -> None:
    """One column of lists, and ``y``."""
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    import pyarrow.parquet

    table = arrow.table({"e": features.tolist(), "y": labels})
    pyarrow.parquet.write_table(table, path, row_group_size=5)


def write_zarr(path: Path, features: Any, labels: Any, *, group: int = 5) -> None:
    """A group of the arrays ``X`` and ``y``; codes stand for the texts of labels."""
    zarr = pytest.importorskip("zarr", reason="needs zarr")
    store = zarr.open_group(path, mode="w")
    store.create_array("X", data=features, chunks=(group, 3))
    store.create_array(
        "y", data=CODES[np.searchsorted(["cat", "dog", "horse"], labels)], chunks=(group,)
    )


WRITERS: dict[str, tuple[str, Callable[..., None]]] = {
    "npy": (".npy", write_npy),
    "npz": (".npz", write_npz),
    "packed": (".npz", write_packed),
    "parquet": (".parquet", write_parquet),
    "lists": (".parquet", write_lists),
    "zarr": (".zarr", write_zarr),
}


def written(folder: Path, kind: str, cuts: tuple[int, ...] = (7, 7, 8)) -> str:
    """Write X and Y in several files, part-8 to part-11, and give the glob of them."""
    ending, write = WRITERS[kind]
    parts = zip(np.split(X, cuts), np.split(Y, cuts), strict=True)
    for k, (features, labels) in enumerate(parts):
        if len(features) or kind != "lists":
            write(folder / f"part-{8 + k}{ending}", features, labels)
    return str(folder / f"part-*{ending}")


def joined(shards: Shards) -> tuple[Any, Any]:
    """Everything in the shards, brought here."""
    parts = shards.map(identity)
    if isinstance(parts[0], tuple):
        return np.vstack([x for x, _ in parts]), np.concatenate([y for _, y in parts])
    return np.concatenate(parts), None


def identity(value: Any) -> Any:
    """What a shard holds."""
    return value


@pytest.mark.parametrize("rows_per_shard", [None, 1, 5, 100])
@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_gives_the_rows_in_natural_order(
    kind: str, rows_per_shard: int | None, tmp_path: Path
) -> None:
    """part-8 comes before part-10, an empty file is skipped, and no number or label changes."""
    label = None if kind == "npy" else "y"
    shards = open_table(written(tmp_path, kind), label=label, rows_per_shard=rows_per_shard)
    features, labels = joined(shards)
    np.testing.assert_array_equal(features, X)
    if label is not None:
        expected = CODES if kind == "zarr" else Y
        np.testing.assert_array_equal(labels, expected)
    if kind != "lists":
        assert features.dtype == np.float32
    assert shards.n == 23


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 23), max_size=4).map(sorted),
    rows_per_shard=st.integers(1, 30),
    dtype=st.sampled_from(["f4", ">f4", "f8", "f2", "i1", "u2", "i4", "i8", "?"]),
    order=st.sampled_from("CF"),
)
def test_any_cut_of_any_type_is_exact(
    cuts: list[int],
    rows_per_shard: int,
    dtype: str,
    order: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Shards keep their limit, and every number is what was stored, as float32 or float64."""
    folder = tmp_path_factory.mktemp("cut")
    stored = (10 * X).astype(dtype)
    for k, part in enumerate(np.split(stored, cuts)):
        np.save(folder / f"{k}.npy", np.array(part, order=order))
    shards = open_table(folder, rows_per_shard=rows_per_shard)
    assert max(np.diff(shards.starts)) <= rows_per_shard
    features, _ = joined(shards)
    assert features.dtype in {np.dtype(np.float32), np.dtype(np.float64)}
    np.testing.assert_array_equal(features, stored)


def test_large_files_are_cut_and_small_ones_fill_a_shard(tmp_path: Path) -> None:
    """With 10 rows a shard, 23 rows make ranges of 8, 8 and 7, and files of 3 join the last."""
    np.save(tmp_path / "0.npy", X)
    for k in range(1, 4):
        np.save(tmp_path / f"{k}.npy", X[:3])
    shards = open_table(tmp_path, rows_per_shard=10)
    assert np.diff(shards.starts).tolist() == [8, 8, 10, 6]
    assert shards.locate(31) == f"row 2 of {tmp_path / '3.npy'}"
    assert shards.locate(8) == f"row 8 of {tmp_path / '0.npy'}"


@pytest.mark.parametrize("rows_per_shard", [None, 1, 7, 100])
def test_a_map_begins_where_a_copy_would(
    rows_per_shard: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums of float64 depend on the address: none begins beside a multiple of 16 bytes."""
    monkeypatch.setattr("subsetsel.shards.files.SHARD_BYTES", 24 * 50)
    np.save(tmp_path / "X.npy", np.ones((200, 3)))
    files = find_files(tmp_path / "X.npy", Serial())
    found = [load_arrays(one) for one in files.cut(rows_per_shard, is_mapped=True)]
    assert {array.ctypes.data % 16 for array in found} == {0}
    if rows_per_shard is None:
        assert [len(array) for array in found] == [48, 48, 48, 48, 8]
        assert all(isinstance(array, np.memmap) for array in found)


def test_parquet_is_cut_between_row_groups(tmp_path: Path) -> None:
    """Groups of five rows are read as a whole, two to a shard of eleven rows at most."""
    write_parquet(tmp_path / "t.parquet", X, Y)
    shards = open_table(tmp_path / "t.parquet", label="y", rows_per_shard=11)
    assert np.diff(shards.starts).tolist() == [10, 10, 3]


def test_a_source_is_small_and_reads_the_same_after_a_journey(tmp_path: Path) -> None:
    """What travels to a worker is a few hundred bytes, and makes the same rows there, unmapped."""
    np.save(tmp_path / "X.npy", np.tile(X, (100, 1)))
    (source,) = find_files(tmp_path / "X.npy", Serial()).cut(None, is_mapped=False)
    packed = pickle.dumps(source)
    found = load_arrays(pickle.loads(packed))
    np.testing.assert_array_equal(found, np.tile(X, (100, 1)))
    assert type(found) is np.ndarray
    assert len(packed) < 1000


def test_labels_and_weights_are_read_as_they_are_stored(tmp_path: Path) -> None:
    """Files of one value per example keep their type."""
    for name, values in (("y", Y), ("w", np.arange(23))):
        np.save(tmp_path / f"{name}.npy", values)
        found, _ = joined(open_table(tmp_path / f"{name}.npy", rows_per_shard=10))
        np.testing.assert_array_equal(found, values)
        assert found.dtype == values.dtype


def test_a_table_of_one_column_of_texts_holds_labels(tmp_path: Path) -> None:
    """It is given as one text per row, as in a file of labels."""
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    import pyarrow.parquet

    pyarrow.parquet.write_table(arrow.table({"y": Y}), tmp_path / "y.parquet", row_group_size=7)
    found, _ = joined(open_table(tmp_path / "y.parquet", rows_per_shard=7))
    np.testing.assert_array_equal(found, Y)


def test_a_list_of_texts_is_labels_and_no_list_of_files(tmp_path: Path) -> None:
    """Beside features in files, labels may be a list as anywhere.

    Mutation: a list of texts is opened as files: there is no file 'cat'.
    """
    X = np.random.default_rng(0).normal(size=(60, 3))
    np.save(tmp_path / "X.npy", X)
    labels = ["cat" if x > 0 else "dog" for x in X[:, 0]]
    of_list, of_array = (
        Problem.from_features(str(tmp_path / "X.npy"), y, l2=0.1, epsilon=1.0)
        for y in (labels, np.array(labels))
    )
    assert np.array_equal(of_list.rows.squared_norms, of_array.rows.squared_norms)


def test_columns_are_chosen_by_name(tmp_path: Path) -> None:
    """Of a table some columns, in the order named; of arrays one."""
    write_parquet(tmp_path / "t.parquet", X, Y)
    found, _ = joined(open_table(tmp_path / "t.parquet", columns=["f2", "f0"]))
    np.testing.assert_array_equal(found, X[:, [2, 0]])
    np.savez(tmp_path / "t.npz", a=X, b=2 * X, y=Y)
    found, _ = joined(open_table(tmp_path / "t.npz", columns=["b"], label="y"))
    np.testing.assert_array_equal(found, 2 * X)


def test_columns_may_stand_in_another_order_in_each_file(tmp_path: Path) -> None:
    """They are read by name, in the order of the first file."""
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    import pyarrow.parquet

    for name, order in (("a", "pqr"), ("b", "rpq")):
        table = arrow.table({one: [float("pqr".index(one))] for one in order})
        pyarrow.parquet.write_table(table, tmp_path / f"{name}.parquet")
    found, _ = joined(open_table(tmp_path))
    np.testing.assert_array_equal(found, [[0.0, 1.0, 2.0]] * 2)


# --- what is refused, each with its cure tried ----------------------------------------------------


@pytest.mark.parametrize("kind", WRITERS)
def test_a_number_that_is_none_is_named_by_file_row_and_column(kind: str, tmp_path: Path) -> None:
    """The row is that of the file, whatever shard it is in; without it the rest is taken."""
    ending, write = WRITERS[kind]
    path, bad = tmp_path / f"t{ending}", X.copy()
    bad[17, 2] = np.nan
    write(path, bad, Y)
    with pytest.raises(ProblemError, match=rf"column 2 of row 17 of {path} is nan; remove"):
        open_table(path, label=None if kind == "npy" else "y", rows_per_shard=5)
    write(path, np.delete(bad, 17, axis=0), np.delete(Y, 17))
    assert open_table(path, label=None if kind == "npy" else "y", rows_per_shard=5).n == 22


def test_a_missing_value_of_a_column_is_named_by_its_row_in_the_file(tmp_path: Path) -> None:
    """Of features and of labels, in a later row group; filled in, they are taken."""
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    import pyarrow.parquet

    path = tmp_path / "t.parquet"
    for name in ("f", "y"):
        columns: dict[str, list[Any]] = {"f": [1.0] * 9, "y": ["a"] * 9}
        columns[name][7] = None
        pyarrow.parquet.write_table(arrow.table(columns), path, row_group_size=4)
        with pytest.raises(FileFormatError, match=rf"t.parquet: column '{name}' .* row 7\. Fill"):
            open_table(path, label="y", rows_per_shard=4)
        columns[name][7] = columns[name][0]
        pyarrow.parquet.write_table(arrow.table(columns), path, row_group_size=4)
        assert open_table(path, label="y", rows_per_shard=4).n == 9


def test_a_file_that_changes_or_goes_is_named(tmp_path: Path) -> None:
    """A round after it refuses; opened again, the data is as it is now.

    Mutation: a file that changed is read: fails.
    """
    path = tmp_path / "t.npy"
    np.save(path, X)
    shards = open_table(path)
    np.save(path, X[:5])
    with pytest.raises(FileFormatError, match=r"t\.npy was changed since .*Open the data again"):
        shards.map(identity)
    np.testing.assert_array_equal(joined(open_table(path))[0], X[:5])
    shards = open_table(path)
    content = path.read_bytes()
    os.utime(path, ns=(1, 1))
    with pytest.raises(FileFormatError, match="or another time of change"):
        shards.map(identity)
    path.unlink()
    with pytest.raises(FileFormatError, match=r"can no longer be read \(No such file.*Put it back"):
        shards.map(identity)
    path.write_bytes(content)
    assert open_table(path).n == 5


def write_bad_files(folder: Path) -> None:
    """Files that are no tables, or not by themselves."""
    half = X[:, :3]
    np.save(folder / "a.npy", X)
    np.save(folder / "b.npy", half)
    np.save(folder / "text.npy", np.full((3, 2), "a"))
    np.save(folder / "cube.npy", np.zeros((2, 2, 2)))
    np.save(folder / "empty.npy", X[:0])
    np.save(folder / "long.npy", np.array([[0, 2**53 + 1]]))
    (folder / "junk.npy").write_bytes(b"no array")
    (folder / "junk.parquet").write_bytes(b"no table")
    (folder / "junk.npz").write_bytes(b"no archive")
    (folder / "junk.zarr").mkdir()
    np.savez(folder / "columns.npz", X=np.asfortranarray(X))
    (folder / "note.txt").write_text("text")
    np.savez(folder / "c.npz", X=X, y=Y[:3])
    np.savez(folder / "d.npz", p=X, q=X)
    np.savez(folder / "e.npz", X=X, y=Y)
    np.savez(folder / "f.npz", X=X, y=np.arange(23))
    write_parquet(folder / "g.parquet", X, Y)
    write_parquet(folder / "h.parquet", X.astype(np.float64), Y)


def bad_files(folder: Path) -> dict[str, tuple[Any, dict[str, Any], str]]:
    """Data that is refused: paths, options, and words of the message."""
    write_bad_files(folder)
    a, b = folder / "a.npy", folder / "b.npy"
    return {
        "no file": (folder / "none-*.npy", {}, "no file matches"),
        "no list": ([], {}, "the list of files is empty"),
        "address": ("s3://bucket/a.npy", {}, "give a dask array"),
        "ending": (folder / "note.txt", {}, "end in one of .npy"),
        "two kinds": ([a, folder / "e.npz"], {}, "of two kinds"),
        "twice": ([a, a], {}, "named twice"),
        "widths": ([a, b], {}, "b.npy has 3 numbers in a row, and"),
        "text": (folder / "text.npy", {}, "real numbers of at most 64 bits"),
        "cube": (folder / "cube.npy", {}, "has shape (2, 2, 2)"),
        "empty": (folder / "empty.npy", {}, "hold no example"),
        "inexact": (folder / "long.npy", {}, "9007199254740993 in row 0, column 1"),
        "junk": (folder / "junk.npy", {}, "is not an npy array"),
        "junk table": (folder / "junk.parquet", {}, "is not a parquet file"),
        "junk archive": (folder / "junk.npz", {}, "is not an npz file"),
        "junk store": (folder / "junk.zarr", {}, "is not a zarr store"),
        "by columns": (folder / "columns.npz", {}, "store numpy.ascontiguousarray(array)"),
        "label of npy": (a, {"label": "y"}, "Give the labels by themselves"),
        "label": (
            folder / "d.npz",
            {"label": "y"},
            "has no array 'y' of labels; it holds 'p', 'q'",
        ),
        "array": (folder / "d.npz", {}, "with columns=[...]"),
        "arrays": (folder / "d.npz", {"columns": ["p", "q"]}, "name one of 'p', 'q'"),
        "lengths": (folder / "c.npz", {"label": "y"}, "each needs one row per example"),
        "label types": (
            [folder / "e.npz", folder / "f.npz"],
            {"label": "y"},
            "'y' is not the same in",
        ),
        "column": (
            folder / "g.parquet",
            {"label": "kind"},
            "no column 'kind'; its columns are 'f0'",
        ),
        "column types": (
            [folder / "g.parquet", folder / "h.parquet"],
            {"label": "y"},
            "of the same types",
        ),
        "texts": (folder / "g.parquet", {}, "column 'y' holds string, not numbers"),
    }


@pytest.mark.parametrize(
    "case",
    [
        *(
            "no file",
            "no list",
            "address",
            "ending",
            "two kinds",
            "twice",
            "widths",
            "text",
            "cube",
        ),
        *("empty", "inexact", "junk", "junk table", "junk archive", "junk store", "by columns"),
        *("label of npy", "label", "array", "arrays"),
        *("lengths", "label types", "column", "column types", "texts"),
    ],
)
def test_what_is_no_table_is_refused(case: str, tmp_path: Path) -> None:
    """The message names the file, what it holds, and what to do."""
    paths, options, words = bad_files(tmp_path)[case]
    with pytest.raises((FileFormatError, FileNotFoundError)) as error:
        open_table(paths, **options)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("paths", "options"),
    [
        (["a.npy"], {}),
        (["b.npy"], {}),
        (["empty.npy", "a.npy"], {}),
        (["d.npz"], {"columns": ["p"]}),
        (["e.npz"], {"label": "y"}),
        (["c.npz"], {}),
        (["g.parquet"], {"label": "y"}),
        (["h.parquet"], {"columns": ["f3", "f1"], "label": "y"}),
    ],
)
def test_the_cures_of_what_is_refused(
    paths: list[str], options: dict[str, Any], tmp_path: Path
) -> None:
    """Each file by itself, or with the names that the messages ask for, is taken."""
    write_bad_files(tmp_path)
    assert open_table([tmp_path / one for one in paths], **options).n == 23


@pytest.mark.parametrize("value", [0, -3, 2.5, True, "many"])
def test_rows_of_a_shard_are_a_positive_whole_number(value: Any, tmp_path: Path) -> None:
    """Anything else is refused by its value."""
    np.save(tmp_path / "a.npy", X)
    with pytest.raises(OptionError, match=r"rows_per_shard must be a positive whole number, got"):
        open_table(tmp_path / "a.npy", rows_per_shard=value)


def test_a_row_group_that_no_worker_could_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sixteenth of the plan is the most for one; smaller groups are taken.

    Mutation: any size is taken: fails.
    """
    path = tmp_path / "t.parquet"
    monkeypatch.setattr("subsetsel.shards.files.planned_memory", lambda: 16 * 200)
    write_parquet(path, X, Y, group=23)
    with pytest.raises(FileFormatError, match=r"pieces of 23 rows.*368 bytes.*row_group_size"):
        find_files(path, Serial(), label="y")
    write_parquet(path, X, Y, group=5)
    assert find_files(path, Serial(), label="y").num_rows == 23
