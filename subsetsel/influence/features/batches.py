"""What a data set yields: inputs and labels taken apart, in the data set's own order."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_map
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    SequentialSampler,
    Subset,
)

from subsetsel.errors import ProblemError

LABEL_NAMES = ("labels", "label", "targets", "target", "y")
_NUM_SAMPLED = 64


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch, ready for the model.

    Attributes
    ----------
    args, kwargs
        What the model is called with.
    labels : tensor of shape (b,), int64
    mask : tensor of shape (b, t) or None
        Which positions of a sequence are not padding.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    labels: torch.Tensor
    mask: torch.Tensor | None

    def split(self, length: int) -> Iterator[Batch]:
        """Cut a batch whose inputs are all tensors into shorter ones."""
        for start in range(0, len(self.labels), length):
            rows = slice(start, start + length)

            def cut(value: Any, rows: slice = rows) -> Any:
                return value[rows] if isinstance(value, torch.Tensor) else value

            args, kwargs = tree_map(cut, (self.args, self.kwargs))
            mask = None if self.mask is None else self.mask[rows]
            yield Batch(args, kwargs, self.labels[rows], mask)


def split_batch(batch: Any, device: torch.device) -> Batch:
    """Take inputs and labels apart and move the inputs to the device.

    A batch is (inputs, labels), a mapping with labels under one of `LABEL_NAMES`, or an object with
    such an attribute, which is handed to the model whole. It is a ProblemError if no labels can be
    found or they are not one integer per example.
    """
    if isinstance(batch, Mapping):
        name = next((name for name in LABEL_NAMES if name in batch), None)
        if name is None:
            raise ProblemError(
                f"a batch holds {', '.join(map(str, batch))} but no labels; name them one of "
                f"{', '.join(LABEL_NAMES)}."
            )
        inputs = {str(key): move(batch[key], device) for key in batch if key != name}
        return Batch((), inputs, _check(batch[name]), inputs.get("attention_mask"))
    if isinstance(batch, tuple | list) and len(batch) >= 2:
        first = move(batch[0], device)
        labels = _check(batch[1])
        if isinstance(first, Mapping):
            return Batch((), dict(first), labels, first.get("attention_mask"))
        args = tuple(first) if isinstance(first, tuple | list) else (first,)
        return Batch(args, {}, labels, None)
    for name in LABEL_NAMES:
        if hasattr(batch, name):
            return Batch((move(batch, device),), {}, _check(getattr(batch, name)), None)
    raise ProblemError(
        f"a batch must be (inputs, labels), a mapping or an object with labels; got "
        f"{type(batch).__name__}."
    )


def move(value: Any, device: torch.device) -> Any:
    """Move tensors, wherever they are nested, to a device; the structure stays the same."""
    if isinstance(value, Mapping):
        return {key: move(item, device) for key, item in value.items()}
    if isinstance(value, tuple | list):
        items = [move(item, device) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if hasattr(value, "to"):
        return value.to(device)
    attributes = getattr(value, "__dict__", {})
    if not any(isinstance(item, torch.Tensor) for item in attributes.values()):
        return value
    # An object that cannot move itself is copied, and the tensors of the copy are moved.
    moved = copy.copy(value)
    vars(moved).update({name: move(item, device) for name, item in attributes.items()})
    return moved


def _check(labels: Any) -> torch.Tensor:
    try:
        tensor = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ProblemError(
            f"labels must be integers, one per example; got {type(labels).__name__}: {error}."
        ) from error
    if tensor.dim() == 2 and tensor.shape[1] == 1:
        tensor = tensor[:, 0]
    if tensor.dim() != 1 or tensor.is_floating_point() or tensor.is_complex():
        raise ProblemError(
            f"labels must be integers, one per example; a batch holds {tensor.dtype} of shape "
            f"{tuple(tensor.shape)}. Soft or one-hot labels: give labels.argmax(1)."
        )
    return tensor.to("cpu", torch.int64)


class OrderedData:
    """A data set read batch by batch in its own order, from any batch on.

    Parameters
    ----------
    source : Dataset or DataLoader
        A loader lends its batch size, collate function and workers; it must not shuffle.
    batch_size : int or None
        For a data set; a loader keeps its own unless one is given.
    num_workers : int or None

    Raises
    ------
    ProblemError
        If a loader shuffles, samples or drops examples, or the data set is empty, has no length, or
        yields something else each time it is read.
    """

    def __init__(
        self, source: Any, *, batch_size: int | None = None, num_workers: int | None = None
    ) -> None:
        self._collate = self._workers = None
        self._start: dict[str, Any] = {}
        if isinstance(source, DataLoader):
            _require_order(source)
            batch_size = batch_size or source.batch_size
            self._collate = source.collate_fn
            self._workers = source.num_workers
            # Workers start as the loader says: after fork and after spawn they see other globals.
            self._start = {
                "multiprocessing_context": source.multiprocessing_context,
                "worker_init_fn": source.worker_init_fn,
                "timeout": source.timeout,
            }
            source = source.dataset
        if isinstance(source, IterableDataset) or not hasattr(source, "__len__"):
            raise ProblemError(
                "the data set must have a length and items by number, so that pruned examples can "
                "be named; turn a stream into a list or a map-style Dataset first."
            )
        self.dataset, self.n = source, len(source)
        if self.n == 0:
            raise ProblemError("the data set is empty: it has no example to prune.")
        self.batch_size = batch_size or 256
        if self.batch_size < 1:
            raise ProblemError(f"batch_size must be at least 1, got {self.batch_size}.")
        if num_workers is not None:
            self._workers = num_workers

    def first_batch(self) -> Any:
        """Read the first batch in this process, without starting workers for it."""
        few = Subset(self.dataset, range(min(self.batch_size, self.n)))
        loader = DataLoader(few, batch_size=self.batch_size, collate_fn=self._collate)
        return next(iter(loader))

    def batches(self, start: int = 0) -> Iterator[Any]:
        """Read batches from one example on.

        ``start`` is a multiple of the batch size, so that the batches are those of a full pass. A
        worker process that died is a ProblemError; an error of the data set itself is passed on.
        """
        rest = self.dataset if start == 0 else Subset(self.dataset, range(start, self.n))
        yield from self._load(rest)

    def take(self, indices: Sequence[int]) -> Iterator[Any]:
        """Read chosen examples, in the order given."""
        yield from self._load(Subset(self.dataset, indices))

    def _load(self, part: Any) -> Iterator[Any]:
        loader = DataLoader(
            part,
            batch_size=self.batch_size,
            shuffle=False,
            num_workers=self._workers or 0,
            collate_fn=self._collate,
            **(self._start if self._workers else {}),
        )
        try:
            yield from loader
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise ProblemError(
                "a process that loads the data died, perhaps for want of memory or of shared "
                f"memory ({error}); give fewer num_workers, 0 for none, or smaller batches. "
                "Features in a cache_dir are kept up to there."
            ) from error

    def fingerprint(self) -> str:
        """SHA-256 of the length and of examples spread over the data set.

        An example that differs when it is read again, as under random augmentation, is refused.
        """
        digest = hashlib.sha256(f"{self.n}".encode())
        for index in np.unique(np.linspace(0, self.n - 1, _NUM_SAMPLED).astype(int)):
            one, again = (_digest(self.dataset[int(index)]) for _ in range(2))
            if one != again:
                raise ProblemError(
                    f"example {index} of the data set is different each time it is read: a random "
                    "augmentation, probably. Influence speaks of fixed examples: give the data "
                    "set with its evaluation transform."
                )
            digest.update(one)
        return digest.hexdigest()


def _digest(value: Any) -> bytes:
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.digest()


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, Mapping):
        for key in value:
            digest.update(str(key).encode())
            _feed(digest, value[key])
    elif isinstance(value, tuple | list):
        for item in value:
            _feed(digest, item)
    elif isinstance(value, torch.Tensor):
        # Every dtype can be read as bytes, also bfloat16, which NumPy does not know.
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    elif isinstance(value, np.ndarray | np.generic):
        digest.update(f"{value.dtype}{value.shape}".encode() + np.asarray(value).tobytes())
    elif isinstance(value, str | bytes | int | float | bool) or value is None:
        digest.update(repr(value).encode())
    elif hasattr(value, "tobytes"):
        digest.update(value.tobytes())
    else:
        _feed(digest, vars(value) if hasattr(value, "__dict__") else type(value).__name__)


def _require_order(loader: DataLoader[Any]) -> None:
    """Refuse a loader that does not give every example once, in order."""
    sampler = loader.sampler
    if type(loader.batch_sampler) not in {BatchSampler, type(None)}:
        raise ProblemError(
            f"the loader picks its batches with {type(loader.batch_sampler).__name__}, so which "
            "example is which would be lost; give the data set itself."
        )
    if not isinstance(sampler, SequentialSampler) and not isinstance(
        loader.dataset, IterableDataset
    ):
        raise ProblemError(
            f"the loader does not read the data set in order (its sampler is "
            f"{type(sampler).__name__}), so which example is which would be lost; give the data "
            "set itself, or a DataLoader with shuffle=False."
        )
    if loader.drop_last:
        raise ProblemError(
            "the loader drops the last, smaller batch (drop_last=True), so some examples would "
            "never be seen; give the data set itself, or drop_last=False."
        )
