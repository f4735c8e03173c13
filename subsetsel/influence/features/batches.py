"""What a data set yields: inputs and labels taken apart, in the data set's own order."""

from __future__ import annotations

import hashlib
import operator
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
    default_collate,
)

from subsetsel.errors import ProblemError
from subsetsel.influence.features.digest import digest_of
from subsetsel.influence.features.items import (
    LABEL_NAMES,
    Names,
    choose,
    describe_items,
    find_labels,
    move,
    number_of,
)
from subsetsel.influence.features.labels import check_labels

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


def split_batch(
    batch: Any, device: torch.device, labels: Names = None, inputs: Names = None
) -> Batch:
    """Take inputs and labels apart and move the inputs to the device.

    A batch is a pair (inputs, labels), a mapping with labels under one of `LABEL_NAMES`, or an
    object with such an attribute, which is handed to the model whole. Wherever two items could be
    the labels, nothing is guessed.

    Parameters
    ----------
    batch : object
    device : torch.device
    labels : str or int, optional
        Name of the key, field or attribute, or number of the item, that holds the labels.
    inputs : str, int or sequence of them, optional
        Which others go to the model; all by default.

    Raises
    ------
    ProblemError
        If it is not said which item holds the labels, or they are not one class per example.
    """
    if isinstance(batch, Mapping):
        name = find_labels([str(key) for key in batch], labels, describe_items(batch))
        named = {str(key): item for key, item in batch.items()}
        others = choose(list(named), name, inputs)
        kwargs = {key: move(named[key], device) for key in others}
        return Batch((), kwargs, check_labels(named[name]), kwargs.get("attention_mask"))
    if isinstance(batch, tuple | list):
        return _split_items(batch, device, labels, inputs)
    name = find_labels(
        [name for name in dir(batch) if not name.startswith("_")], labels, type(batch).__name__
    )
    if inputs is not None:
        raise ProblemError(
            f"inputs = {inputs!r} has no meaning here: a batch is a {type(batch).__name__}, which "
            "the model takes whole. Leave inputs= out."
        )
    return Batch((move(batch, device),), {}, check_labels(getattr(batch, name)), None)


def _split_items(
    batch: tuple[Any, ...] | list[Any], device: torch.device, labels: Names, inputs: Names
) -> Batch:
    """Take a batch apart that is a tuple or a list."""
    fields: tuple[str, ...] = getattr(batch, "_fields", ())
    known = [name for name in LABEL_NAMES if name in fields]
    if labels is None and len(known) == 1:
        labels = known[0]
    if labels is None and len(batch) != 2:
        raise ProblemError(
            f"a batch must be (inputs, labels), and this one holds {describe_items(batch)}: say "
            "which of them are the labels with labels=, counted from 0, and which go to the model "
            "with inputs= (all others by default). Or give a DataLoader whose collate_fn makes "
            "(inputs, labels)."
        )
    number = number_of(1 if labels is None else labels, "labels", batch, fields)
    if inputs is None:
        others = [i for i in range(len(batch)) if i != number]
    else:
        wanted = [inputs] if isinstance(inputs, str | int) else inputs
        others = [number_of(one, "inputs", batch, fields) for one in wanted]
    items = [move(batch[i], device) for i in others]
    checked = check_labels(batch[number])
    if len(items) != 1:
        return Batch(tuple(items), {}, checked, None)
    first = items[0]
    if isinstance(first, Mapping):
        twice = [name for name in LABEL_NAMES if name in first]
        if twice and labels is None:
            raise ProblemError(
                f"a batch holds labels twice: as {twice[0]!r} among the inputs and as item 1. Give "
                "labels=1 to use that one; the model is then given the other, too."
            )
        return Batch((), dict(first), checked, first.get("attention_mask"))
    is_several = isinstance(first, tuple | list) and not (first and isinstance(first[0], str))
    return Batch(tuple(first) if is_several else (first,), {}, checked, None)


