"""What `select` is built on: pictures as they are read, their difficulty, trainings as judges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import blobs
from PIL import Image
from torch import nn

from subsetsel.errors import FileFormatError, OptionError, ProblemError
from subsetsel.experiments.difficulty import measure_difficulty, stored_difficulty
from subsetsel.experiments.head_training import HeadTraining
from subsetsel.experiments.pictures import Pictures
from subsetsel.experiments.recipe import Recipe
from subsetsel.experiments.training import PictureTraining, builder, check_network, own_builder
from subsetsel.experiments.training_data import as_pictures, read_training_data

CPU = torch.device("cpu")
RECIPE = Recipe(epochs=3, batch_size=16, lr=0.05, padding=0)


def stripes(num: int = 90) -> tuple[Any, Any]:
    """Grey pictures of three classes, told by where they are bright."""
    rng = np.random.default_rng(0)
    labels = np.arange(num) % 3
    pixels = rng.integers(0, 120, (num, 8, 8), dtype=np.uint8)
    for row, label in enumerate(labels):
        pixels[row, 2 * label : 2 * label + 2] += 100
    return pixels, labels


def pictures_of(pixels: Any, labels: Any) -> Pictures:
    """On the processor, normalized."""
    return Pictures.of(pixels, labels, CPU)


# --- difficulty ----------------------------------------------------------------------------------


@pytest.mark.parametrize("num_folds", [0, 3])
def test_a_wrong_label_is_hard(num_folds: int) -> None:
    """Whether or not the network was trained on it; out of fold it is the hardest of all."""
    pixels, labels = stripes()
    labels[7] = (labels[7] + 1) % 3
    pictures = pictures_of(pixels, labels)
    longer = replace(RECIPE, epochs=10)
    found = measure_difficulty(
        pictures, builder("strided", pictures, 3), longer, 3, seed=0, num_folds=num_folds
    )
    assert set(found) == ({"el2n"} if num_folds else {"el2n", "forgetting"})
    assert int(np.argmax(found["el2n"])) == 7


def test_out_of_fold_no_example_is_judged_by_a_training_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each is judged once, and the folds are not those of the order in the data.

    Mutation: trained on the fold too: fails.
    """
    pixels, labels = stripes(31)
    pictures = pictures_of(pixels, labels)
    seen: list[tuple[set[int], set[int]]] = []

    def numbers(some: Pictures) -> set[int]:
        rows = some.bytes.permute(0, 2, 3, 1).numpy()[..., 0]
        return {int(np.flatnonzero((pixels == row).all(axis=(1, 2)))[0]) for row in rows}

    def note(_: Any, trained: Pictures, judged: Pictures, *more: Any) -> Any:
        seen.append((numbers(trained), numbers(judged)))
        return np.zeros(len(judged))

    monkeypatch.setattr("subsetsel.experiments.difficulty._error_lengths", note)
    measure_difficulty(pictures, lambda seed: None, RECIPE, 3, seed=0, num_folds=4)  # type: ignore[arg-type,return-value]
    assert all(not trained & judged for trained, judged in seen)
    assert sorted(number for _, judged in seen for number in judged) == list(range(31))
    assert sorted(seen[0][1]) != list(range(len(seen[0][1])))


def test_every_picture_is_shown_though_one_is_left_of_the_batches() -> None:
    """A batch of a single example is left out of a training: then forgetting would be unknown."""
    pixels, labels = stripes(33)
    pictures = pictures_of(pixels, labels)
    once = Recipe(epochs=1, batch_size=16, lr=0.05, padding=0)
    found = measure_difficulty(pictures, builder("strided", pictures, 3), once, 3, seed=0)
    assert np.isfinite(found["forgetting"]).all()


def test_a_training_that_diverges_says_so() -> None:
    """With the learning rate; a smaller one works."""
    pictures = pictures_of(*stripes())
    build = builder("strided", pictures, 3)
    wild = Recipe(epochs=3, batch_size=16, lr=1e12, padding=0)
    with pytest.raises(ProblemError, match=r"diverged.*smaller --lr than 1e"):
        measure_difficulty(pictures, build, wild, 3, seed=0)
    measure_difficulty(pictures, build, RECIPE, 3, seed=0)


