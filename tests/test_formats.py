"""safetensors and parquet, and a subset written in every format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from subsetsel import FileFormatError, OptionError, ProblemError, Solution
from subsetsel.errors import MissingExtraError
from subsetsel.formats import (
    SUBSET_SUFFIXES,
    read_data,
    read_matrix,
    read_solution,
    write_solution,
)

X = np.arange(12, dtype=np.float32).reshape(6, 2)
KINDS = np.array(["a", "b", "c", "a", "b", "c"])
IDS = np.array([f"image-{i}" for i in range(6)])


def tensors(path: Path, arrays: dict[str, Any], **texts: list[str]) -> Path:
    """A safetensors file."""
    library = pytest.importorskip("safetensors.numpy", reason="needs safetensors")
    library.save_file(arrays, path, metadata={k: json.dumps(v) for k, v in texts.items()})
    return path


def parquet(path: Path, columns: dict[str, Any]) -> Path:
    """A parquet file."""
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    import pyarrow.parquet

    pyarrow.parquet.write_table(arrow.table(columns), path)
    return path


# --- safetensors --------------------------------------------------------------------------------


def test_tensors_with_text_labels_and_ids_in_the_metadata(tmp_path: Path) -> None:
    """Tensors hold no text, so JSON lists beside them do."""
    path = tensors(tmp_path / "d.safetensors", {"X": X}, y=KINDS.tolist(), ids=IDS.tolist())
    data = read_data(path)
    assert np.array_equal(data.X, X)
    assert data.y.tolist() == KINDS.tolist()
    assert data.ids is not None
    assert data.ids.tolist() == IDS.tolist()


def test_tensors_of_integers_are_labels_and_ids(tmp_path: Path) -> None:
    """Numbers need no metadata."""
    arrays = {"X": X, "y": np.arange(6), "ids": 7 * np.arange(6)}
    data = read_data(tensors(tmp_path / "d.safetensors", arrays))
    assert data.y.tolist() == [0, 1, 2, 3, 4, 5]
    assert data.ids is not None
    assert data.ids[-1] == 35


def test_a_bfloat16_matrix_is_widened(tmp_path: Path) -> None:
    """NumPy has no bfloat16; float32 holds every one exactly."""
    torch_files = pytest.importorskip("safetensors.torch", reason="needs safetensors")
    import torch

    S = torch.arange(6.0).reshape(3, 2)
    torch_files.save_file({"S": S.bfloat16()}, tmp_path / "S.safetensors")
    read = read_matrix(tmp_path / "S.safetensors")
    assert read.dtype == np.float32
    assert np.array_equal(read, S.numpy())


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({}, "has no tensor 'y'; it holds X"),
        ({"y": [1, 2]}, "must be a JSON list of texts"),
    ],
)
def test_tensors_without_labels_are_refused(
    texts: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """The error says what the file holds."""
    with pytest.raises(FileFormatError, match=message):
        read_data(tensors(tmp_path / "d.safetensors", {"X": X}, **texts))


def test_a_tensor_that_claims_more_than_its_file_holds_is_refused(tmp_path: Path) -> None:
    """The header says 8 TB, 24 bytes follow; nothing is allocated."""
    pytest.importorskip("safetensors", reason="needs safetensors")
    size = 10**12
    entry = {"dtype": "F64", "shape": [size], "data_offsets": [0, 8 * size]}
    header = json.dumps({"S": entry}).encode()
    path = tmp_path / "S.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(24))
    with pytest.raises(FileFormatError, match="is not a safetensors file, or is damaged"):
        read_matrix(path)


# --- parquet ------------------------------------------------------------------------------------


def test_parquet_columns_by_name(tmp_path: Path) -> None:
    """Label and id are taken out; float32 stays float32."""
    columns = {"name": IDS.tolist(), "p": X[:, 0], "kind": KINDS.tolist(), "q": X[:, 1]}
    data = read_data(parquet(tmp_path / "d.parquet", columns), label="kind", identity="name")
    assert data.X.dtype == np.float32
    assert np.array_equal(data.X, X)
    assert data.y.tolist() == KINDS.tolist()
    assert data.ids is not None
    assert data.ids.tolist() == IDS.tolist()


def test_a_parquet_column_of_lists_is_as_many_features(tmp_path: Path) -> None:
    """Embeddings are stored so; other columns stand beside them, and categories are decoded."""
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    kinds = arrow.array(KINDS.tolist()).dictionary_encode()
    columns = {"e": X.tolist(), "y": kinds, "more": np.arange(6)}
    data = read_data(parquet(tmp_path / "d.parquet", columns))
    assert np.array_equal(data.X, np.column_stack([X, np.arange(6)]))
    assert data.y.tolist() == KINDS.tolist()


def test_lists_of_lists_are_as_many_features(tmp_path: Path) -> None:
    """Pictures are stored so."""
    pictures = np.arange(24.0).reshape(3, 2, 4)
    path = parquet(tmp_path / "S.parquet", {"picture": pictures.tolist()})
    assert np.array_equal(read_matrix(path), pictures.reshape(3, 8))


def test_parquet_is_read_over_several_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows keep their order whatever the size of a batch."""
    monkeypatch.setattr("subsetsel.formats.parquet._BATCH", 4)
    path = parquet(tmp_path / "S.parquet", {"e": X.tolist(), "f": X[:, 0]})
    assert np.array_equal(read_matrix(path), np.column_stack([X, X[:, 0]]))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"p": [1.0, 2.0]}, "no column 'y'; its columns are p"),
        ({"p": ["red", "blue"], "y": [0, 1]}, "column 'p' holds string, not numbers"),
        ({"e": [[1.0], [2.0, 3.0]], "y": [0, 1]}, "2 in row 1, and 1 in row 0"),
        ({"e": [[[1.0]] * 2, [[1.0], [2.0, 3.0]]], "y": [0, 1]}, "2 in row 1, and 1 in row 0"),
        ({"e": [[1.0], None], "y": [0, 1]}, "'e' has no value in row 1"),
        ({"e": [None, [1.0], [2.0]], "y": [0, 1, 2]}, "'e' has no value in row 0"),
        ({"p": [1.0, None], "y": [0, 1]}, "'p' has no value in row 1"),
        ({"e": [["red"], ["blue"]], "y": [0, 1]}, "holds list<.*string>, not numbers"),
        ({"p": [1.0, 2.0], "y": [0, None]}, r"column 'y' has no value in row 1\. Fill it in"),
        ({"y": [0, 1]}, "no column of features"),
        ({"p": [], "y": []}, "holds no example"),
    ],
)
def test_bad_parquet_is_refused(columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Each with the column, and the row where there is one."""
    with pytest.raises(FileFormatError, match=message):
        read_data(parquet(tmp_path / "d.parquet", columns))


@pytest.mark.parametrize(
    ("lists", "n", "message"),
    [
        ([[[1.0], [2.0]]], 1, "says it has 1 rows and holds more"),
        ([[[1.0], [2.0]]], 3, "says it has 3 rows and holds 2"),
        ([], 3, "says it has 3 rows and holds 0"),
        ([[[1.0]], [[1.0, 2.0]]], 2, "p differ in length: 2 numbers in row 1, and 1 in row 0"),
    ],
)
def test_batches_that_contradict_their_source_are_refused(lists: Any, n: int, message: str) -> None:
    """More or fewer rows than were announced, or lists that grow longer."""
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow")
    from subsetsel.support.arrow import join_features

    batches = [arrow.record_batch({"p": one}) for one in lists]
    with pytest.raises(ProblemError, match=message):
        join_features("the file", n, ["p"], batches)


@pytest.mark.parametrize("keep", [0, 3, 40, -9])
def test_cut_files_are_refused(keep: int, tmp_path: Path) -> None:
    """Whichever end is missing."""
    files = (
        tensors(tmp_path / "d.safetensors", {"X": X, "y": np.arange(6)}),
        parquet(tmp_path / "d.parquet", {"p": X[:, 0], "y": np.arange(6)}),
    )
    for path in files:
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(FileFormatError):
            read_data(path)


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_what_memory_cannot_hold_is_refused_before_it_is_asked_to(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small file may truly unpack to more than there is: a million zeros, and 1 MB free."""
    zeros = np.zeros(1_000_000)
    path = tmp_path / f"S.{suffix}"
    if suffix == "npz":
        np.savez_compressed(path, S=zeros[:, None])
    else:
        parquet(path, {"S": zeros})
    monkeypatch.setattr("subsetsel.support.memory.free_memory", lambda: 10**6)
    with pytest.raises(FileFormatError, match=r"would take 7\.6\d+ MiB of memory, and 976\.6 KiB"):
        read_matrix(path)


# --- subsets ------------------------------------------------------------------------------------


@pytest.fixture
def solution() -> Solution:
    """Two of six pruned."""
    mask = np.isin(np.arange(6), [1, 4])
    return Solution(mask=mask, norm=0.5, status="feasible", epsilon=1.0, solver="greedy", seed=3)


@pytest.mark.parametrize("suffix", SUBSET_SUFFIXES)
@pytest.mark.parametrize("ids", [None, IDS, 7 * np.arange(6)], ids=["none", "text", "numbers"])
def test_a_subset_comes_back_from_every_format(
    solution: Solution, suffix: str, ids: Any, tmp_path: Path
) -> None:
    """The same examples; and the rest of the solution but from text."""
    pytest.importorskip({".parquet": "pyarrow", ".safetensors": "safetensors"}.get(suffix, "csv"))
    path = tmp_path / f"s{suffix}"
    write_solution(solution, path, ids)
    back = read_solution(path)
    assert np.array_equal(back.mask, solution.mask)
    assert (back.epsilon, back.seed) == ((None, 0) if suffix in {".csv", ".tsv"} else (1.0, 3))
    assert list(tmp_path.iterdir()) == [path]


def test_ids_lie_beside_the_indices(solution: Solution, tmp_path: Path) -> None:
    """In every format, in the order of the examples."""
    pa = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
    st = pytest.importorskip("safetensors", reason="needs safetensors")
    for suffix in SUBSET_SUFFIXES:
        write_solution(solution, tmp_path / f"s{suffix}", IDS)
    with np.load(tmp_path / "s.npz") as arrays:
        assert arrays["ids"][arrays["pruned"]].tolist() == ["image-1", "image-4"]
    with st.safe_open(tmp_path / "s.safetensors", "numpy") as file:
        assert json.loads(file.metadata()["ids"]) == IDS.tolist()
    assert pa.read_table(tmp_path / "s.parquet").column("id").to_pylist() == IDS.tolist()
    assert (tmp_path / "s.csv").read_text().splitlines()[:3] == [
        "index,id,pruned",
        "0,image-0,0",
        "1,image-1,1",
    ]


def test_ids_that_are_objects_are_written_as_text(solution: Solution, tmp_path: Path) -> None:
    """An array of objects would have to be pickled."""
    solution.save(tmp_path / "s.npz", ids=np.array(["a", 1, None, "b", 2, 3], dtype=object))
    with np.load(tmp_path / "s.npz", allow_pickle=False) as arrays:
        assert arrays["ids"].tolist() == ["a", "1", "None", "b", "2", "3"]


@pytest.mark.parametrize(
    "text",
    [
        "index,kept\n0,1\n",  # another column
        "index,pruned\n0,yes\n",
        "index,pruned\n0,2\n1,0\n",
        "index,pruned\n0,1\n2,0\n",  # 1 is missing
        "index,pruned\n0,1\n0,0\n",  # twice
    ],
)
def test_a_table_that_is_no_subset_is_refused(text: str, tmp_path: Path) -> None:
    """Every index once, pruned or not."""
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(FileFormatError):
        read_solution(tmp_path / "s.csv")


@pytest.mark.parametrize("pruned", [[[0], [1]], [[0], [1, 0]], [0, None], [0.5, 1.0], ["0", "?"]])
def test_a_parquet_file_that_is_no_subset_is_refused(pruned: Any, tmp_path: Path) -> None:
    """Lists, missing values, shares and words are no marks."""
    with pytest.raises(FileFormatError):
        read_solution(parquet(tmp_path / "s.parquet", {"index": [0, 1], "pruned": pruned}))


def test_an_unknown_ending_is_refused(solution: Solution, tmp_path: Path) -> None:
    """The message lists those that are known."""
    with pytest.raises(OptionError, match=r"\.npz, \.safetensors, \.parquet"):
        write_solution(solution, tmp_path / "s.pkl")


@pytest.mark.parametrize(("suffix", "package"), [("parquet", "pyarrow"), ("safetensors",) * 2])
def test_a_missing_package_is_named_with_its_extra(
    suffix: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message is the command that mends it."""
    (tmp_path / f"d.{suffix}").write_bytes(b"?")

    def refuse(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    monkeypatch.setattr("subsetsel.support.optional.import_module", refuse)
    with pytest.raises(MissingExtraError, match=rf'pip install "subsetsel\[{suffix}\]"'):
        read_data(tmp_path / f"d.{suffix}")
