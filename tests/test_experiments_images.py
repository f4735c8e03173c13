"""Readers of image data sets: official formats by hand, and files that lie."""

from __future__ import annotations

import gzip
import lzma
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from subsetsel.errors import FileFormatError
from subsetsel.experiments.images import DataMissingError, images_from_arrays, read_idx
from subsetsel.experiments.load import load_images
from subsetsel.experiments.pictures import Pictures, augment, halved

RNG = np.random.default_rng(0)


def idx(array: Any) -> bytes:
    """An array in IDX format."""
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + bytes(array.tobytes())


def write_mnist(folder: Path, packed: bool = False) -> tuple[Any, Any]:
    """Four IDX files of three and two pictures."""
    folder.mkdir(exist_ok=True)
    pictures = RNG.integers(0, 256, (5, 6, 6), dtype=np.uint8)
    labels = np.array([0, 1, 2, 1, 0], dtype=np.uint8)
    for half, part in (("train", slice(0, 3)), ("t10k", slice(3, 5))):
        for kind, array in (("images-idx3", pictures), ("labels-idx1", labels)):
            path, raw = folder / f"{half}-{kind}-ubyte", idx(array[part])
            if packed:
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(raw))
            else:
                path.write_bytes(raw)
    return pictures, labels


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_read(packed: bool, tmp_path: Path) -> None:
    """Plain or compressed, with the split that the names say."""
    pictures, labels = write_mnist(tmp_path, packed)
    images = load_images(tmp_path)
    np.testing.assert_array_equal(images.train, pictures[:3])
    np.testing.assert_array_equal(images.test_labels, labels[3:])
    assert images.num_classes == 3


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "does not begin like"),
        (b"\0\0\x0d\x01\0\0\0\x01" + b"\0" * 4, "does not begin like"),
        (b"\0\0\x08\x03\0\0\0\x01", "ends within its header"),
        (b"\0\0\x08\xff" + b"\xff" * 2000, "255 axes"),
        (b"\0\0\x08\x00", "0 axes"),
        (b"\0\0\x08\x01\0\0\0\x05abc", "holds 3 B"),
        (b"\0\0\x08\x01\0\0\0\x02abc", "holds more"),
        (b"\0\0\x08\x03" + b"\xff" * 12 + b"x", "holds 1 B"),
    ],
    ids=["empty", "magic", "header", "axes", "no-axis", "short", "long", "declared-size"],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_that_lie_are_refused(
    raw: bytes, message: str, suffix: str, tmp_path: Path
) -> None:
    """A stated 2^96 bytes are not allocated, with or without compression."""
    path = tmp_path / f"x{suffix}"
    path.write_bytes(gzip.compress(raw) if suffix else raw)
    with pytest.raises(FileFormatError, match=message):
        read_idx(path)


def test_a_cut_off_gzip_file_is_refused(tmp_path: Path) -> None:
    """As are bytes that were never gzip."""
    path = tmp_path / "x.gz"
    for raw in (gzip.compress(idx(np.zeros(1000, dtype=np.uint8)))[:-12], b"no gzip"):
        path.write_bytes(raw)
        with pytest.raises(FileFormatError, match="cannot be read"):
            read_idx(path)


def test_pictures_without_their_labels_are_refused(tmp_path: Path) -> None:
    """Lengths must agree, and all four files must be there."""
    write_mnist(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(9, dtype=np.uint8)))
    with pytest.raises(FileFormatError, match="do not belong together"):
        load_images(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataMissingError, match="train-labels-idx1-ubyte is missing"):
        load_images(tmp_path)


def cifar_records(labels: list[list[int]]) -> tuple[bytes, Any]:
    """Records with random planes, and the pictures they stand for."""
    planes = RNG.integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8)
    raw = b"".join(bytes(own) + bytes(p) for own, p in zip(labels, planes, strict=True))
    return raw, planes.transpose(0, 2, 3, 1)


@pytest.mark.parametrize("packed", [False, True])
def test_cifar10_is_read(packed: bool, tmp_path: Path) -> None:
    """Five batches in order, colour planes as the last axis."""
    parts: list[Any] = []
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        raw, pictures = cifar_records([[len(parts)], [9]])
        path = tmp_path / (name + ".xz" * packed)
        path.write_bytes(lzma.compress(raw) if packed else raw)
        parts.append(pictures)
    images = load_images(tmp_path)
    assert images.train_labels.tolist() == [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]
    np.testing.assert_array_equal(images.train[4:6], parts[2])
    np.testing.assert_array_equal(images.test, parts[5])