def test_stored_difficulties_are_measured_once(tmp_path: Path) -> None:
    """Until the settings change while there is no study yet; with one they are refused.

    Mutation: difficulties never read back: fails.
    """
    path, study, count = tmp_path / "d.npz", tmp_path / "study.jsonl", [0]

    def measure() -> Any:
        count[0] += 1
        return {"el2n": np.arange(3.0)}

    for about in ({"lr": 0.1}, {"lr": 0.1}):
        found = stored_difficulty(path, study, about, measure)
        assert found["el2n"].tolist() == [0, 1, 2]
    assert count == [1]
    stored_difficulty(path, study, {"lr": 0.2}, measure)
    assert count == [2], "nothing was trained with the first settings"
    study.touch()
    with pytest.raises(OptionError, match=r"lr 0\.2 there, 0\.1 here"):
        stored_difficulty(path, study, {"lr": 0.1}, measure)
    stored_difficulty(path, study, {"lr": 0.2}, measure)
    assert count == [2]


@pytest.mark.parametrize("content", [b"", b"PK", b"no file of arrays"])
def test_what_is_no_file_of_difficulties_is_told(content: bytes, tmp_path: Path) -> None:
    """And so is one of other arrays."""
    path = tmp_path / "d.npz"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="delete it"):
        stored_difficulty(path, None, {}, dict)
    np.savez(path, other=np.zeros(3))
    with pytest.raises(FileFormatError, match="delete it"):
        stored_difficulty(path, None, {}, dict)


# --- trainings -----------------------------------------------------------------------------------


def test_a_training_follows_its_seed_and_leaves_the_generator_alone() -> None:
    """Dropout included: the same seed the same accuracy, whatever was drawn in between."""
    pictures = pictures_of(*stripes())

    def make() -> nn.Module:
        return nn.Sequential(
            nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3)
        )

    short = Recipe(epochs=None, iterations=3, batch_size=16, lr=0.02, padding=0)
    train = PictureTraining(pictures, own_builder(make, 3), short)
    kept, held_out = np.arange(45), np.arange(45, 90)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = [train(kept, held_out, seed) for seed in range(4)]
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(3)
    assert [train(kept, held_out, seed) for seed in range(4)] == first
    assert len(set(first)) > 1


def test_a_network_that_is_given_twice_is_trained_anew() -> None:
    """A function that gives the same network each time starts no training where another ended.

    Mutation: the network itself, no copy: fails.
    """
    layer = nn.Linear(64, 3)
    network, before = nn.Sequential(nn.Flatten(), layer), layer.weight.detach().clone()
    pictures = pictures_of(*stripes())
    train = PictureTraining(pictures, own_builder(lambda: network, 3), RECIPE)
    kept, held_out = np.arange(45), np.arange(45, 90)
    assert train(kept, held_out, 0) == train(kept, held_out, 0)
    assert torch.equal(layer.weight, before)


def test_a_diverging_training_gives_no_number() -> None:
    """NaN, which `select_for_training` tells apart."""
    pictures = pictures_of(*stripes())
    wild = Recipe(epochs=3, batch_size=16, lr=1e12, padding=0)
    train = PictureTraining(pictures, builder("strided", pictures, 3), wild)
    assert np.isnan(train(np.arange(45), np.arange(45, 90), 0))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: nn.Linear(8, 3), "one row of numbers for each picture"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(65, 3)), "cannot take pictures of 8 x 8"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), "there are 3 classes"),
        (lambda: nn.Sequential(nn.Flatten(), nn.LSTM(64, 3)), "it gave tuple"),
    ],
)
def test_networks_are_tried_before_they_are_trained(make: Any, told: str) -> None:
    """Each message says what was named and what is wrong."""
    pictures = pictures_of(*stripes())
    with pytest.raises(ProblemError, match=told):
        check_network(own_builder(make, 3), pictures, 3, "--model mine:make")


