"""Models as users bring them: adapters, odd heads, compiled, random; and the options they need."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from subsetsel.errors import FormulationWarning, OptionError, ProblemError
from subsetsel.influence import features_from_model, parameter_influence
from subsetsel.problem.problem import Problem

N, WIDTH, C = 48, 17, 3
L2 = 0.05


def data() -> TensorDataset:
    """Random inputs of five numbers and three classes."""
    rng = torch.Generator().manual_seed(0)
    return TensorDataset(torch.randn(N, 5, generator=rng), torch.arange(N) % C)


def ask(net: nn.Module, data_set: Any, **options: Any) -> Problem:
    """Ask for five examples, without the warning that the model's own head is untrained."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the model's own classifier")
        return Problem.from_model(net, data_set, l2=L2, size=5, **options)


class Net(nn.Module):
    """A body of 17 features and a head ``fc``; what follows the head may be given."""

    def __init__(self, head: nn.Module | None = None, after: Any = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Linear(5, WIDTH)
        self.fc: Any = nn.Linear(WIDTH, C) if head is None else head
        self._after = after

    def features(self, x: Tensor) -> Tensor:
        """What the head is given."""
        return torch.relu(self.body(x))

    def forward(self, x: Tensor) -> Any:
        """Whatever is to be returned."""
        out = self.fc(self.features(x))
        return out if self._after is None else self._after(out)


class Lora(nn.Module):
    """An adapter as peft builds one: a base layer, and low-rank parts in dictionaries."""

    def __init__(self, base: nn.Module, num_in: int, num_out: int, *, zero: bool = False) -> None:
        super().__init__()
        self.base_layer = base
        self.lora_dropout = nn.ModuleDict({"default": nn.Dropout(0.5)})
        self.lora_A = nn.ModuleDict({"default": nn.Linear(num_in, C, bias=False)})
        last = nn.Linear(C, num_out, bias=False)
        if zero:
            nn.init.zeros_(last.weight)
        self.lora_B = nn.ModuleDict({"default": last})

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The base layer and a step beside it."""
        out = self.base_layer(x, *args, **kwargs)
        step = self.lora_B["default"](self.lora_A["default"](self.lora_dropout["default"](x)))
        result: Tensor = out + step * 2.0
        return result


class Saved(nn.Module):
    """A layer trained beside an adapter, as peft wraps one: the original and a copy in use."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.original_module = layer
        self.modules_to_save = nn.ModuleDict({"default": nn.Linear(WIDTH, C)})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The copy alone."""
        return self.modules_to_save["default"](*args, **kwargs)


class OldLora(nn.Linear):
    """An adapter as older libraries build one: itself the base layer."""

    def __init__(self) -> None:
        super().__init__(WIDTH, C)
        self.lora_A, self.lora_B = nn.Linear(WIDTH, 2, bias=False), nn.Linear(2, C, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The base layer and a step beside it."""
        out: Tensor = F.linear(x, self.weight, self.bias) + self.lora_B(self.lora_A(x))
        return out


class Matrix(nn.Module):
    """A head that is a bare parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(WIDTH, C))

    def forward(self, h: Tensor) -> Tensor:
        """A product."""
        return h @ self.matrix


class Convolution(nn.Module):
    """A head that is a 1x1 convolution over a single position."""

    def __init__(self, layer: nn.Module, *, is_flat: bool = True) -> None:
        super().__init__()
        self.conv, self._is_flat = layer, is_flat

    def forward(self, h: Tensor) -> Tensor:
        """Logits of shape (b, C), or with two empty dimensions more."""
        out: Tensor = self.conv(h[:, :, None, None])
        return out.flatten(1) if self._is_flat else out


def with_all_adapted() -> Net:
    """Adapters on every linear layer."""
    net = Net()
    net.body = Lora(net.body, 5, WIDTH)  # type: ignore[assignment]
    net.fc = Lora(net.fc, WIDTH, C)
    return net


HEADS: list[tuple[Callable[[], nn.Module], str]] = [
    (lambda: Net(), "fc"),
    (lambda: Net(Lora(nn.Linear(WIDTH, C), WIDTH, C)), "fc"),
    (lambda: Net(Lora(nn.Linear(WIDTH, C), WIDTH, C, zero=True)), "fc"),
    (with_all_adapted, "fc"),
    (lambda: Net(Lora(Lora(nn.Linear(WIDTH, C), WIDTH, C), WIDTH, C)), "fc"),
    (lambda: Net(Saved(nn.Linear(WIDTH, C))), "fc.modules_to_save.default"),
    (lambda: Net(OldLora()), "fc"),
    (lambda: Net(Convolution(nn.Conv2d(WIDTH, C, 1))), "fc.conv"),
    (lambda: Net(Convolution(nn.Conv2d(WIDTH, C, 1, bias=False))), "fc.conv"),
    (lambda: Net(Convolution(nn.Conv2d(WIDTH, C, 1), is_flat=False)), "fc.conv"),
    (lambda: Net(Matrix()), "fc"),
    (lambda: Net(nn.Sequential(nn.Dropout(), nn.Linear(WIDTH, C))), "fc.1"),
    (lambda: Net(nn.utils.parametrizations.weight_norm(nn.Linear(WIDTH, C))), "fc"),
    (lambda: nn.DataParallel(Net()), "module.fc"),
]


@pytest.mark.parametrize(("make", "name"), HEADS)
def test_the_head_is_the_layer_that_gives_the_logits(
    make: Callable[[], nn.Module], name: str
) -> None:
    """Whatever the head is made of, X is what it is given, and theta gives the model's logits.

    Mutation: a module with a base layer is no candidate: fails.
    """
    net = make()
    found = features_from_model(net, data(), device="cpu")
    assert (found.classifier, found.X.shape, found.num_classes) == (name, (N, WIDTH), C)
    inner: Any = net.module if isinstance(net, nn.DataParallel) else net
    assert found.theta is not None
    with torch.no_grad():
        inner.eval()
        np.testing.assert_allclose(found.X, inner.features(data().tensors[0]), atol=1e-6)
        logits = inner(data().tensors[0]).flatten(1).numpy()
    np.testing.assert_allclose(
        found.X @ found.theta[:, :-1].T + found.theta[:, -1], logits, atol=1e-5
    )


def test_a_layer_called_after_the_head_is_not_taken() -> None:
    """A linear layer that runs last, with an output that is not returned, is not the head."""

    class Routed(Net):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Linear(C, C)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = super().forward(x)
            self.gate(out)
            return out

    assert features_from_model(Routed(), data()).classifier == "fc"


@pytest.mark.parametrize(
    "after",
    [
        nn.LogSoftmax(1),
        nn.Softmax(1),
        lambda out: out - out.mean(dim=1, keepdim=True),
        lambda out: SimpleNamespace(loss=out.mean(), logits=out),
        lambda out: {"logits": out, "scale": torch.ones(N, C)},
        lambda out: (out, torch.ones(N, 9)),
    ],
)
def test_what_the_softmax_makes_of_logits_is_known(after: Any) -> None:
    """Log-probabilities, probabilities, shifted logits and logits among others are the head's."""
    assert features_from_model(Net(after=after), data()).classifier == "fc"


@pytest.mark.parametrize("after", [None, nn.Sigmoid(), nn.Flatten(0), lambda out: out.squeeze(1)])
@pytest.mark.parametrize("shape", [(N,), (N, 1)])
def test_one_logit_takes_float_labels(after: Any, shape: tuple[int, ...]) -> None:
    """A model of one logit and labels as its loss wants them make a problem of two classes.

    Mutation: `check_labels` refuses every float: fails.
    """
    y = (torch.arange(N) % 2).float().reshape(shape)
    net = Net(nn.Linear(WIDTH, 1), after)
    problem = ask(net, TensorDataset(data().tensors[0], y))
    assert problem.head is not None
    assert problem.head.theta.shape == (2, WIDTH + 1)
    np.testing.assert_array_equal(problem.head.labels, np.arange(N) % 2)


def test_labels_of_one_logit_may_be_signs_once_they_are_counted_from_zero() -> None:
    """Labels -1 and 1 are refused, and the cure works."""
    X, y = data().tensors[0], 2 * (torch.arange(N) % 2) - 1
    net = Net(nn.Linear(WIDTH, 1))
    with pytest.raises(ProblemError, match=r"\(labels \+ 1\) // 2"):
        features_from_model(net, TensorDataset(X, y))
    found = features_from_model(net, TensorDataset(X, (y + 1) // 2))
    np.testing.assert_array_equal(found.y, np.arange(N) % 2)


class Bare(Net):
    """Uses the weights of its head without calling it, or weights that are in no layer."""

    def __init__(self, *, has_layer: bool) -> None:
        super().__init__()
        self.has_layer, self.is_mended = has_layer, False
        self.matrix = nn.Parameter(torch.randn(WIDTH, C))

    def forward(self, x: Tensor) -> Any:
        """Logits."""
        h = self.features(x)
        if not self.has_layer:
            return h @ self.matrix
        return self.fc(h) if self.is_mended else F.linear(h, self.fc.weight, self.fc.bias)


@pytest.mark.parametrize("has_layer", [False, True])
def test_weights_without_a_layer_are_refused(has_layer: bool) -> None:
    """The body is not taken for the head; features of one's own give the same head.

    Mutation: `choose_classifier` returns the last layer called where none fits: fails.
    """
    net = Bare(has_layer=has_layer)
    with pytest.raises(ProblemError, match=r"body \(Linear\).*Problem\.from_features"):
        features_from_model(net, data())
    with torch.no_grad():
        X = net.features(data().tensors[0]).numpy()
    problem = Problem.from_features(X, data().tensors[1].numpy(), l2=L2, size=5)
    assert problem.d == (C - 1) * (WIDTH + 1)


def test_calling_the_layer_is_a_cure() -> None:
    """A head named but used by its weights alone is refused; called in forward, it is found."""
    net = Bare(has_layer=True)
    with pytest.raises(ProblemError, match=r"never called.*call the layer itself"):
        features_from_model(net, data(), classifier="fc")
    net.is_mended = True
    assert features_from_model(net, data(), classifier="fc").classifier == "fc"


def test_a_head_that_is_not_linear_is_refused() -> None:
    """A subclass of Linear that normalizes its input is no linear classifier of that input."""

    class Cosine(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return F.linear(F.normalize(input), F.normalize(self.weight))

    with pytest.raises(ProblemError, match="no layer of the model gives"):
        features_from_model(Net(Cosine(WIDTH, C)), data())


def test_scaled_logits_are_asked_about() -> None:
    """A temperature after the head is refused; the head may be named, and a warning says so."""

    class Temperature(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor([[3.0]]))

        def forward(self, out: Tensor) -> Tensor:
            return out * self.scale

    net = Net(after=Temperature())
    with pytest.raises(ProblemError, match="name it with classifier="):
        features_from_model(net, data())
    with pytest.warns(FormulationWarning, match="does not give what the model returns"):
        found = features_from_model(net, data(), classifier="fc")
    assert found.X.shape == (N, WIDTH)


def test_of_two_outputs_one_is_named() -> None:
    """Where two heads give an output each, the caller says which; either may be named."""

    class Two(Net):
        def __init__(self) -> None:
            super().__init__()
            self.coarse = nn.Linear(WIDTH, C)

        def forward(self, x: Tensor) -> Any:
            return {"coarse": self.coarse(self.features(x)), "fine": super().forward(x)}

    with pytest.raises(ProblemError, match=r"coarse and fc each give one.*classifier="):
        features_from_model(Two(), data())
    for name in ("coarse", "fc"):
        assert features_from_model(Two(), data(), classifier=name).classifier == name


@pytest.mark.parametrize("name", ["fc.base_layer", "fc.lora_B.default"])
def test_a_part_of_an_adapter_is_not_the_head(name: str) -> None:
    """A name inside an adapter is refused, naming the adapter, which works."""
    net = Net(Lora(nn.Linear(WIDTH, C), WIDTH, C))
    with pytest.raises(ProblemError, match="is a part of 'fc'"):
        features_from_model(net, data(), classifier=name)
    assert features_from_model(net, data(), classifier="fc").classifier == "fc"


class Sequence(nn.Module):
    """Classifies every position and returns the last one, as decoders do."""

    def __init__(self, pick: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.score, self._pick = nn.Linear(5, C), pick

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
        """Logits of one position."""
        out = self.score(F.one_hot(input_ids, 5).float())
        if attention_mask is None:
            return self._pick(out)
        where = (torch.arange(out.shape[1]) * attention_mask).argmax(1)
        return out[torch.arange(len(out)), where]


def tokens() -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, a mask of the padding on their right, and labels."""
    ids = (torch.arange(N)[:, None] * 7 + torch.arange(4) ** 2) % 5
    mask = (torch.arange(4) <= torch.arange(N)[:, None] % 3 + 1).long()
    return ids, mask, torch.arange(N) % C


class Bert(nn.Module):
    """Embeds, mixes, pools the first token and classifies, with the names of Hugging Face."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embeddings, self.query = nn.Embedding(5, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.pooler, self.dropout = nn.Linear(WIDTH, WIDTH), nn.Dropout()
        self.classifier = nn.Linear(WIDTH, C)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """Logits in an object."""
        h = self.embeddings(input_ids)
        weights = self.query(h)[:, 0, :, None].mul(h.mT).sum(1) * attention_mask
        pooled = torch.tanh(self.pooler(torch.einsum("bt,bth->bh", weights, h)))
        return SimpleNamespace(loss=None, logits=self.classifier(self.dropout(pooled)))


class Wrapped(nn.Module):
    """Passes all on, as a peft model does."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.base_model = model

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the model within gives."""
        return self.base_model(*args, **kwargs)


def test_a_text_model_with_adapters_everywhere() -> None:
    """With adapters on all linear layers the classifier of 17 features is found, by keys or items.

    Mutation: a module with a base layer is no candidate: fails.
    """
    net = Bert()
    for name, layer in list(net.named_children()):
        if isinstance(layer, nn.Linear):
            setattr(net, name, Lora(layer, layer.in_features, layer.out_features))
    found = features_from_model(Wrapped(net), TensorDataset(*tokens()), labels=2)
    assert (found.classifier, found.X.shape) == ("base_model.classifier", (N, WIDTH))
    ids, mask, y = tokens()
    keyed: Any = [
        {"input_ids": a, "attention_mask": b, "labels": c}
        for a, b, c in zip(ids, mask, y, strict=True)
    ]
    np.testing.assert_array_equal(features_from_model(Wrapped(net), keyed).X, found.X)


def test_a_mask_behind_a_wrapper_is_a_mask() -> None:
    """Padding does not count where a wrapper hides the names of forward, and items have no keys."""

    class EveryPosition(Sequence):
        def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Any:
            return self.score(F.one_hot(input_ids, 5).float())

    net, data_set = EveryPosition(None), TensorDataset(*tokens())
    found = features_from_model(Wrapped(net), data_set, pooling="mean", labels=2)
    plain = features_from_model(net, data_set, pooling="mean", labels=2)
    np.testing.assert_array_equal(found.X, plain.X)
    ids, mask, _ = tokens()
    expected = (F.one_hot(ids, 5) * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    np.testing.assert_allclose(found.X, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_models_of_other_precision(dtype: torch.dtype) -> None:
    """Rounding in half precision is no other output, and float64 stays float64."""
    found = features_from_model(
        Net().to(dtype), TensorDataset(data().tensors[0].to(dtype), data().tensors[1])
    )
    assert found.classifier == "fc"
    assert found.X.dtype == (np.float64 if dtype == torch.float64 else np.float32)


def test_a_head_called_twice_is_refused() -> None:
    """Two calls give two inputs; one call, as the message says, gives features."""

    class Twice(Net):
        times = 2

        def forward(self, x: Tensor) -> Any:
            return sum(self.fc(self.features(x)) for _ in range(self.times)) / self.times

    net = Twice()
    with pytest.raises(ProblemError, match="called 2 times.*Call it once"):  # noqa: RUF043
        features_from_model(net, data())
    net.times = 1
    assert features_from_model(net, data()).classifier == "fc"


def test_a_pooling_that_is_not_the_models_is_refused() -> None:
    """Where the model picks the last position, the mean is refused and "last" works."""
    ids, _, y = tokens()
    net = Sequence(lambda out: out[:, -1])
    with pytest.raises(ProblemError, match="pooling="):
        ask(net, TensorDataset(ids, y))
    for name in (None, "score"):
        with pytest.raises(ProblemError, match="pooling='last'"):
            features_from_model(net, TensorDataset(ids, y), pooling="mean", classifier=name)
    problem = ask(net, TensorDataset(ids, y), pooling="last")
    assert problem.d == (C - 1) * 6


def test_three_tensors_of_a_text_set_say_which_are_the_labels() -> None:
    """Tokens, mask and labels: the mask is not taken for labels, and it is used as a mask.

    Mutation: `_split_items` takes item 1 of any batch: fails.
    """
    data_set = TensorDataset(*tokens())
    net = Sequence(None)
    with pytest.raises(ProblemError, match=r"0: int64.*labels=, counted from 0"):
        features_from_model(net, data_set, pooling="last")
    found = features_from_model(net, data_set, pooling="last", labels=2)
    ids, mask, y = tokens()
    last = ids[torch.arange(N), mask.sum(dim=1) - 1]
    np.testing.assert_array_equal(found.X, F.one_hot(last, 5))
    np.testing.assert_array_equal(found.y, y)


def test_a_layer_may_be_given_its_input_by_name() -> None:
    """fc(input=h) is the same as fc(h)."""

    class Named(Net):
        def forward(self, x: Tensor) -> Any:
            return self.fc(input=self.features(x))

    expected = features_from_model(Net(), data())
    np.testing.assert_array_equal(features_from_model(Named(), data()).X, expected.X)


def compiled_whole() -> nn.Module:
    """A model compiled by torch.compile."""
    return torch.compile(Net(), backend="eager")  # type: ignore[return-value]


def compiled_in_place() -> nn.Module:
    """A model compiled by its own method."""
    net = Net()
    net.compile(backend="eager")
    return net


def compiled_inside() -> nn.Module:
    """A model with a compiled part."""
    part: Any = torch.compile(Net(), backend="eager")
    return nn.Sequential(nn.Identity(), part)


COMPILED = [compiled_whole, compiled_in_place, compiled_inside]


@pytest.mark.skipif(not hasattr(torch.compiler, "set_stance"), reason="torch before 2.6")
@pytest.mark.parametrize("make", COMPILED)
def test_a_compiled_model_that_was_used_before(make: Callable[[], nn.Module]) -> None:
    """Code compiled before the hooks came is run as written, and is compiled afterwards as before.

    Mutation: `eager` does nothing: fails.
    """
    net = make().eval()
    with torch.no_grad():
        before = net(data().tensors[0])
        found = features_from_model(net, data())
        np.testing.assert_array_equal(found.X, features_from_model(Net(), data()).X)
        assert torch.equal(net(data().tensors[0]), before)


@pytest.mark.parametrize("make", COMPILED)
def test_gradients_of_a_compiled_model_that_was_used_before(make: Callable[[], nn.Module]) -> None:
    """parameters= gives the same rows as the model that is not compiled."""
    net = make().eval()
    net(data().tensors[0])
    name = "1._orig_mod.fc" if make is compiled_inside else "fc"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the chosen parameters are not at a minimum")
        found = parameter_influence(net, data(), l2=L2, parameters=name, dtype=np.float64)
        plain = parameter_influence(Net(), data(), l2=L2, parameters="fc", dtype=np.float64)
    every = np.arange(N)
    np.testing.assert_allclose(found.rows.take(every), plain.rows.take(every), atol=1e-9)


class Noisy(Net):
    """Dropout that is on in eval mode, until it is mended."""

    mended = False

    def features(self, x: Tensor) -> Tensor:
        """With dropout."""
        h = super().features(x)
        return F.dropout(h, 0.1, training=self.training if self.mended else True)


def test_dropout_that_is_always_on_is_refused() -> None:
    """Features that differ from pass to pass are none, and the cure named works.

    Mutation: `check_repeats` runs the first batch once: fails.
    """
    net = Noisy()
    with pytest.raises(ProblemError, match=r"training=self\.training"):
        ask(net, data())
    with pytest.raises(ProblemError, match=r"depends on the others|random"):
        ask(net, data(), parameters="fc")
    net.mended = True
    assert features_from_model(net, data()).X.shape == (N, WIDTH)


def batch_norm(*, tracks: bool) -> nn.Sequential:
    """A body with batch norm, with or without running statistics."""
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(WIDTH, track_running_stats=tracks)
    return nn.Sequential(nn.Linear(5, WIDTH), norm, nn.ReLU(), nn.Linear(WIDTH, C))


@pytest.mark.parametrize("batch_size", [N, 3, 2])
def test_features_that_depend_on_the_batch_are_said(batch_size: int) -> None:
    """BatchNorm without running statistics is said aloud; with them, after a pass, nothing is.

    Mutation: `check_repeats` does not run the first examples alone: fails.
    """
    with pytest.warns(RuntimeWarning, match="share a batch.*track_running_stats=True"):
        features_from_model(batch_norm(tracks=False), data(), batch_size=batch_size)
    net = batch_norm(tracks=True)
    net(data().tensors[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features_from_model(net, data(), batch_size=batch_size)


def test_an_example_without_a_gradient_of_its_own_is_refused() -> None:
    """With parameters= an example must not depend on its batch; the cure works.

    Mutation: `Network.check` leaves `require_separate` out: fails.
    """
    options: dict[str, Any] = {"l2": L2, "parameters": "3"}
    with pytest.raises(ProblemError, match=r"track_running_stats=True|single examples"):
        parameter_influence(batch_norm(tracks=False), data(), **options)
    norm = nn.BatchNorm2d(WIDTH, track_running_stats=False)
    net = nn.Sequential(nn.Linear(5, 4 * WIDTH), nn.Unflatten(1, (WIDTH, 2, 2)), norm)
    pictures = net.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, C)])
    with pytest.raises(ProblemError, match="no gradient of its own"):
        parameter_influence(pictures, data(), l2=L2, parameters="5")
    mended = batch_norm(tracks=True)
    mended(data().tensors[0])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the chosen parameters are not at a minimum")
        assert parameter_influence(mended, data(), **options).rows.shape[0] == N


def test_probabilities_have_no_gradients_of_logits() -> None:
    """With parameters= a softmax at the end is refused, and taking it off works."""
    net = nn.Sequential(nn.Linear(5, C), nn.Softmax(1))
    with pytest.raises(ProblemError, match=r"model\[:-1\]"):
        parameter_influence(net, data(), l2=L2, parameters="0")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the chosen parameters are not at a minimum")
        assert parameter_influence(net[:-1], data(), l2=L2, parameters="0").rows.shape[0] == N


@pytest.mark.parametrize("after", [None, nn.Flatten(0), torch.squeeze])
def test_gradients_of_one_logit_are_those_of_its_sigmoid(after: Any) -> None:
    """With parameters= one logit is as good as two, and the gradient is that of the BCE loss."""
    net = Net(nn.Linear(WIDTH, 1), after)
    X, y = data().tensors[0], (torch.arange(N) % 2).float()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the chosen parameters are not at a minimum")
        found = parameter_influence(
            net, TensorDataset(X, y), l2=L2, parameters="fc.bias", dtype=np.float64
        )
    with torch.no_grad():
        p = net.fc(net.features(X)).sigmoid()[:, 0].double()
        bias = net.fc.bias.double()
    H = (p * (1 - p)).mean() + L2
    expected = (p - y + L2 * bias) / H / N
    np.testing.assert_allclose(found.rows.take(np.arange(N))[:, 0], expected, atol=1e-7)


def test_the_options_are_taken_by_from_model_itself() -> None:
    """pooling=, classifier=, batch_size= and the like need no dictionary."""
    ids, _, y = tokens()
    net = Sequence(lambda out: out[:, 0])
    seen: list[int] = []
    problem = ask(
        net,
        TensorDataset(ids, y),
        pooling="first",
        classifier="score",
        batch_size=16,
        progress=lambda done, _: seen.append(done),
        precision="float32",
    )
    assert (problem.n, seen) == (N, [16, 32, 48])


def test_an_option_given_twice_or_unknown_is_refused() -> None:
    """features= holds the same options; a contest, a name that is none and a misfit are named."""
    with pytest.raises(ProblemError, match="batch_size is given twice"):
        ask(Net(), data(), batch_size=16, features={"batch_size": 8})
    with pytest.raises(ProblemError, match="features holds batchsize"):
        ask(Net(), data(), features={"batchsize": 8})
    with pytest.raises(ProblemError, match="dictionary of options"):
        ask(Net(), data(), features="mean")
    with pytest.raises(OptionError, match="did you mean pooling"):
        ask(nn.Flatten(), data(), poling="mean")
    with pytest.raises(ProblemError, match="pooling has no meaning with parameters="):
        ask(Net(), data(), pooling="mean", parameters="fc")
    assert ask(Net(), data(), features={"batch_size": 8}).n == N
