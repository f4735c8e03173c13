"""GraNd over all parameters, against one backward pass per example."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from subsetsel import OptionError, ProblemError, scores

N = 23


def small_model(seed: int = 0) -> nn.Sequential:
    """A network whose train and eval modes differ, with statistics of its own."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3),
        nn.BatchNorm2d(3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(12, 3),
    )
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(16, 1, 4, 4) * 2 + 1)
    return model


def small_data() -> TensorDataset:
    """Random pictures of three classes."""
    rng = torch.Generator().manual_seed(1)
    return TensorDataset(
        torch.randn(N, 1, 4, 4, generator=rng), torch.randint(0, 3, (N,), generator=rng)
    )


def by_backward(model: nn.Module, data: TensorDataset, names: Any = None) -> Any:
    """One example, one backward pass, in eval mode."""
    was_training = model.training
    model.eval()
    chosen = [p for name, p in model.named_parameters() if names is None or name in names]
    norms = []
    for image, label in zip(*data.tensors, strict=True):
        loss = nn.functional.cross_entropy(model(image[None]), label[None])
        gradients = torch.autograd.grad(loss, chosen)
        norms.append(float(torch.sqrt(sum((g.double() ** 2).sum() for g in gradients))))  # type: ignore[arg-type]
    model.train(was_training)
    return np.array(norms)


@pytest.mark.parametrize("chunk_size", [None, 1, 4])
@pytest.mark.parametrize("batch_size", [None, 5])
def test_grand_is_the_gradient_norm_of_each_example(
    chunk_size: int | None, batch_size: int | None
) -> None:
    """However the work is cut up."""
    model, data = small_model(), small_data()
    score = scores.grand(model, data, chunk_size=chunk_size, batch_size=batch_size, device="cpu")
    np.testing.assert_allclose(score.values, by_backward(model, data), rtol=2e-5)
    assert score.keeps == "highest"


def test_the_labels_of_a_batch_are_named() -> None:
    """An item between pictures and labels is not taken for labels."""
    model, data = small_model(), small_data()
    images, labels = data.tensors
    numbered = TensorDataset(images, torch.arange(N), labels)
    with pytest.raises(ProblemError, match="labels="):
        scores.grand(model, numbered, device="cpu")
    score = scores.grand(model, numbered, labels=2, inputs=0, device="cpu")
    np.testing.assert_allclose(score.values, by_backward(model, data), rtol=2e-5)


def test_grand_is_not_that_of_the_last_layer() -> None:
    """The layers below add to it and change the order."""
    model, data = small_model(), small_data()
    full = scores.grand(model, data, device="cpu")
    last = scores.grand(model, data, parameters=["5"], device="cpu")
    np.testing.assert_allclose(
        last.values, by_backward(model, data, {"5.weight", "5.bias"}), rtol=2e-5
    )
    assert (full.values > last.values).all()
    assert not np.array_equal(np.argsort(full.values), np.argsort(last.values))


def test_the_closed_form_of_the_last_layer_agrees() -> None:
    """Bias included; by the weights alone the norms are smaller."""
    model, data = small_model(), small_data()
    model.eval()
    with torch.no_grad():
        features = model[:-1](data.tensors[0])
        probabilities = model[-1](features).softmax(dim=1)
    closed = scores.grand_last_layer(probabilities, features, data.tensors[1])
    last = scores.grand(model, data, parameters=["5"], device="cpu")
    np.testing.assert_allclose(closed.values, last.values, rtol=1e-4)
    bare = scores.grand(model, data, parameters=["5.weight"], device="cpu")
    assert (bare.values < last.values).all()


def test_grand_averages_norms_over_networks() -> None:
    """Not the norm of the mean gradient."""
    models, data = [small_model(0), small_model(1)], small_data()
    expected = np.mean([by_backward(model, data) for model in models], axis=0)
    score = scores.grand(models, data, device="cpu")
    np.testing.assert_allclose(score.values, expected, rtol=2e-5)
    assert score.about["num_models"] == 2


def test_the_model_is_given_back_as_it_was() -> None:
    """Its modes, its statistics, its parameters and their gradients."""
    model = small_model()
    model[4].eval()
    modes = [module.training for module in model.modules()]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    scores.grand(model, small_data(), device="cpu")
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_frozen_parameters_do_not_count() -> None:
    """Training would not move them; named, they count all the same."""
    model, data = small_model(), small_data()
    expected = by_backward(model, data, {"5.weight", "5.bias"})
    first = by_backward(model, data, {"0.weight", "0.bias"})
    model.requires_grad_(False)[-1].requires_grad_(True)
    score = scores.grand(model, data, device="cpu")
    np.testing.assert_allclose(score.values, expected, rtol=2e-5)
    named = scores.grand(model, data, parameters="0", device="cpu")
    assert named.about["parameters"] == ["0"]
    np.testing.assert_allclose(named.values, first, rtol=2e-5)


class Mappings(Dataset[Any]):
    """The same data as mappings."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, label = small_data()[index]
        return {"pixels": image, "labels": label}


class WithLogits(nn.Module):
    """A model that is called by name and returns an object."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, pixels: Any) -> Any:
        """Logits by name."""
        return SimpleNamespace(logits=self.inner(pixels))


def test_mappings_and_outputs_with_logits_are_understood() -> None:
    """As the models of text libraries are called."""
    inner = small_model()
    score = scores.grand(WithLogits(inner), Mappings(), device="cpu")
    np.testing.assert_allclose(score.values, by_backward(inner, small_data()), rtol=2e-5)


def test_double_precision_is_kept() -> None:
    """A float64 model is not narrowed."""
    model, data = small_model().double(), small_data()
    wide = TensorDataset(data.tensors[0].double(), data.tensors[1])
    score = scores.grand(model, wide, device="cpu")
    np.testing.assert_allclose(score.values, by_backward(model, wide), rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model": []}, "non-empty sequence"),
        ({"model": ["no"]}, "torch.nn.Module"),
        ({"parameters": ["7"]}, "names '7', which is no parameter"),
        ({"parameters": []}, "must name at least one parameter"),
        ({"data": DataLoader(small_data(), shuffle=True)}, "shuffle"),
        ({"data": TensorDataset(torch.zeros(2, 1, 4, 4), torch.tensor([0, 3]))}, "example 1 has"),
        ({"model": nn.Flatten(0)}, "no parameter of the model requires a gradient"),
        ({"model": nn.Conv2d(1, 1, 1)}, "must return logits"),
    ],
)
def test_bad_input_is_refused(arguments: dict[str, Any], words: str) -> None:
    """The message names what is wrong."""
    with pytest.raises(ProblemError, match=words):
        scores.grand(**{"model": small_model(), "data": small_data(), "device": "cpu", **arguments})


def test_chunk_size_is_a_count() -> None:
    """Zero examples at once get nowhere."""
    with pytest.raises(OptionError, match="chunk_size"):
        scores.grand(small_model(), small_data(), chunk_size=0)


class Branching(nn.Module):
    """Looks at its values, which cannot be done for many examples at once."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 3)

    def forward(self, x: Any) -> Any:
        """Logits, by a branch."""
        out = self.linear(x.flatten(1))
        return out if float(out.sum()) > 0 else out + 0


def test_a_model_that_torch_func_cannot_take_is_refused_in_words() -> None:
    """With the reason, and with what to use instead."""
    with pytest.raises(ProblemError, match=r"torch\.func.*grand_last_layer"):
        scores.grand(Branching(), small_data(), device="cpu")
