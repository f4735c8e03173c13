"""Readers of users' files: what they accept, and what they refuse without harm."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subsetsel.errors import FileFormatError
from subsetsel.formats import read_data, read_matrix

S = np.arange(6.0).reshape(3, 2)


def npy_bytes(array: np.ndarray[Any, Any]) -> bytes:
    """What numpy.save writes."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def write_npz(path: Path, members: dict[str, bytes]) -> Path:
    """A zip archive with raw members."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_npy_is_mapped_not_copied(tmp_path: Path) -> None:
    """A matrix larger than memory can be opened."""
    np.save(tmp_path / "S.npy", S)
    array = read_matrix(tmp_path / "S.npy")
    assert isinstance(array, np.memmap)
    assert np.array_equal(array, S)


def test_a_single_array_of_an_npz_needs_no_key(tmp_path: Path) -> None:
    """Its name does not matter."""
    np.savez(tmp_path / "S.npz", anything=S)
    assert np.array_equal(read_matrix(tmp_path / "S.npz"), S)


def test_several_arrays_need_a_key(tmp_path: Path) -> None:
    """The error lists them."""
    np.savez(tmp_path / "S.npz", a=S, b=2 * S)
    with pytest.raises(FileFormatError, match=r"2 arrays \(a, b\); say which with --key"):
        read_matrix(tmp_path / "S.npz")
    assert np.array_equal(read_matrix(tmp_path / "S.npz", "b"), 2 * S)
    with pytest.raises(FileFormatError, match="no array 'c'; it holds a, b"):
        read_matrix(tmp_path / "S.npz", "c")


@pytest.mark.parametrize("header", ["", "u,v\n"])
def test_a_csv_matrix_may_have_names(header: str, tmp_path: Path) -> None:
    """A first line of text is names, a first line of numbers is data."""
    (tmp_path / "S.csv").write_text(header + "0.0,1\n2,3\n4,5\n")
    assert np.array_equal(read_matrix(tmp_path / "S.csv"), S)


def test_npz_data_with_ids_and_text_labels(tmp_path: Path) -> None:
    """Labels may be strings; ids are carried."""
    np.savez(tmp_path / "d.npz", X=S, y=np.array(["cat", "dog", "cat"]), ids=np.array([7, 8, 9]))
    data = read_data(tmp_path / "d.npz")
    assert data.y.tolist() == ["cat", "dog", "cat"]
    assert data.ids is not None
    assert data.ids.tolist() == [7, 8, 9]


def test_csv_data_by_column_names(tmp_path: Path) -> None:
    """The label and id columns are taken out, the others are features."""
    (tmp_path / "d.csv").write_text("id,height,species,width\na,1.5,x,2\nb,2.5,y,3\n")
    data = read_data(tmp_path / "d.csv", label="species")
    assert data.X.tolist() == [[1.5, 2.0], [2.5, 3.0]]
    assert data.y.tolist() == ["x", "y"]
    assert data.ids is not None
    assert data.ids.tolist() == ["a", "b"]


def test_tsv_and_integer_labels(tmp_path: Path) -> None:
    """Tabs separate; labels of digits are integers, so 10 sorts after 9."""
    (tmp_path / "d.tsv").write_text("u\ty\n1\t9\n2\t10\n")
    assert read_data(tmp_path / "d.tsv").y.dtype == np.int64


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("d.csv", b"u,v\n1,2\n", "no column 'y'; its columns are u, v"),
        ("d.csv", b"u,y\n1,0\n1\n", "line 3: 1 cells where the first line has 2"),
        ("d.csv", b"u,y\n\n1,0\n1\n", "line 4: 1 cells where the first line has 2"),
        ("d.csv", b"u,y\nred,0\n1,1\n", "line 2: 'red' in column 1, 'u', is not a number"),
        ("d.csv", b"u,y\n", "at least one example"),
        ("d.csv", b"\xff\xfe\x00", "UTF-8"),
        ("d.npz", b"PK\x03\x04 cut off", "not an npz file, or is damaged"),
        ("d.npz", b"", "not an npz file, or is damaged"),
        ("d.npy", b"\x93NUMPY", "holds one array, and X and y are needed"),
        ("d.pkl", b"\x80\x04", "must end in one of"),
    ],
)
def test_bad_data_files_are_refused(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    """Each with an error that says what is wrong."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        read_data(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The path is in the error."""
    with pytest.raises(FileNotFoundError) as caught:
        read_data(tmp_path / "none.npz")
    assert caught.value.filename == str(tmp_path / "none.npz")


def test_a_cut_npy_is_refused(tmp_path: Path) -> None:
    """Half a file is no matrix."""
    (tmp_path / "S.npy").write_bytes(npy_bytes(S)[:-8])
    with pytest.raises(FileFormatError, match="damaged"):
        read_matrix(tmp_path / "S.npy")


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    """An object array runs no code.

    Mutation: `_check_header` lets arrays of objects pass: fails.
    """

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, ("raise SystemExit('the pickle ran')",))

    bomb = np.array([Bomb(), 1, 2], dtype=object)
    np.save(tmp_path / "S.npy", bomb, allow_pickle=True)
    np.savez(tmp_path / "d.npz", X=S, y=bomb)
    with pytest.raises(FileFormatError, match="is not an npy array"):
        read_matrix(tmp_path / "S.npy")
    with pytest.raises(FileFormatError, match="never unpickled"):
        read_data(tmp_path / "d.npz")


