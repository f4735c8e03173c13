"""Batches as data sets give them: which item holds the labels, and what else goes to the model."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from subsetsel.errors import ProblemError
from subsetsel.influence import features_from_model, parameter_influence
from subsetsel.influence.features.batches import split_batch
from subsetsel.influence.features.labels import check_labels

N, WIDTH, C = 12, 4, 3
X = torch.randn(N, WIDTH, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N) % C
CPU = torch.device("cpu")
Pair = namedtuple("Pair", ["y", "x"])


class Net(nn.Module):
    """A head alone; its input has the name that Hugging Face gives to pictures."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(WIDTH, C)

    def forward(self, pixel_values: Tensor) -> Any:
        """Logits."""
        return self.fc(pixel_values)


class Rows(Dataset[Any]):
    """Examples made one by one."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self._make = make

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        return self._make(index)


def check_found(data: Any, **options: Any) -> None:
    """Check that inputs and labels are those of this module."""
    found = features_from_model(Net(), data, batch_size=5, **options)
    np.testing.assert_array_equal(found.X, X)
    np.testing.assert_array_equal(found.y, Y)


@pytest.mark.parametrize("middle", [torch.arange(N) % 2, torch.ones(N), torch.ones(N, 2)])
def test_an_item_between_inputs_and_labels_is_not_taken_for_labels(middle: Tensor) -> None:
    """Batches (x, something, labels) are refused until it is said which is which.

    Mutation: `_split_items` takes item 1 of any batch: fails.
    """
    data = TensorDataset(X, middle, Y)
    with pytest.raises(ProblemError, match=r"1: .*labels=.*inputs=.*collate_fn"):
        features_from_model(Net(), data)
    check_found(data, labels=2, inputs=0)
    check_found(data, labels=-1, inputs=[0])

    def collate(items: list[Any]) -> Any:
        return torch.stack([item[0] for item in items]), torch.stack([item[2] for item in items])

    check_found(DataLoader(data, batch_size=5, collate_fn=collate))


def test_more_items_than_the_model_takes_are_named() -> None:
    """An item too much is no traceback of the model's, and the cure works."""
    data = TensorDataset(X, torch.arange(N), Y)
    with pytest.raises(ProblemError, match=r"could not be run.*inputs="):
        features_from_model(Net(), data, labels=2)
    check_found(data, labels=2, inputs=0)


def test_labels_may_come_first() -> None:
    """A pair (labels, inputs) is refused, and labels=0 reads it."""
    data = TensorDataset(Y, X)
    with pytest.raises(ProblemError, match="labels="):
        features_from_model(Net(), data)
    check_found(data, labels=0)


def test_the_names_of_fields_say_which_are_labels() -> None:
    """A named tuple with labels first is read by its names."""
    check_found(Rows(lambda i: Pair(Y[i], X[i])))
    check_found(Rows(lambda i: Pair(Y[i], X[i])), labels="y", inputs="x")


def test_keys_that_the_model_does_not_take_are_named() -> None:
    """Extra keys of a batch are no traceback of the model's, and the cure named works.

    Mutation: `_cure` names every key of the batch: fails.
    """
    data = Rows(lambda i: {"pixel_values": X[i], "idx": i, "text": "a", "label": Y[i]})
    with pytest.raises(ProblemError, match=r"does not take idx, text.*inputs=\['pixel_values'\]"):
        features_from_model(Net(), data)
    check_found(data, inputs=["pixel_values"])


def test_two_keys_that_could_be_labels_are_asked_about() -> None:
    """Of "label" and "target" neither is guessed; labels= chooses."""
    data = Rows(lambda i: {"pixel_values": X[i], "label": Y[i], "target": Y[i - 1]})
    with pytest.raises(ProblemError, match=r"both label and target.*labels="):
        features_from_model(Net(), data)
    check_found(data, labels="label", inputs="pixel_values")


def test_labels_under_another_name_are_asked_for() -> None:
    """A key such as fine_label is given by name; a wrong name says what there is."""
    data = Rows(lambda i: {"pixel_values": X[i], "fine_label": Y[i]})
    with pytest.raises(ProblemError, match=r"fine_label: int64.*labels="):
        features_from_model(Net(), data)
    for wrong in ("label", 1):
        with pytest.raises(ProblemError, match="fine_label: int64"):
            features_from_model(Net(), data, labels=wrong)
    check_found(data, labels="fine_label")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"labels": 5}, "from 0 to 1"),
        ({"labels": "label"}, "from 0 to 1"),
        ({"inputs": 7}, "from 0 to 1"),
        ({"labels": True}, "from 0 to 1"),
    ],
)
def test_items_that_are_none_are_refused(options: dict[str, Any], word: str) -> None:
    """A number or name that a batch does not have is named with those it has."""
    with pytest.raises(ProblemError, match=word):
        features_from_model(Net(), TensorDataset(X, Y), **options)