def test_cifar100_reads_the_fine_label(tmp_path: Path) -> None:
    """The second of two label bytes."""
    for name, own in (("train.bin", [[3, 77], [4, 99]]), ("test.bin", [[0, 1]])):
        (tmp_path / name).write_bytes(cifar_records(own)[0])
    images = load_images(tmp_path)
    assert images.train_labels.tolist() == [77, 99]
    assert images.num_classes == 100


@pytest.mark.parametrize(
    ("raw", "message"),
    [(b"", "holds 0 B"), (b"\0" * 3075, "no multiple"), (b"\0\xff" + b"\0" * 3072, "label 255")],
)
def test_damaged_cifar_files_are_refused(raw: bytes, message: str, tmp_path: Path) -> None:
    """Length and labels are checked."""
    (tmp_path / "train.bin").write_bytes(raw)
    with pytest.raises(FileFormatError, match=message):
        load_images(tmp_path)


def write_pictures(folder: Path, names: list[str], side: int = 8) -> None:
    """One-coloured PNG files."""
    Image = pytest.importorskip("PIL.Image")
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", (side, side), (number, 10, 20)).save(folder / name)


def test_folders_of_pictures_are_read(tmp_path: Path) -> None:
    """Classes and files in order of name; other files are passed over."""
    for half in ("train", "test"):
        for name in ("cat", "ant"):
            write_pictures(tmp_path / half / name, ["b.png", "a.png"])
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no picture")
    images = load_images(tmp_path)
    assert images.train_labels.tolist() == [0, 0, 1, 1]
    assert images.train[:, 0, 0].tolist() == [[1, 10, 20], [0, 10, 20]] * 2


def test_tinyimagenet_is_read(tmp_path: Path) -> None:
    """Its annotated validation half is the test half."""
    for name in ("n02", "n01"):
        write_pictures(tmp_path / "train" / name / "images", ["0.png"])
    write_pictures(tmp_path / "val" / "images", ["v0.png", "v1.png"])
    annotations = tmp_path / "val" / "val_annotations.txt"
    annotations.write_text("v0.png\tn02\t0\t0\t1\t1\nv1.png\tn01\t0\t0\t1\t1\n")
    assert load_images(tmp_path).test_labels.tolist() == [1, 0]
    annotations.write_text("../../secret\tn02\n")
    with pytest.raises(FileFormatError, match="line 1 names no picture"):
        load_images(tmp_path)


def test_pictures_of_different_sizes_are_refused(tmp_path: Path) -> None:
    """Also those that are none."""
    for half in ("train", "test"):
        write_pictures(tmp_path / half / "a", ["0.png"])
    write_pictures(tmp_path / "train" / "b", ["1.png"], side=9)
    with pytest.raises(FileFormatError, match="scale all pictures to one size first"):
        load_images(tmp_path)
    (tmp_path / "train" / "b" / "1.png").write_bytes(b"no picture")
    with pytest.raises(FileFormatError, match="cannot be read as a picture"):
        load_images(tmp_path)


def test_pictures_that_are_too_large_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    """The header says the size."""
    for half in ("train", "test"):
        write_pictures(tmp_path / half / "a", ["0.png"], side=1025)
    with pytest.raises(FileFormatError, match=r"1025 x 1025, more than 1024 a side; scale it down"):
        load_images(tmp_path)


def test_missing_pictures_are_named(tmp_path: Path) -> None:
    """A half without pictures, and an annotated picture that is not there."""
    write_pictures(tmp_path / "train" / "n01" / "images", ["0.png"])
    with pytest.raises(DataMissingError, match="train holds no pictures in folders"):
        load_images(tmp_path)
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "val_annotations.txt").write_text("v0.png\tn01\n")
    with pytest.raises(DataMissingError, match=r"v0\.png is missing"):
        load_images(tmp_path)


def test_halves_of_different_sizes_are_refused() -> None:
    """One network must take both."""
    small, large = np.zeros((2, 5, 5), dtype=np.uint8), np.zeros((2, 6, 6), dtype=np.uint8)
    with pytest.raises(FileFormatError, match=r"\(5, 5\), test of \(6, 6\); scale all to one size"):
        images_from_arrays(small, [0, 1], large, [0, 1])


