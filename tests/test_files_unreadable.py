"""Files that hold something else than they should: each is refused with a cure that works."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from subsetsel import FileFormatError
from subsetsel.formats import read_data

X = np.arange(12, dtype=np.float32).reshape(6, 2)
KINDS = np.array(["a", "b", "c", "a", "b", "c"])


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_text_that_gzip_did_not_pack_is_refused(form: str, tmp_path: Path) -> None:
    """Each cure is tried: the name without .gz, and packed again where the end was missing.

    Mutation: `open_text` that catches no error of gzip: BadGzipFile and EOFError come out.
    """
    text = b'{"u": 1, "y": "a"}\n' if form == "jsonl" else b"u,y\n1,a\n"
    path = tmp_path / f"d.{form}.gz"
    for damaged in (text, gzip.compress(text)[:-9]):
        path.write_bytes(damaged)
        with pytest.raises(FileFormatError, match=r"no gzip.*Pack it again.*without \.gz"):
            read_data(path)
    path.with_suffix("").write_bytes(text)
    assert read_data(path.with_suffix("")).y.tolist() == ["a"]
    path.write_bytes(gzip.compress(text))
    assert read_data(path).y.tolist() == ["a"]


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_weights_of_text_are_refused_by_a_cure_that_names_their_flag(
    form: str, tmp_path: Path
) -> None:
    """Leaving the column out would help features alone; another column is named.

    Mutation: cures that speak of --features alone: fails.
    """
    columns = {"u": [1.0, 2.0], "w": ["a", "b"], "v": [1.0, 3.0], "y": ["a", "b"]}
    path = tmp_path / f"d.{form}"
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow")
        pd.DataFrame(columns).to_parquet(path)
    else:
        rows = list(zip(*columns.values(), strict=True))
        named = [json.dumps(dict(zip(columns, row, strict=True))) for row in rows]
        plain = [",".join(map(str, row)) for row in [tuple(columns), *rows]]
        path.write_text("\n".join(named if form == "jsonl" else plain))
    with pytest.raises(FileFormatError, match=r"'w'.*not (a number|numbers).*--weight"):
        read_data(path, weight="w", features=("u",))
    weights = read_data(path, weight="v", features=("u",)).weights
    assert weights is not None
    assert weights.tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("arrays", "wanted", "message"),
    [
        ({"X": X, "w": np.float64(1)}, {"weight": "w"}, "'w' holds a single number.*--weight"),
        ({"X": np.float64(1)}, {}, "'X' holds a single number.*--features"),
        (
            {"X": np.float64(1), "V": np.float64(2)},
            {"features": ("X", "V")},
            "'X' holds a single number.*--features",
        ),
        ({"X": X, "y": np.float64("nan")}, {}, r"labels have shape \(\).*one for each example"),
        ({"X": X, "w": KINDS}, {"weight": "w"}, "'w' must hold real numbers.*--weight"),
        ({"X": X, "w": X}, {"weight": "w"}, "'w' must hold one weight per example.*--weight"),
    ],
)
def test_arrays_without_rows_are_refused(
    arrays: dict[str, Any], wanted: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """A number alone as features, labels or weights; another array is named instead.

    Mutation: `Arrays` that takes arrays without a dimension: a TypeError about len() comes out.
    """
    np.savez(tmp_path / "d.npz", **{"y": KINDS, "U": X, "k": np.arange(1.0, 7.0), **arrays})
    with pytest.raises(FileFormatError, match=message):
        read_data(tmp_path / "d.npz", **wanted)
    cured: dict[str, Any] = {"weight": "k"} if "weight" in wanted else {}
    label = "k" if "y" in arrays else "y"
    assert read_data(tmp_path / "d.npz", features=("U",), label=label, **cured).n == 6


@pytest.mark.parametrize(
    ("ids", "which"),
    [
        ([1.0, np.inf, 2.0, 3.0, 4.0, 5.0], "example 1: no id, but inf"),
        ([1.0, np.nan, 2.0, 3.0, 4.0, 5.0], "example 1: no id, but nan"),
        (np.array(["2020-01-01", *["NaT"] * 5], dtype="M8[D]"), "example 1: no id, but NaT"),
        (np.array([b"a", b"b", b"c", b"d", b"", b"e"]), "example 4: no id"),
        (np.arange(6)[:, None], r"the ids have shape \(6, 1\), not one dimension"),
    ],
    ids=["infinite", "NaN", "no date", "no bytes", "two dimensions"],
)
def test_ids_by_which_nothing_is_found_are_refused(ids: Any, which: str, tmp_path: Path) -> None:
    """Before any work, whatever their type; another array is named instead.

    Mutation: `_check_ids` that looks for NaN and empty texts alone: infinity, date and bytes fail.
    """
    np.savez(tmp_path / "d.npz", X=X, y=KINDS, ids=ids, names=[f"n{i}" for i in range(6)])
    with pytest.raises(FileFormatError, match=f"{which}.* with --id"):
        read_data(tmp_path / "d.npz", features=("X",))
    data = read_data(tmp_path / "d.npz", features=("X",), identity="names")
    assert data.ids is not None
    assert data.ids[5] == "n5"