class OrderedData:
    """A data set read batch by batch in its own order, from any batch on.

    Parameters
    ----------
    source : Dataset or DataLoader
        A loader lends its batch size, collate function and workers; it must not shuffle.
    batch_size : int or None
        For a data set; a loader keeps its own unless one is given.
    num_workers : int or None
    labels, inputs : optional
        Which items of a batch they are; see `split_batch`.

    Raises
    ------
    ProblemError
        If a loader shuffles, samples or drops examples, or the data set is empty, has no length, or
        yields something else each time it is read.
    """

    def __init__(
        self,
        source: Any,
        *,
        batch_size: int | None = None,
        num_workers: int | None = None,
        labels: Names = None,
        inputs: Names = None,
    ) -> None:
        self.labels, self.inputs = labels, inputs
        self._collate: Any = _collate
        self._workers = None
        self._start: dict[str, Any] = {}
        if isinstance(source, DataLoader):
            _require_order(source)
            batch_size = source.batch_size if batch_size is None else batch_size
            if source.collate_fn is not default_collate:
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
        _require_items(source)
        self.dataset, self.n = source, len(source)
        if self.n == 0:
            raise ProblemError("the data set is empty: it has no example to prune.")
        self.batch_size = 256 if batch_size is None else _count(batch_size, "batch_size", 1)
        if num_workers is not None:
            self._workers = _count(num_workers, "num_workers", 0)

    def split(self, batch: Any, device: torch.device) -> Batch:
        """Take inputs and labels apart, as was said or as is plain; see `split_batch`."""
        return split_batch(batch, device, self.labels, self.inputs)

    def first_batch(self, length: int | None = None) -> Any:
        """Read the first examples in this process, without starting workers for it."""
        few = Subset(self.dataset, range(min(length or self.batch_size, self.n)))
        loader = DataLoader(few, batch_size=len(few), collate_fn=self._collate)
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
            one, again = (digest_of(self.dataset[int(index)]) for _ in range(2))
            if one != again:
                raise ProblemError(
                    f"example {index} of the data set is different each time it is read: a random "
                    "augmentation, probably. Influence speaks of fixed examples: give the data "
                    "set with its evaluation transform."
                )
            digest.update(one)
        return digest.hexdigest()


def _collate(items: list[Any]) -> Any:
    """Make a batch as torch does; a ProblemError where it cannot."""
    try:
        return default_collate(items)
    except (TypeError, RuntimeError, KeyError, ValueError) as error:
        raise ProblemError(
            f"torch cannot make a batch of the data set's examples, which hold "
            f"{_describe_example(items[0])}: {error}. Give the data set with a transform that "
            "makes tensors of one shape of them, or a DataLoader with a collate_fn of your own."
        ) from error


def _count(value: Any, name: str, least: int) -> int:
    """Check a whole number."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise ProblemError(f"{name} must be a whole number, at least {least}, got {value!r}.")
    return number


def _describe_example(example: Any) -> str:
    """Say what one example holds."""
    is_made_of = isinstance(example, Mapping | tuple | list)
    return describe_items(example) if is_made_of else type(example).__name__


def _require_items(source: Any) -> None:
    """Refuse what has a length but no examples by number: a folder of splits, columns, a frame."""
    if isinstance(source, Mapping):
        raise ProblemError(
            f"the data set is a {type(source).__name__} of {', '.join(map(str, source))}, which "
            "has no example by number; choose one of its entries if they are splits, "
            "dataset['train'], or make examples of its columns with "
            "torch.utils.data.TensorDataset(inputs, labels)."
        )
    arrays = torch.Tensor | np.ndarray
    if isinstance(source, tuple) and all(isinstance(part, arrays) for part in source):
        raise ProblemError(
            f"the data set is a tuple of {len(source)} arrays, not one of examples; give "
            "torch.utils.data.TensorDataset(inputs, labels) of tensors."
        )
    if hasattr(source, "iloc"):
        raise ProblemError(
            f"the data set is a {type(source).__name__} of pandas, which has columns, not examples "
            "by number; give torch.utils.data.TensorDataset(inputs, labels) of tensors."
        )


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
