"""Features, labels and the first head of any torch model."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from subsetsel.errors import OptionError, ProblemError
from subsetsel.influence.device import feature_device
from subsetsel.influence.features.batches import OrderedData
from subsetsel.influence.features.capture import (
    Capture,
    ModelFeatures,
    borrowed,
    find_classifier,
)
from subsetsel.influence.features.items import Names
from subsetsel.influence.features.layers import Pooling
from subsetsel.influence.features.running import check_repeats, is_half, named_errors, plain
from subsetsel.influence.features.store import (
    FeatureStore,
    Fingerprint,
    MemoryStore,
    fingerprint_model,
)
from subsetsel.support.files import locked

Precision = Literal["float32", "bfloat16", "float16"]
Report = Callable[[int, int], None]

_PRECISIONS: dict[str, torch.dtype | None] = {
    "float32": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_SECONDS_PER_COMMIT = 10.0
_BATCHES_PER_COMMIT = 64
_SHOW_AFTER = 2.0
_FEW = 32


class FeatureOptions(TypedDict, total=False):
    """How features are computed: the keyword arguments of `features_from_model`, but for device."""

    classifier: str | None
    pooling: Pooling | None
    batch_size: int | None
    num_workers: int | None
    precision: Precision
    cache_dir: str | PathLike[str] | None
    progress: Report | bool | None
    labels: Names
    inputs: Names


def features_from_model(
    model: nn.Module,
    dataset: Any,
    *,
    classifier: str | None = None,
    pooling: Pooling | None = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    cache_dir: str | PathLike[str] | None = None,
    progress: Report | bool | None = None,
    labels: Names = None,
    inputs: Names = None,
) -> ModelFeatures:
    """Run a model over a data set once and keep what its classifier is given.

    The model is put into eval mode, moved to the device, and given back as it was.

    Parameters
    ----------
    model : torch.nn.Module
    dataset : Dataset or DataLoader
        Yields (inputs, labels), mappings or objects with labels; read in its own order. Labels are
        whole numbers; those of a single logit may be floats.
    classifier : str, optional
        Name of the layer that gives the logits; by default the one whose output is what the model
        returns for the first examples. An adapter (peft) counts with its base layer.
    pooling : {"first", "last", "mean"}, optional
        Which position speaks for a sequence, where the classifier works on all of them; padding
        named by ``attention_mask`` does not count.
    batch_size : int, optional
        256, or that of the loader.
    num_workers : int, optional
        Processes that load data; 0, or that of the loader.
    device : str
        ``"auto"``: cuda, else mps, else the CPU.
    precision : {"float32", "bfloat16", "float16"}
        Of the forward pass, by automatic mixed precision.
    cache_dir : path, optional
        A folder in which finished batches are kept: a run that was killed goes on where it was.
    progress : callable, bool, optional
        Called with (examples done, n); True or None shows a bar on a terminal, False nothing.
    labels : str or int, optional
        The key, attribute or number of the item of a batch that holds the labels. Needed where a
        batch is no pair, and no single one of its names is that of labels.
    inputs : str, int or sequence of them, optional
        The keys or items that go to the model; by default all but the labels.

    Returns
    -------
    ModelFeatures

    Raises
    ------
    ProblemError
        For a model without a linear classifier, or whose features are random; labels outside its
        width; NaN features; a loader that shuffles; an empty or random data set; or a cache of
        something else.
    OptionError
        For an unknown device or precision.

    Warns
    -----
    RuntimeWarning
        If the features of an example depend on the others in its batch.
    FormulationWarning
        If the classifier that is named does not give what the model returns.
    """
    if not isinstance(model, nn.Module):
        raise ProblemError(f"model must be a torch.nn.Module, got {type(model).__name__}.")
    if precision not in _PRECISIONS:
        raise OptionError(f"precision must be one of {', '.join(_PRECISIONS)}, got {precision!r}.")
    model = plain(model)
    said: dict[str, Any] = {"labels": labels, "inputs": inputs}
    data = OrderedData(dataset, batch_size=batch_size, num_workers=num_workers, **said)
    fingerprint_data = data.fingerprint()
    where = feature_device(device)
    with borrowed(model, where):
        actual = next((p.device for p in model.parameters()), where)
        first = data.split(data.first_batch(), actual)
        # What layers are given is held until the model has returned: of few examples.
        few = data.split(data.first_batch(min(data.batch_size, _FEW)), actual)
        name = find_classifier(model, few, _own_name(classifier), pooling)
        capture = Capture(model, name, pooling, _PRECISIONS[precision])
        with capture.attached(), named_errors(model, first):
            sample = check_repeats(
                lambda batch: capture.features(batch, actual),
                data,
                first,
                actual,
                f"the features that the classifier {name!r} is given",
                is_rough=precision != "float32" or is_half(model),
            )
        dtype = np.float64 if sample.dtype == torch.float64 else np.float32
        shape = (data.n, sample.shape[1])
        settings: dict[str, Any] = {
            "classifier": capture.classifier,
            "pooling": pooling,
            "precision": precision,
            "batch_size": data.batch_size,
            "device": actual.type,
            **{key: value for key, value in said.items() if value is not None},
        }
        with ExitStack() as stack:
            if cache_dir is None:
                store = MemoryStore(shape, dtype)
            else:
                stack.enter_context(locked(Path(cache_dir)))
                print_of = Fingerprint(fingerprint_model(model), fingerprint_data, settings)
                store = FeatureStore.open(Path(cache_dir), print_of, shape, dtype)
            report = stack.enter_context(_reporting(progress, data.n))
            _fill(store, data, capture, actual, report)
        return capture.model_features(store.features, store.labels)


def _fill(
    store: MemoryStore, data: OrderedData, capture: Capture, device: torch.device, report: Report
) -> None:
    """Compute every row that the store does not have yet."""
    if store.num_done == data.n:
        return
    last_commit, num_open = time.monotonic(), 0
    width = capture.num_classes
    with capture.attached():
        for raw in data.batches(store.num_done):
            batch = data.split(raw, device)
            _check_labels(batch.labels, store.num_done, capture, width)
            with named_errors(capture.model, batch):
                features = capture.features(batch, device).numpy()
            _check_finite(features, store.num_done)
            store.write(features, batch.labels.numpy())
            num_open += 1
            is_due = time.monotonic() - last_commit > _SECONDS_PER_COMMIT
            if num_open >= _BATCHES_PER_COMMIT or is_due:
                store.commit()
                last_commit, num_open = time.monotonic(), 0
            report(store.num_done, data.n)
    if store.num_done != data.n:
        raise ProblemError(
            f"the data set says it has {data.n} examples but yielded {store.num_done}."
        )
    store.commit()


def _own_name(classifier: Any) -> Any:
    """Take off what `torch.compile` puts before the names of a model's layers."""
    return classifier.removeprefix("_orig_mod.") if isinstance(classifier, str) else classifier