def test_a_head_is_fitted_though_a_class_is_not_kept() -> None:
    """Its held-out examples then count as wrong."""
    X, y = blobs(0, 90)
    train = HeadTraining(X, y.astype(np.int64), 3, 1e-2)
    kept = np.flatnonzero(y != 2)
    held_out = np.arange(90)
    assert train(kept, held_out, 0) <= 2 / 3
    assert train(kept, held_out, 0) == train(kept, held_out, 1)
    assert train(held_out, held_out, 0) > 0.7


def test_difficulties_of_a_head_agree_with_its_losses() -> None:
    """EL2N grows with 1 - p of the own class; out of fold a wrong label is among the hardest."""
    X, y = blobs(0, 90)
    y = y.astype(np.int64)
    y[4] = (y[4] + 1) % 3
    training = HeadTraining(X, y, 3, 1e-2)
    head = training.fit(np.arange(90))
    losses, _ = head.judge(head.theta, X, y)
    found = training.difficulty(head)
    assert (found >= (1 - np.exp(-losses)) - 1e-12).all()
    assert (found <= np.sqrt(2) * (1 - np.exp(-losses)) + 1e-12).all()
    assert 4 in np.argsort(-training.difficulty_out_of_fold(3, 0))[:12]


# --- pictures ------------------------------------------------------------------------------------


def test_grey_files_have_one_channel_and_coloured_ones_three(tmp_path: Path) -> None:
    """As grey arrays have; one coloured picture makes all of them coloured."""
    pixels, labels = stripes(6)
    for row, label in enumerate(labels):
        (tmp_path / str(label)).mkdir(exist_ok=True)
        Image.fromarray(pixels[row]).save(tmp_path / str(label) / f"{row}.png")
    data = read_training_data(tmp_path)
    assert data.ids is not None
    rows = [int(Path(name).stem) for name in data.ids.tolist()]
    np.testing.assert_array_equal(data.stacked(), pixels[rows])
    red = np.zeros((8, 8, 3), dtype=np.uint8)
    red[0, 0, 0] = 1
    Image.fromarray(red).save(tmp_path / "0" / "red.png")
    assert read_training_data(tmp_path).stacked().shape == (7, 8, 8, 3)


def test_a_network_of_ones_own_sees_numbers_from_0_to_1() -> None:
    """And what a transform made as it is."""
    pixels, labels = stripes(6)
    plain = as_pictures(pixels, labels, CPU, is_plain=True)
    np.testing.assert_allclose(plain.batch(slice(0, 6))[:, 0].numpy(), pixels / 255, rtol=1e-6)
    made = torch.randn(6, 2, 5, 4)
    kept = as_pictures(made, labels, CPU, is_plain=True)
    assert torch.equal(kept.batch(slice(0, 6)), made)
    assert torch.equal(kept.subset([3, 1]).batch(slice(0, 2)), made[[3, 1]])


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"train": np.zeros((3, 8, 8)), "train_labels": np.arange(3)}, "unsigned bytes"),
        ({"train": np.zeros((3, 8, 8), np.uint8)}, "no array 'train_labels'"),
        ({"X": np.zeros((3, 8, 8), np.uint8), "y": np.arange(2)}, "3 pictures and y 2 labels"),
        ({"X": np.zeros((3, 3, 8, 8), np.uint8), "y": np.arange(3)}, "channels come last"),
        (
            {"X": np.zeros((2, 8, 8), np.uint8), "y": np.arange(2), "ids": np.array(["a", "a"])},
            "belongs to 2 examples",
        ),
    ],
)
def test_arrays_that_are_no_labelled_pictures_are_told(
    arrays: dict[str, Any], told: str, tmp_path: Path
) -> None:
    """By the array and what is wrong with it."""
    np.savez(tmp_path / "some.npz", **arrays)
    with pytest.raises(FileFormatError, match=told):
        read_training_data(tmp_path / "some.npz")
