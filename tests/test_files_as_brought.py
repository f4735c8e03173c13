"""Files as people bring them: each is read right, or refused with a cure that works."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from subsetsel import FileFormatError, OptionError
from subsetsel.formats import Text, read_data, read_matrix

FRAME = pd.DataFrame({"u": [1.5, 2.5, 3.5], "y": ["a", "b", "a"]}, index=["p", "q", "r"])


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    """A file of text."""
    path.write_text(text, encoding=encoding)
    return path


def parquet(path: Path, frame: pd.DataFrame) -> Path:
    """A frame as pandas writes it."""
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    frame.to_parquet(path)
    return path


def table(kind: str, folder: Path, frame: pd.DataFrame) -> Path:
    """A frame in one of the formats of tables, by the usual call of pandas."""
    path = folder / f"d.{kind}"
    if kind == "parquet":
        return parquet(path, frame)
    if kind.startswith("jsonl"):
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, sep="\t" if kind.startswith("tsv") else ",")
    return path


TABLES = ("csv", "csv.gz", "tsv", "tsv.gz", "parquet", "jsonl", "jsonl.gz")


@pytest.mark.parametrize("kind", TABLES)
def test_every_table_gives_the_same_examples(kind: str, tmp_path: Path) -> None:
    """Packed or not; the index that pandas wrote is no feature and names the examples."""
    data = read_data(table(kind, tmp_path, FRAME))
    assert data.X.tolist() == [[1.5], [2.5], [3.5]]
    assert data.y.tolist() == ["a", "b", "a"]
    if not kind.startswith("jsonl"):  # whose writer leaves the index out
        assert data.ids is not None
        assert data.ids.tolist() == ["p", "q", "r"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_matrix_has_no_column_of_the_index(kind: str, tmp_path: Path) -> None:
    """S as a frame, saved as pandas saves by itself."""
    S = pd.DataFrame(np.arange(6.0).reshape(3, 2), columns=["a", "b"], index=[5, 7, 9])
    assert np.array_equal(read_matrix(table(kind, tmp_path, S)), S.to_numpy())


def test_dates_of_an_index_are_ids_as_text(tmp_path: Path) -> None:
    """Of a parquet file; a named index is one too."""
    frame = FRAME.set_index(pd.date_range("2026-01-01", periods=3, name="day"))
    ids = read_data(parquet(tmp_path / "d.parquet", frame)).ids
    assert ids is not None
    assert ids[1].startswith("2026-01-02")


@pytest.mark.parametrize("name", ["Unnamed: 0", "index", "level_0", "__index_level_0__"])
def test_a_column_that_pandas_named_is_refused_until_its_use_is_said(
    name: str, tmp_path: Path
) -> None:
    """Saved twice, the index is a column like others; each cure of the message is tried."""
    path = write(tmp_path / "d.csv", f"{name},u,y\n7,1,0\n8,2,1\n")
    with pytest.raises(FileFormatError, match=rf"'{name}' looks like the index .* --drop"):
        read_data(path)
    assert read_data(path, drop=(name,)).X.tolist() == [[1], [2]]
    ids = read_data(path, identity=name).ids
    assert ids is not None
    assert ids.tolist() == ["7", "8"]
    assert read_data(path, features=(name, "u")).X.tolist() == [[7, 1], [8, 2]]


def test_column_numbers_of_a_frame_are_no_row_of_a_matrix(tmp_path: Path) -> None:
    """`DataFrame(S).to_csv(index=False)` begins with 0, 1, 2; both cures are tried."""
    S = np.arange(6.0).reshape(2, 3) + 0.5
    path = tmp_path / "S.csv"
    pd.DataFrame(S).to_csv(path, index=False)
    with pytest.raises(FileFormatError, match=r"first line is 0, 1, \.\.\. up to 2"):
        read_matrix(path)
    lines = path.read_text().splitlines()
    assert np.array_equal(read_matrix(write(path, "\n".join(["a,b,c", *lines[1:]]))), S)
    assert read_matrix(write(path, "\n".join(["0.0,1,2", *lines[1:]]))).shape == (3, 3)


@pytest.mark.parametrize("labels", [["1_0", "10", "01", "1"], ["1.0", "1", "+1", "1e0"]])
def test_labels_that_are_written_differently_stay_different(
    labels: list[str], tmp_path: Path
) -> None:
    """Integers only where each text is what the integer is written as.

    Mutation: integers taken however they are written: fails.
    """
    rows = "".join(f"0.5,{label}\n" for label in labels)
    assert read_data(write(tmp_path / "d.csv", "u,y\n" + rows)).y.tolist() == labels


@pytest.mark.parametrize("label", ["", "  ", "NA", "nan", "null", "None", '""'])
def test_a_label_that_is_none_is_refused_by_its_line(label: str, tmp_path: Path) -> None:
    """It would be a class of its own."""
    path = write(tmp_path / "d.csv", f"u,y\n1,a\n\n2,{label}\n3,b\n")
    with pytest.raises(FileFormatError, match=r"line 4.*no label"):
        read_data(path)


def test_a_class_may_be_called_na(tmp_path: Path) -> None:
    """The cure that the message names: Namibia's code."""
    path = write(tmp_path / "d.csv", "u,y\n1,NA\n2,DE\n")
    with pytest.raises(FileFormatError, match="say --keep-na"):
        read_data(path)
    assert read_data(path, keep_na=True).y.tolist() == ["NA", "DE"]