def _check_labels(labels: torch.Tensor, start: int, capture: Capture, width: int) -> None:
    bad = torch.nonzero((labels < 0) | (labels >= width)).flatten()
    if len(bad):
        is_sign = width == 2 and set(labels.tolist()) <= {-1, 1}
        cure = " Labels -1 and 1: give (labels + 1) // 2." if is_sign else ""
        raise ProblemError(
            f"example {start + int(bad[0])} has the label {int(labels[bad[0]])}, but the model's "
            f"classifier {capture.classifier!r} tells {width} classes apart, 0 to {width - 1}."
            f"{cure}"
        )


def _check_finite(features: NDArray[Any], start: int) -> None:
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if bad.size:
        shown = ", ".join(str(start + i) for i in bad[:10]) + ", ..." * (bad.size > 10)
        raise ProblemError(
            f"the model's features hold a NaN or an infinity for {bad.size} examples of one batch: "
            f"rows {shown}; look at these inputs, or use precision='float32'."
        )


@contextmanager
def _reporting(progress: Report | bool | None, total: int) -> Iterator[Report]:
    """Report to a callable, to a bar on a terminal after two seconds, or to nobody."""
    if callable(progress):
        yield progress
        return
    if progress is False or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    begin = time.monotonic()
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("features", total=total, visible=False)

        def show(done: int, _: int) -> None:
            bar.update(task, completed=done, visible=time.monotonic() - begin > _SHOW_AFTER)

        yield show