def test_labels_beside_and_among_the_inputs_are_asked_about() -> None:
    """({..., "labels": ...}, labels) holds them twice, and labels=1 says which."""
    batch = ({"pixel_values": X, "labels": Y}, Y.flip(0))
    with pytest.raises(ProblemError, match="labels twice"):
        split_batch(batch, CPU)
    parts = split_batch(batch, CPU, labels=1)
    assert torch.equal(parts.labels, Y.flip(0))


def test_an_object_says_which_attribute_holds_the_labels() -> None:
    """An object with two attributes that could be labels is asked about; it has no inputs=."""
    batch = SimpleNamespace(x=X, y=Y, target=Y.flip(0))
    with pytest.raises(ProblemError, match=r"both target and y.*labels="):
        split_batch(batch, CPU)
    assert torch.equal(split_batch(batch, CPU, labels="y").labels, Y)
    with pytest.raises(ProblemError, match="Leave inputs= out"):
        split_batch(batch, CPU, labels="y", inputs="x")


def test_texts_are_one_input() -> None:
    """A list of texts goes to the model whole, not text by text."""
    assert split_batch((["a", "b"], Y[:2]), CPU).args == (["a", "b"],)


def test_a_named_tuple_among_the_inputs_keeps_its_names() -> None:
    """Moving tensors to a device leaves a named tuple one."""
    parts = split_batch({"pair": Pair(Y, X), "labels": Y}, CPU)
    assert torch.equal(parts.kwargs["pair"].x, X)


@pytest.mark.filterwarnings("ignore:the chosen parameters are not at a minimum")
def test_gradients_take_the_same_words() -> None:
    """labels= and inputs= go with parameters=, too."""
    data = TensorDataset(X, torch.arange(N), Y)
    options: dict[str, Any] = {"l2": 0.1, "parameters": "fc"}
    with pytest.raises(ProblemError, match="labels="):
        parameter_influence(Net(), data, **options)
    found = parameter_influence(Net(), data, labels=2, inputs=0, **options)
    np.testing.assert_array_equal(found.labels, Y)


BAD_LABELS: list[tuple[Any, str, Any]] = [
    (torch.tensor([0.0, float("nan"), 1.0]), r"example 1 .* nan.*Subset", None),
    (torch.tensor([[0.0], [float("inf")]]), r"example 1 .* inf", None),
    (torch.tensor([0.2, 1.0, 7.5]), r"0\.2.*regression.*threshold", lambda y: y > 1),
    (torch.tensor([[0.2, 0.8], [0.9, 0.1]]), r"argmax\(1\)", lambda y: y.argmax(1)),
    (torch.eye(3)[[0, 2, 1]], r"one-hot.*argmax\(1\)", lambda y: y.argmax(1)),
    (torch.eye(3).long()[[0, 2, 1]], r"one-hot.*argmax\(1\)", lambda y: y.argmax(1)),
    (torch.tensor([[1, 1, 0], [0, 0, 1]]), "one column", lambda y: y[:, 0]),
    (torch.tensor([[1, 7], [2, 4]]), "every position", None),
    (torch.tensor([1j, 0j]), "complex", None),
    (["cat", "dog"], "list of str.*'cat'", None),
    (None, "NoneType", None),
]


@pytest.mark.parametrize(("labels", "word", "cure"), BAD_LABELS)
def test_labels_that_are_no_classes_say_what_they_are(labels: Any, word: str, cure: Any) -> None:
    """Nothing is rounded to a class; where there is a cure for the labels, it gives labels.

    Mutation: `check_labels` leaves `_require_whole` out: fails.
    """
    with pytest.raises(ProblemError, match=word):
        check_labels(labels)
    if cure is not None:
        assert check_labels(cure(labels)).dtype == torch.int64


def test_examples_without_a_label_may_be_left_out() -> None:
    """The cure for NaN labels, executed."""
    y = Y.float()
    y[3] = float("nan")
    data = TensorDataset(X, y)
    with pytest.raises(ProblemError, match="Subset"):
        features_from_model(Net(), data)
    labelled = torch.nonzero(y.isfinite()).flatten().tolist()
    assert len(features_from_model(Net(), Subset(data, labelled)).y) == N - 1


@pytest.mark.parametrize(
    "labels", [Y.int(), Y.to(torch.uint8), Y.double(), Y.half(), Y[:, None], Y.tolist(), Y.numpy()]
)
def test_whole_numbers_of_any_type_are_labels(labels: Any) -> None:
    """The type that a loss or a file wants does not matter."""
    assert torch.equal(check_labels(labels), Y)