def test_arrays_are_read_and_checked(tmp_path: Path) -> None:
    """An .npz file with four arrays; a pickle in it is refused."""
    pictures, labels = np.zeros((4, 5, 5, 3), dtype=np.uint8), np.array([0, 1, 1, 0])
    halves: dict[str, Any] = {
        "train": pictures,
        "train_labels": labels,
        "test": pictures,
        "test_labels": labels,
    }
    np.savez(tmp_path / "a.npz", **halves)
    assert load_images(tmp_path / "a.npz").train.shape[1:] == (5, 5, 3)
    pickled: dict[str, Any] = {**halves, "train": np.array([{}], dtype=object)}
    np.savez(tmp_path / "b.npz", **pickled)
    with pytest.raises(FileFormatError, match=r"is no \.npz file"):
        load_images(tmp_path / "b.npz")
    with pytest.raises(FileFormatError, match="unsigned bytes"):
        images_from_arrays(pictures / 255, labels, pictures, labels)
    with pytest.raises(FileFormatError, match="one integer from 0 on"):
        images_from_arrays(pictures, labels[:3], pictures, labels)


def test_a_missing_data_set_is_named(tmp_path: Path) -> None:
    """A folder that is not there, and one that holds something else."""
    with pytest.raises(DataMissingError, match="there is no folder"):
        load_images(tmp_path / "nowhere")
    with pytest.raises(DataMissingError, match=r"x\.npz is missing"):
        load_images(tmp_path / "x.npz")
    with pytest.raises(DataMissingError, match="no data set known here"):
        load_images(tmp_path)


def test_halving_takes_means_of_four() -> None:
    """28 x 28 is padded to 32 x 32 and becomes 16 x 16; colours stay apart."""
    pictures = RNG.integers(0, 256, (3, 28, 28, 3), dtype=np.uint8)
    labels = np.zeros(3, dtype=np.int64)
    small = halved(images_from_arrays(pictures, labels, pictures[:1], labels[:1]))
    assert small.train.shape[1:] == (16, 16, 3)
    block = pictures[1, 4:6, 10:12].astype(float).mean(axis=(0, 1))
    np.testing.assert_allclose(small.train[1, 3, 6], block, atol=0.5)
    assert small.train[:, 0].max() == 0
    grey = images_from_arrays(pictures[..., 0], labels, pictures[..., 0], labels)
    np.testing.assert_array_equal(halved(grey).train, small.train[..., 0])


# --- tensors -------------------------------------------------------------------------------------


def test_pictures_are_normalized_by_the_training_half() -> None:
    """Zero mean and unit spread per channel there; the test half uses the same numbers."""
    array = RNG.integers(0, 256, (50, 4, 5, 3), dtype=np.uint8)
    labels = np.zeros(50, dtype=np.int64)
    train = Pictures.of(array, labels, torch.device("cpu"))
    batch = train.batch(slice(None))
    torch.testing.assert_close(batch.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(batch.std((0, 2, 3), correction=0), torch.ones(3))
    test = Pictures.of(array[:7], labels[:7], torch.device("cpu"), like=train)
    torch.testing.assert_close(test.batch(slice(None)), batch[:7])
    torch.testing.assert_close(train.subset([3, 1]).batch(slice(None)), batch[[3, 1]])


def test_augmentation_crops_and_mirrors_each_picture_by_itself() -> None:
    """Every result is a window of the padded picture, mirrored or not; both occur."""
    stored = torch.arange(1, 1 + 40 * 2 * 3 * 4).reshape(40, 2, 3, 4)
    made = augment(stored, 2, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(stored, (2, 2, 2, 2))
    seen = set()
    for before, after in zip(padded, made, strict=True):
        windows = {
            (row, column, mirrored): torch.equal(
                after.flip(2) if mirrored else after, before[:, row : row + 3, column : column + 4]
            )
            for row in range(5)
            for column in range(5)
            for mirrored in (False, True)
        }
        hits = [where for where, is_same in windows.items() if is_same]
        assert hits
        seen.add(hits[0])
    assert len(seen) > 20
    assert len({mirrored for _, _, mirrored in seen}) == 2