@pytest.mark.parametrize("y", [["nan", "a", "b"], [np.nan, 1.0, 2.0], ["", "a", "b"]])
def test_arrays_of_labels_may_lack_none_either(y: list[Any], tmp_path: Path) -> None:
    """`astype(str)` makes a class of NaN."""
    np.savez(tmp_path / "d.npz", X=np.ones((3, 2)), y=y)
    with pytest.raises(FileFormatError, match="example 0: no label"):
        read_data(tmp_path / "d.npz")


def test_labels_that_only_spaces_tell_apart_are_refused(tmp_path: Path) -> None:
    """They would be two classes."""
    with pytest.raises(FileFormatError, match="'a' but for spaces"):
        read_data(write(tmp_path / "d.csv", "u,y\n1,a\n2, a\n3,b\n"))


@pytest.mark.parametrize(
    ("name", "text"),
    [("d.csv", "u,u,y\n1,2,a\n"), ("d.jsonl", '{"u": 1, "u": 2, "y": "a"}\n')],
)
def test_two_columns_of_one_name_are_refused(name: str, text: str, tmp_path: Path) -> None:
    """The first would win."""
    with pytest.raises(FileFormatError, match=r"two (columns|fields)"):
        read_data(write(tmp_path / name, text))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("d.csv", "u,v,y\n1,2,a\n3,,b\n", "line 3: column 'v' has no value"),
        ("d.csv", "u,v,y\n1,2,a\n3,NaN,b\n", "line 3: column 'v' has no value"),
        ("d.csv", 'u,v,y\n1,2,"a\nb"\n3,,b\n', "line 4: column 'v' has no value"),
        ("d.csv", "u,v,y\n1,2,a\n3,b\n", "line 3: 2 cells where the first line has 3"),
        ("d.csv", "u,y\n1,a\n2,b,c\n", "Expected 2 fields in line 3, saw 3.*in quotes"),
        ("d.csv", "u,y\n1_0,a\n2,b\n", "line 2: '1_0' in column 1, 'u', is not a number"),
        ("d.csv", "u,,y\n1,2,a\n", "column 2 has no name"),
        ("d.csv", "u,y\n1,a\0\n2,a\n", "zero byte in example 0"),
        (
            "d.jsonl",
            '{"u": 1, "y": "a"}\n{"u": null, "y": "b"}\n',
            "line 2: field 'u' has no value",
        ),
        ("d.jsonl", '{"u": 1, "y": "a"}\n{"y": "b"}\n', "line 2: field 'u' has no value"),
        ("d.jsonl", '{"u": "x", "y": "a"}\n', "line 1: field 'u' holds 'x', not a number"),
        ("d.jsonl", '{"u": [1], "y": "a"}\n{"u": [1, 2], "y": "b"}\n', "line 2: 2 numbers"),
        ("d.jsonl", '{"u": 1, "y": "1"}\n{"u": 2, "y": 1}\n', "texts or numbers"),
        ("d.jsonl", '{"u": 1, "y": true}\n{"u": 2, "y": 1}\n', "texts or numbers"),
        ("d.jsonl", '{"u": 1, "y": "a"}\nnot json\n', "line 2 is no JSON"),
        ("d.jsonl", '{"u": %s, "y": "a"}\n' % ("[" * 700 + "]" * 700), "hold no number"),
        ("d.jsonl", "[1, 2]\n", "line 1 must hold a record"),
    ],
)
def test_a_fault_is_named_by_line_and_column(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    """Nothing is filled in, cut off or shifted."""
    with pytest.raises(FileFormatError, match=message):
        read_data(write(tmp_path / name, text))


def test_a_semicolon_and_a_decimal_comma(tmp_path: Path) -> None:
    """Refused with two cures, one after the other, which are tried."""
    path = write(tmp_path / "d.csv", "u;v;y\n1,5;2;a\n2,5;3;b\n")
    with pytest.raises(FileFormatError, match=r"separated by ';': say --delimiter ';'"):
        read_data(path)
    with pytest.raises(FileFormatError, match=r"'1,5' in column 1.*say --decimal ,"):
        read_data(path, text=Text(delimiter=";"))
    read = read_data(path, text=Text(delimiter=";", decimal=","))
    assert read.X.tolist() == [[1.5, 2], [2.5, 3]]


def test_a_point_among_decimal_commas_is_refused(tmp_path: Path) -> None:
    """1.234 may mean 1234."""
    path = write(tmp_path / "d.csv", "u;y\n1.234;a\n2;b\n")
    with pytest.raises(FileFormatError, match=r"'1\.234' in column 1"):
        read_data(path, text=Text(delimiter=";", decimal=","))


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_is_named_by_its_flag(encoding: str, tmp_path: Path) -> None:
    """The message of the failure names the cure."""
    path = write(tmp_path / "d.csv", "u,y\n1,ä\n2,ö\n", encoding)
    with pytest.raises(FileFormatError, match=r"is no text in UTF-8.*--encoding"):
        read_data(path)
    assert read_data(path, text=Text(encoding=encoding)).y.tolist() == ["ä", "ö"]


@pytest.mark.parametrize(
    "wrong", [{"delimiter": ";;"}, {"delimiter": "a"}, {"decimal": ";"}, {"encoding": "klingon"}]
)
def test_a_way_to_write_text_that_is_none_is_refused(wrong: dict[str, str]) -> None:
    """Before anything is read."""
    with pytest.raises(OptionError, match=f"--{next(iter(wrong))} must"):
        Text(**wrong)


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_features_drop_and_weight_name_columns(kind: str, tmp_path: Path) -> None:
    """A text beside the embeddings is refused with the two cures, which are tried."""
    frame = pd.DataFrame({"u": [1.0, 2], "text": ["hi", "ho"], "w": [3.0, 4], "y": ["a", "b"]})
    path = table(kind, tmp_path, frame)
    with pytest.raises(FileFormatError, match=r"text.*--drop"):
        read_data(path)
    for data in (
        read_data(path, drop=("text",), weight="w"),
        read_data(path, features=("u",), weight="w"),
    ):
        assert data.X.tolist() == [[1], [2]]
        assert data.weights is not None
        assert data.weights.tolist() == [3, 4]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"drop": ("texd",)}, "no column 'texd'.*--drop must"),
        ({"features": ("w",)}, "no column 'w'.*--features must"),
        ({"weight": "w"}, "no column 'w'.*--weight"),
        ({"identity": "name"}, "no column 'name'.*--id"),
        ({"features": ("y",)}, "--features names 'y'"),
        ({"features": ("u", "u")}, "--features names 'u'"),
    ],
)
def test_a_name_that_is_nowhere_is_refused(
    how: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """A slip of the pen would make a feature of a column, or leave the ids out."""
    with pytest.raises((FileFormatError, OptionError), match=message):
        read_data(write(tmp_path / "d.csv", "u,y\n1,a\n2,b\n"), **how)


def test_a_weight_that_is_none_is_refused(tmp_path: Path) -> None:
    """By its line."""
    with pytest.raises(FileFormatError, match="line 3: a weight must be"):
        read_data(write(tmp_path / "d.csv", "u,w,y\n1,1,a\n2,-1,b\n"), weight="w")


def test_ids_that_stand_twice_are_named_with_both_places(tmp_path: Path) -> None:
    """Of a column, where another one cures it, and of an index, where --drop does."""
    path = write(tmp_path / "d.csv", "id,k,u,y\np,1,1,a\nq,2,2,b\np,3,3,a\n")
    with pytest.raises(FileFormatError, match="'p' stands in line 2 and in line 4"):
        read_data(path)
    assert read_data(path, identity="k", drop=("id",)).n == 3
    write(path, ",u,y\n0,1,a\n0,2,b\n")
    with pytest.raises(FileFormatError, match="--drop ''"):
        read_data(path)
    assert read_data(path, drop=("",)).ids is None


def test_names_of_arrays(tmp_path: Path) -> None:
    """`embeddings` and `targets` in an npz; the message tells how to say so."""
    arrays: dict[str, Any] = {
        "embeddings": np.ones((2, 3)),
        "more": np.zeros(2),
        "targets": np.arange(2),
    }
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(FileFormatError, match=r"no array 'y'; it holds embeddings.*--label"):
        read_data(tmp_path / "d.npz")
    with pytest.raises(FileFormatError, match=r"no array 'X'.*--features"):
        read_data(tmp_path / "d.npz", label="targets")
    data = read_data(tmp_path / "d.npz", label="targets", features=("embeddings", "more"))
    assert data.X.tolist() == [[1, 1, 1, 0]] * 2


@pytest.mark.parametrize("kind", ["npy", "csv", "one.csv", "jsonl", "npz"])
def test_labels_in_another_file(kind: str, tmp_path: Path) -> None:
    """Embeddings as .npy; the message about a lone .npy file names the flag."""
    X, y = np.arange(6.0).reshape(3, 2), np.array(["a", "b", "a"])
    np.save(tmp_path / "X.npy", X)
    path = tmp_path / f"labels.{kind}"
    if kind == "npy":
        np.save(path, y)
    elif kind == "npz":
        np.savez(path, y=y)
    else:
        texts = {"csv": "id,y\np,a\nq,b\nr,a\n", "one.csv": "kind\na\nb\na\n"}
        write(path, texts.get(kind, '{"y": "a"}\n{"y": "b"}\n{"y": "a"}\n'))
    with pytest.raises(FileFormatError, match="--labels"):
        read_data(tmp_path / "X.npy")
    data = read_data(tmp_path / "X.npy", labels=path)
    assert np.array_equal(data.X, X)
    assert data.y.tolist() == y.tolist()
    assert (data.ids is not None) == (kind == "csv")


def test_labels_of_another_length_are_refused(tmp_path: Path) -> None:
    """A list without its line of names has lost one."""
    np.save(tmp_path / "X.npy", np.ones((3, 2)))
    with pytest.raises(FileFormatError, match=r"shape \(2,\).*begins with a line of names"):
        read_data(tmp_path / "X.npy", labels=write(tmp_path / "l.csv", "a\nb\na\n"))


def test_text_with_impossible_characters_is_refused(tmp_path: Path) -> None:
    """Python would end in a SystemError.

    Mutation: `_read` without `check_text`: fails.
    """
    y = np.array([0x110000, 97], dtype="<u4").view("<U1")
    np.savez(tmp_path / "d.npz", X=np.ones((2, 2)), y=y)
    with pytest.raises(FileFormatError, match="stand for no character"):
        read_data(tmp_path / "d.npz")


def test_a_table_that_memory_cannot_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A packed table may unpack to more than there is.

    Mutation: `Blocks.add` without `check_fits`: fails.
    """
    (tmp_path / "S.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"0,0\n" * 100_000))
    monkeypatch.setattr("subsetsel.support.memory.free_memory", lambda: 10**6)
    with pytest.raises(FileFormatError, match=r"would take 1\.\d+ MiB of memory"):
        read_matrix(tmp_path / "S.csv.gz")
