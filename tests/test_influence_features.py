"""Features of a model: captured as its classifier sees them, resumable, with clear refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from subsetsel.errors import FileFormatError, OptionError, ProblemError
from subsetsel.influence.features.batches import split_batch
from subsetsel.influence.features.capture import ModelFeatures
from subsetsel.influence.features.extract import features_from_model
from subsetsel.influence.features.from_model import head_from_model
from subsetsel.influence.features.store import fingerprint_model

N = 150


class Stop(Exception):
    """Stands for a kill."""


def small_model(seed: int = 0, num_classes: int = 3) -> nn.Sequential:
    """A model whose train and eval modes differ."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, num_classes)
    )


def small_data(seed: int = 0) -> TensorDataset:
    """Random pictures of three classes."""
    rng = torch.Generator().manual_seed(seed)
    return TensorDataset(
        torch.randn(N, 4, 4, generator=rng), torch.randint(0, 3, (N,), generator=rng)
    )


def reference(model: nn.Sequential, data: TensorDataset) -> torch.Tensor:
    """Features by hand."""
    model.eval()
    with torch.no_grad():
        out: torch.Tensor = model[:-1](data.tensors[0])
    model.train()
    return out


class Tokens(nn.Module):
    """Classifies every position of a sequence, as Hugging Face's decoders do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.score = nn.Embedding(20, 6), nn.Linear(6, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        """Logits of every position."""
        return SimpleNamespace(logits=self.score(self.embed(input_ids)))


class TokenData(Dataset[dict[str, torch.Tensor]]):
    """Mappings with labels and padding on the right."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        length = 2 + index % 3
        return {
            "input_ids": (torch.arange(5) * 7 + index) % 20,
            "attention_mask": (torch.arange(5) < length).long(),
            "labels": torch.tensor(index % 3),
        }