def test_pictures_that_are_no_tensors_are_named() -> None:
    """PIL items are no traceback of torch's, and a transform is a cure."""
    Image = pytest.importorskip("PIL.Image")
    pictures = [Image.fromarray(np.full((2, 2), i, dtype=np.uint8)) for i in range(N)]
    with pytest.raises(ProblemError, match=r"0: Image.*transform"):
        features_from_model(Net(), Rows(lambda i: (pictures[i], Y[i])))

    def transform(picture: Any) -> Tensor:
        return torch.from_numpy(np.asarray(picture).reshape(-1) / np.float32(255))

    data = Rows(lambda i: (transform(pictures[i]), Y[i]))
    assert features_from_model(Net(), data).X.shape == (N, WIDTH)


def test_examples_of_several_shapes_are_named() -> None:
    """Tensors that cannot be stacked are refused, and a collate_fn is a cure."""
    data = Rows(lambda i: (X[i, : 1 + i % WIDTH], Y[i]))
    with pytest.raises(ProblemError, match="one shape.*collate_fn"):  # noqa: RUF043
        features_from_model(Net(), data)

    def pad(items: list[Any]) -> Any:
        rows = [nn.functional.pad(x, (0, WIDTH - len(x))) for x, _ in items]
        return torch.stack(rows), torch.stack([y for _, y in items])

    loader = DataLoader(data, batch_size=5, collate_fn=pad)
    assert features_from_model(Net(), loader).X.shape == (N, WIDTH)


def test_what_is_no_set_of_examples_is_named() -> None:
    """Splits, columns, a tuple of arrays and a frame are refused with the way out, which works."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X.numpy())
    for data, word in [
        ({"train": TensorDataset(X, Y)}, r"dataset\['train'\]"),
        ({"x": X, "y": Y}, "TensorDataset"),
        ((X, Y), "TensorDataset"),
        ((X.numpy(), Y.numpy()), "TensorDataset"),
        (frame, "TensorDataset"),
    ]:
        with pytest.raises(ProblemError, match=word):
            features_from_model(Net(), data)
    check_found(TensorDataset(torch.tensor(frame.to_numpy()), Y))


def test_a_cache_knows_which_items_were_labels(tmp_path: Any) -> None:
    """Features kept with other labels are not found again.

    Mutation: `features_from_model` leaves labels out of the settings: fails.
    """
    data = TensorDataset(X, Y, Y.flip(0))
    features_from_model(Net(), data, labels=1, inputs=0, cache_dir=tmp_path)
    with pytest.raises(ProblemError, match="other settings"):
        features_from_model(Net(), data, labels=2, inputs=0, cache_dir=tmp_path)


def test_a_model_that_wants_the_labels_is_given_them() -> None:
    """Labels go to the model only if inputs= says so; the message leads there."""

    class Wants(Net):
        def forward(  # type: ignore[override]
            self, pixel_values: Tensor, labels: Tensor
        ) -> Any:
            return super().forward(pixel_values)

    keyed = Rows(lambda i: {"pixel_values": X[i], "labels": Y[i]})
    both: list[tuple[Any, Any]] = [
        (keyed, ["pixel_values", "labels"]),
        (TensorDataset(X, Y), [0, 1]),
    ]
    for data, inputs in both:
        with pytest.raises(ProblemError, match=r"missing 1 required .*inputs="):
            features_from_model(Wants(), data)
        np.testing.assert_array_equal(features_from_model(Wants(), data, inputs=inputs).X, X)


@pytest.mark.parametrize("dtype", [torch.float64, torch.uint8, torch.bfloat16])
def test_inputs_of_another_type_than_the_model_are_named(dtype: torch.dtype) -> None:
    """A float32 model and float64 inputs are no traceback of torch's, and the cure works."""
    inputs = X.abs().mul(9).to(dtype)
    with pytest.raises(ProblemError, match=r"float32 and its inputs .*x\.to\(torch\.float32\)"):
        features_from_model(Net(), TensorDataset(inputs, Y))
    assert len(features_from_model(Net(), TensorDataset(inputs.to(torch.float32), Y)).y) == N


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"batch_size": "8"}, "batch_size must be a whole number"),
        ({"batch_size": 8.0}, "batch_size must be a whole number"),
        ({"batch_size": True}, "batch_size must be a whole number"),
        ({"num_workers": -1}, "num_workers must be a whole number, at least 0"),
        ({"classifier": nn.Linear(1, 1)}, "name of a layer, got a Linear"),
    ],
)
def test_options_of_another_type_are_named(options: dict[str, Any], word: str) -> None:
    """A number that is none and a layer instead of its name are refused by name."""
    with pytest.raises(ProblemError, match=word):
        features_from_model(Net(), TensorDataset(X, Y), **options)