def test_a_claimed_size_is_checked_before_anything_is_allocated(tmp_path: Path) -> None:
    """A header of 8 TB with 48 bytes behind it is refused.

    Mutation: `_read` without `_check_header`: fails.
    """
    forged = npy_bytes(S).replace(b"(3, 2)", b"(1000000000000,)"[:16])
    forged = forged.replace(b"}" + b" " * 10, b"}", 1)
    path = write_npz(tmp_path / "S.npz", {"S.npy": forged})
    with pytest.raises(FileFormatError, match=r"claims shape \(1000000000000,\)"):
        read_matrix(path)


def test_text_is_no_matrix(tmp_path: Path) -> None:
    """Strings and complex numbers are refused by name."""
    np.save(tmp_path / "S.npy", np.array(["a", "b"]))
    with pytest.raises(FileFormatError, match="must hold real numbers, it holds <U1"):
        read_matrix(tmp_path / "S.npy")


@settings(max_examples=200, deadline=None)
@given(cut=st.integers(0, 600), noise=st.binary(max_size=8), suffix=st.sampled_from(["npy", "npz"]))
def test_damaged_files_raise_nothing_else(
    cut: int, noise: bytes, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A file overwritten anywhere is read whole or refused as damaged: no other exception."""
    folder = tmp_path_factory.getbasetemp()
    stream = io.BytesIO()
    if suffix == "npy":
        np.save(stream, S)
    else:
        np.savez(stream, X=S, y=np.arange(3))
    content = stream.getvalue()
    path = folder / f"d.{suffix}"
    path.write_bytes(content[:cut] + noise + content[cut + len(noise) :])
    try:
        array = read_matrix(path) if suffix == "npy" else read_data(path).X
    except FileFormatError:
        return
    assert array.dtype.kind in "fiu"


# --- hostile archives ---------------------------------------------------------------------------


def test_a_directory_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    """Header and directory agree on 8 TB; the file has 200 bytes.

    Mutation: `_check_member` without its comparison with the size of the file: NumPy is asked for
    8 TB, and the message is another.
    """
    shape = (10**12,)
    stream = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    start = stream.getvalue()
    path = write_npz(tmp_path / "S.npz", {"S.npy": start})
    with zipfile.ZipFile(path) as archive:
        (member,) = archive.infolist()
    forged = with_claimed_size(path.read_bytes(), len(start), len(start) + 8 * shape[0])
    path.write_bytes(forged)
    assert member.file_size == len(start)
    with pytest.raises(FileFormatError, match="can hold; it is truncated or forged"):
        read_matrix(path)


def with_claimed_size(content: bytes, size: int, claimed: int) -> bytes:
    """Replace the unpacked size in a directory of one member, by a zip64 extra where needed."""
    start = content.rindex(b"PK\x01\x02")
    end = content.rindex(b"PK\x05\x06")
    entry = bytearray(content[start:end])
    assert int.from_bytes(entry[24:28], "little") == size
    extra = (1).to_bytes(2, "little") + (8).to_bytes(2, "little") + claimed.to_bytes(8, "little")
    entry[24:28] = b"\xff" * 4
    entry[30:32] = len(extra).to_bytes(2, "little")
    tail = bytearray(content[end:])
    tail[12:16] = (len(entry) + len(extra)).to_bytes(4, "little")
    return content[:start] + bytes(entry) + extra + bytes(tail)


def test_items_of_no_bytes_are_not_endless(tmp_path: Path) -> None:
    """A million million texts of no letters take no byte, and would take for ever.

    Mutation: `_check_header` without its question for them: fails.
    """
    stream = io.BytesIO()
    header = {"descr": "<U0", "fortran_order": False, "shape": (10**12,)}
    np.lib.format.write_array_header_1_0(stream, header)
    path = write_npz(tmp_path / "d.npz", {"X.npy": npy_bytes(S), "y.npy": stream.getvalue()})
    with pytest.raises(FileFormatError, match="truncated or forged"):
        read_data(path)


def test_a_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight megabytes of zeros in eight kilobytes, and one megabyte free.

    Mutation: `_check_member` without `check_fits`: fails.
    """
    np.savez_compressed(tmp_path / "S.npz", S=np.zeros((1000, 1000)))
    monkeypatch.setattr("subsetsel.support.memory.free_memory", lambda: 1 << 20)
    with pytest.raises(FileFormatError, match=r"would take 7\.63 MiB of memory, and 1 MiB"):
        read_matrix(tmp_path / "S.npz")


def test_a_method_that_numpy_does_not_write_is_refused(tmp_path: Path) -> None:
    """The dictionary of an LZMA stream alone may be 4 GiB.

    Mutation: `_check_member` without its list of methods: fails.
    """
    path = tmp_path / "S.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("S.npy", npy_bytes(S))
    with pytest.raises(FileFormatError, match="compressed in a way no npz file is"):
        read_matrix(path)