def test_features_are_the_classifiers_input() -> None:
    """X is what the last linear layer is given in eval mode, y the labels in order."""
    model, data = small_model(), small_data()
    found = features_from_model(model, data, batch_size=64)
    np.testing.assert_allclose(found.X, reference(model, data).numpy(), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(found.y, data.tensors[1].numpy())
    assert (found.classifier, found.num_classes) == ("4", 3)
    assert found.X.dtype == np.float32


def test_theta_is_the_models_own_head() -> None:
    """The warm start gives the model's own logits."""
    model, data = small_model(), small_data()
    found = features_from_model(model, data)
    assert found.theta is not None
    logits = found.X @ found.theta[:, :-1].T + found.theta[:, -1]
    model.eval()
    with torch.no_grad():
        np.testing.assert_allclose(logits, model(data.tensors[0]).numpy(), atol=1e-5)


def test_modes_are_given_back() -> None:
    """Modules that were training train again, frozen ones stay frozen, no hook is left."""
    model = small_model()
    model[2].eval()
    features_from_model(model, small_data())
    assert [module.training for module in model] == [True, True, False, True, True]
    assert not model[-1]._forward_pre_hooks


def test_modes_are_given_back_after_an_error() -> None:
    """An error on the way leaves the model as it was."""
    model, data = small_model(), small_data()
    data.tensors[1][7] = 5
    with pytest.raises(ProblemError):
        features_from_model(model, data)
    assert all(module.training for module in model)
    assert not model[-1]._forward_pre_hooks


def test_classifier_by_name() -> None:
    """The layer may be named; one whose output the model does not return is refused."""
    model = small_model()
    model.append(nn.Linear(3, 3))
    assert features_from_model(model, small_data()).classifier == "5"
    assert features_from_model(model, small_data(), classifier="5").X.shape == (N, 3)
    with pytest.raises(ProblemError, match=r"5 does: .*leave classifier= out"):
        features_from_model(model, small_data(), classifier="4")
    assert features_from_model(model[:-1], small_data(), classifier="4").X.shape == (N, 8)


def test_loader_lends_its_settings() -> None:
    """An ordered loader gives the same features as its data set."""
    model, data = small_model(), small_data()
    loader = DataLoader(data, batch_size=32)
    np.testing.assert_array_equal(
        features_from_model(model, loader).X, features_from_model(model, data, batch_size=32).X
    )


@pytest.mark.parametrize(("pooling", "where"), [("first", 0), ("last", -1)])
def test_pooling_picks_a_position(pooling: Any, where: int) -> None:
    """The first or the last position that is not padding speaks for a sequence."""
    model, data = Tokens(), TokenData()
    found = features_from_model(model, data, pooling=pooling)
    for index in range(len(data)):
        item = data[index]
        tokens = item["input_ids"][item["attention_mask"].bool()]
        expected = model.embed.weight[tokens[where]].detach().numpy()
        np.testing.assert_array_equal(found.X[index], expected)


def test_pooling_mean_leaves_padding_out() -> None:
    """The mean runs over what is not padding."""
    model, data = Tokens(), TokenData()
    found = features_from_model(model, data, pooling="mean", batch_size=4)
    item = data[4]
    tokens = item["input_ids"][item["attention_mask"].bool()]
    expected = model.embed.weight[tokens].mean(dim=0).detach().numpy()
    np.testing.assert_allclose(found.X[4], expected, rtol=1e-6, atol=1e-6)


def test_sequences_need_a_pooling() -> None:
    """Several positions per example and no word on which one counts is an error."""
    with pytest.raises(ProblemError, match="pooling="):
        features_from_model(Tokens(), TokenData())


def test_objects_with_labels() -> None:
    """A batch may be an object that the model takes whole."""

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(2, 2)

        def forward(self, batch: Any) -> torch.Tensor:
            out: torch.Tensor = self.fc(batch.points)
            return out

    def collate(items: list[int]) -> Any:
        points = torch.tensor([[float(i), 1.0] for i in items])
        return SimpleNamespace(points=points, labels=torch.tensor(items) % 2)

    numbers: Any = list(range(6))
    loader: Any = DataLoader(numbers, batch_size=4, collate_fn=collate)
    found = features_from_model(Whole(), loader)
    np.testing.assert_array_equal(found.X[:, 0], np.arange(6))
    np.testing.assert_array_equal(found.y, np.arange(6) % 2)


def test_an_object_is_moved_as_a_copy() -> None:
    """Tensors of a batch that cannot move itself go to the device; the batch stays as it was."""
    batch = SimpleNamespace(points=torch.ones(2, 3), labels=torch.tensor([0, 1]), name="first")
    moved = split_batch(batch, torch.device("meta")).args[0]
    assert (moved.points.device.type, moved.name) == ("meta", "first")
    assert batch.points.device.type == "cpu"


def test_bfloat16_is_close() -> None:
    """Mixed precision changes features by rounding only, and they come back as float32."""
    model, data = small_model(), small_data()
    rough = features_from_model(model, data, precision="bfloat16")
    exact = features_from_model(model, data)
    assert rough.X.dtype == np.float32
    assert 0 < np.abs(rough.X - exact.X).max() < 0.1


def run(model: nn.Module, folder: Path, **options: Any) -> ModelFeatures:
    """Compute features into a folder, 16 examples at a time."""
    settings: dict[str, Any] = {"batch_size": 16, "cache_dir": folder} | options
    return features_from_model(model, settings.pop("data", small_data()), **settings)


@pytest.fixture
def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder left behind by a run that was stopped halfway."""
    monkeypatch.setattr("subsetsel.influence.features.extract._BATCHES_PER_COMMIT", 2)

    def stop(done: int, total: int) -> None:
        if done > total / 2:
            raise Stop

    with pytest.raises(Stop):
        run(small_model(), tmp_path, progress=stop)
    return tmp_path


def test_killed_run_resumes_bit_equal(killed: Path) -> None:
    """What was safely on disk is not computed again, and the result is the same to the bit."""
    seen: list[int] = []
    resumed = run(small_model(), killed, progress=lambda done, _: seen.append(done))
    whole = features_from_model(small_model(), small_data(), batch_size=16)
    np.testing.assert_array_equal(resumed.X, whole.X)
    np.testing.assert_array_equal(resumed.y, whole.y)
    assert 16 < seen[0] < N


def test_a_terminal_has_a_bar_that_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal progress is shown, but not before two seconds have passed."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    features_from_model(small_model(), small_data(), batch_size=16)
    assert "features" not in capsys.readouterr().err


def test_finished_features_are_only_read(tmp_path: Path) -> None:
    """A second run over finished features computes nothing."""
    run(small_model(), tmp_path)
    seen: list[int] = []
    run(small_model(), tmp_path, progress=lambda done, _: seen.append(done))
    assert not seen


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"seed": 1}, "another model"),
        ({"data": small_data(1)}, "another data set"),
        ({"batch_size": 32}, "other settings"),
        ({"precision": "bfloat16"}, "other settings"),
    ],
)
def test_fingerprint_refuses_what_differs(killed: Path, change: dict[str, Any], word: str) -> None:
    """Another model, data set or setting is named and refused."""
    model = small_model(change.pop("seed", 0))
    with pytest.raises(ProblemError, match=word):
        run(model, killed, **change)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "x"}'])
def test_damaged_manifest(tmp_path: Path, text: str) -> None:
    """A manifest that is none says so."""
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(FileFormatError, match="manifest"):
        run(small_model(), tmp_path)


def test_manifest_says_how_far(killed: Path) -> None:
    """The manifest is plain JSON with the number of finished rows."""
    about = json.loads((killed / "manifest.json").read_text())
    assert about["num_done"] % 32 == 0
    assert about["shape"] == [N, 8]


def test_fingerprint_sees_buffers_and_dtypes() -> None:
    """A changed running mean or another dtype is another model."""
    model = small_model()
    before = fingerprint_model(model)
    model[2].running_mean[0] = 3.0  # type: ignore[operator]
    changed = fingerprint_model(model)
    assert len({before, changed, fingerprint_model(model.bfloat16())}) == 3


class Noisy(Dataset[tuple[torch.Tensor, int]]):
    """Random augmentation."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.randn(4, 4), index % 3


class Stream(IterableDataset[int]):
    """No length, no items by number."""

    def __iter__(self) -> Any:
        return iter(())


def nan_data() -> TensorDataset:
    """One picture is not a number."""
    data = small_data()
    data.tensors[0][40] = torch.nan
    return data


BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: DataLoader(small_data(), shuffle=True), "shuffle=False"),
    (lambda: DataLoader(small_data(), batch_size=7, drop_last=True), "drop_last"),
    (Stream, "must have a length"),
    (lambda: TensorDataset(torch.zeros(0, 4, 4), torch.zeros(0).long()), "is empty"),
    (Noisy, "different each time"),
    (nan_data, "rows 40"),
    (lambda: TensorDataset(torch.zeros(5, 4, 4)), "inputs, labels"),
    (lambda: TensorDataset(torch.zeros(5, 4, 4), torch.full((5,), 3)), "0 to 2"),
    (lambda: TensorDataset(torch.zeros(5, 4, 4), torch.rand(5)), "must be integers"),
]


