"""Files that subsetsel wrote and reads again: what they claim is checked before it counts."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import subsetsel
from subsetsel.errors import FileFormatError
from subsetsel.experiments.images import load_arrays
from subsetsel.experiments.scorer import Scorer
from subsetsel.guarantee.certificate import recheck_certificate, write_certificate
from subsetsel.scores import TrainingRecorder

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = np.arange(60) % 3


def images(path: Path) -> None:
    """Four arrays of pictures."""
    pictures, labels = np.zeros((4, 5, 5), dtype=np.uint8), np.array([0, 1, 1, 0])
    np.savez(path, train=pictures, train_labels=labels, test=pictures, test_labels=labels)


def scorer(path: Path) -> None:
    """What a network said of four examples."""
    ones = np.ones(4)
    features = np.ones((4, 2), dtype=np.float32)
    Scorer(features, np.arange(4), ones, ones, ones, accuracy=0.5, train_time=1.0).save(path)


def recorder(path: Path) -> None:
    """A log of one epoch."""
    log = TrainingRecorder(4, num_classes=2)
    log.update(np.arange(4), RNG.normal(size=(4, 2)), np.array([0, 1, 1, 0]))
    log.end_epoch()
    log.save(path)


KINDS: list[Any] = [
    pytest.param(images, load_arrays, "train", id="pictures"),
    pytest.param(scorer, Scorer.load, "features", id="scorer"),
    pytest.param(recorder, TrainingRecorder.load, "labels", id="recorder"),
]


def replaced(path: Path, **arrays: Any) -> Path:
    """Write the file again with other arrays in some places."""
    with np.load(path) as file:
        held = dict(file)
    np.savez(path, **{**held, **arrays})
    return path


@pytest.mark.parametrize(("write", "load", "name"), KINDS)
def test_a_forged_size_is_refused_before_it_is_allocated(
    write: Callable[[Path], None], load: Callable[[Path], Any], name: str, tmp_path: Path
) -> None:
    """A header that claims 8 TB in a file of a few hundred bytes; the file as written is read."""
    path = tmp_path / "stored.npz"
    write(path)
    load(path)
    header = np.lib.format
    with zipfile.ZipFile(path) as archive:
        members = {item: archive.read(item) for item in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for item, raw in members.items():
            if item != f"{name}.npy":
                archive.writestr(item, raw)
                continue
            with archive.open(item, "w") as stream:
                claim = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
                header.write_array_header_1_0(stream, claim)
    with pytest.raises(FileFormatError, match=rf"stored\.npz.*'{name}' claims shape"):
        load(path)


@pytest.mark.parametrize(("write", "load", "name"), KINDS)
def test_a_pickle_is_refused(
    write: Callable[[Path], None], load: Callable[[Path], Any], name: str, tmp_path: Path
) -> None:
    """Python objects are never made of a file."""
    path = tmp_path / "stored.npz"
    write(path)
    replaced(path, **{name: np.array([{}], dtype=object)})
    with pytest.raises(FileFormatError, match="Python objects, which are never unpickled"):
        load(path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ({"labels": np.array(["a"] * 4)}, "labels is <U1"),
        ({"el2n": np.ones(3)}, r"el2n is float64 of \(3,\)"),
        ({"features": np.ones(4)}, "features are float64"),
        ({"accuracy": np.array("high")}, "could not convert"),
    ],
)
def test_a_scorer_that_contradicts_itself_is_refused(
    array: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Arrays of another type or length; deleted, as the message says, it is trained anew."""
    path = tmp_path / "stored.npz"
    scorer(path)
    replaced(path, **array)
    with pytest.raises(FileFormatError, match=rf"{message}.*; delete it"):
        Scorer.load(path)
    path.unlink()
    scorer(path)
    assert Scorer.load(path).accuracy == 0.5


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ({"training_epochs": np.array([1.5])}, "other epochs"),
        ({"training_epochs": np.array([-3])}, "other epochs"),
        ({"num_epochs": np.array(10**15), "training_epochs": np.array([0])}, "other epochs"),
        ({"training_sums": np.array([["a"] * 4])}, "is <U1 and int32"),
        ({"labels": np.array([0, 1, 7, 0])}, "outside 0 to 1"),
        ({"labels": np.array([0, 1, -2, 0])}, "outside 0 to 1"),
    ],
)
def test_a_recorder_that_contradicts_itself_is_refused(
    array: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Epochs that are none, however many are claimed, labels out of range, logs of text."""
    path = tmp_path / "stored.npz"
    recorder(path)
    with pytest.raises(FileFormatError, match=message):
        TrainingRecorder.load(replaced(path, **array))


def test_a_recorder_with_an_epoch_twice_is_refused(tmp_path: Path) -> None:
    """One of the two logs would be lost without a word."""
    path = tmp_path / "stored.npz"
    recorder(path)
    with np.load(path) as file:
        twice = {
            name: np.repeat(file[f"training_{name}"], 2, axis=0) for name in ("sums", "counts")
        }
    logs = {f"training_{name}": array for name, array in twice.items()}
    with pytest.raises(FileFormatError, match="an epoch twice"):
        TrainingRecorder.load(replaced(path, training_epochs=np.array([1, 1]), **logs))


# --- the certificate -----------------------------------------------------------------------------


def certified(folder: Path) -> Path:
    """A certificate that holds."""
    problem = subsetsel.Problem.from_features(X, Y, l2=0.05, size=5)
    mask = np.arange(60) < 5
    write_certificate(folder / "claim.json", problem, mask, X, Y)
    return folder / "claim.json"


@pytest.mark.parametrize("field", ["l2", "epsilon", "change", "change_error"])
@pytest.mark.parametrize("value", ["0.05", [0.05], {"a": 1}, True, float("nan"), float("inf")])
def test_a_number_of_a_certificate_that_is_none_is_refused(
    field: str, value: Any, tmp_path: Path
) -> None:
    """Texts, lists, truth values, NaN; written again, as the message says, it is confirmed."""
    path = certified(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(FileFormatError, match=rf"{field} must be a finite number.*Write it again"):
        recheck_certificate(path, X, Y)
    assert recheck_certificate(certified(tmp_path), X, Y).is_confirmed


@pytest.mark.parametrize("field", ["l2", "change", "change_error"])
def test_a_number_of_a_certificate_that_is_missing_is_refused(field: str, tmp_path: Path) -> None:
    """Only epsilon may be null: there need be no limit."""
    path = certified(tmp_path)
    record = json.loads(path.read_text())
    assert record["epsilon"] is None
    path.write_text(json.dumps({**record, field: None}))
    with pytest.raises(FileFormatError, match=f"{field} must be a finite number and is None"):
        recheck_certificate(path, X, Y)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("kept", np.arange(5, 60).astype(float)),
        ("pruned", np.zeros((5, 1), dtype=np.int64)),
        ("theta", np.full((3, 4), "a")),
        ("theta_kept", np.zeros(12)),
        ("classes", np.array(0)),
    ],
)
def test_an_array_of_a_certificate_of_another_kind_is_refused(
    name: str, array: Any, tmp_path: Path
) -> None:
    """Indices that are no integers, parameters that are texts."""
    path = certified(tmp_path)
    replaced(path.with_suffix(".npz"), **{name: array})
    with pytest.raises(FileFormatError, match=f"its {name} are"):
        recheck_certificate(path, X, Y)