@pytest.mark.parametrize(("make", "word"), BAD)
def test_bad_data(make: Callable[[], Any], word: str) -> None:
    """Each kind of unusable data is refused with its own message."""
    with pytest.raises(ProblemError, match=word):
        features_from_model(small_model(), make())


@pytest.mark.parametrize(
    ("model", "options", "word"),
    [
        (nn.Flatten(), {}, "no torch.nn.Linear"),
        (small_model(), {"classifier": "2"}, "is a BatchNorm1d"),
        (small_model(), {"classifier": "fc"}, "does not exist"),
        (small_model(), {"pooling": "max"}, "pooling must be"),
        (small_model(), {"batch_size": -1}, "batch_size"),
        (small_model(), {"batch_size": 0}, "batch_size"),
        ("resnet", {}, "torch.nn.Module"),
    ],
)
def test_bad_model(model: Any, options: dict[str, Any], word: str) -> None:
    """A model without a usable classifier is refused, naming what there is."""
    with pytest.raises(ProblemError, match=word):
        features_from_model(model, small_data(), **options)


def test_a_device_out_of_memory_says_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the batch that did not fit and what to give instead."""

    def fail(*_: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr("subsetsel.influence.features.capture.Capture.features", fail)
    with pytest.raises(ProblemError, match=r"batch of 16 examples.*smaller batch_size"):
        features_from_model(small_model(), small_data(), batch_size=16)


@pytest.mark.parametrize("options", [{"device": "tpu"}, {"precision": "int8"}])
def test_bad_options(options: dict[str, Any]) -> None:
    """An unknown device or precision is an option error."""
    with pytest.raises(OptionError):
        features_from_model(small_model(), small_data(), **options)


def test_head_is_that_of_the_features() -> None:
    """The head of a model is the head of its features, and a far own head is said aloud."""
    from subsetsel.influence import fit_head

    model, data = small_model(), small_data()
    with pytest.warns(RuntimeWarning, match="own classifier"):
        head = head_from_model(model, data, l2=1e-2)
    found = features_from_model(model, data)
    np.testing.assert_allclose(head.theta, fit_head(found.X, found.y, l2=1e-2).theta, atol=1e-9)


def test_polished_head_does_not_warn() -> None:
    """A model whose classifier is at the minimum gives no warning."""
    model, data = small_model(), small_data()
    with pytest.warns(RuntimeWarning, match="own classifier"):
        head = head_from_model(model, data, l2=1e-2)
    theta = torch.from_numpy(head.theta.copy())
    model[-1].load_state_dict({"weight": theta[:, :-1], "bias": theta[:, -1]})
    again = head_from_model(model, data, l2=1e-2)
    np.testing.assert_allclose(again.theta, head.theta, atol=1e-9)
