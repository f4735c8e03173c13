"""Running a model on a batch: errors that say what it was given, and whether it repeats itself."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from subsetsel.errors import ProblemError
from subsetsel.influence.features.batches import Batch, OrderedData
from subsetsel.influence.features.items import describe_items

# How far two passes may differ, as a share of the norm: rounding does not repeat itself on a GPU.
_SAME_BATCH, _OTHER_BATCH = 1e-3, 1e-2
_HALF = 10.0
_FEW = 8


def plain(model: nn.Module) -> nn.Module:
    """Take the wrapper of `torch.compile` off a model."""
    while isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
        model = inner
    return model


def eager() -> AbstractContextManager[Any]:
    """Run compiled code as it was written: once compiled, it calls no hook that came later."""
    # Where nothing was compiled, torch has not loaded its compiler, which takes seconds.
    is_loaded = "torch._dynamo" in sys.modules
    # From torch 2.6 on.
    stance = getattr(torch.compiler, "set_stance", None) if is_loaded else None
    return nullcontext() if stance is None else stance("force_eager")


def run_model(model: nn.Module, batch: Batch) -> Any:
    """Run a model; a ProblemError where it does not take what the batch holds."""
    with named_errors(model, batch):
        return model(*batch.args, **batch.kwargs)


@contextmanager
def named_errors(model: nn.Module, batch: Batch) -> Iterator[None]:
    """Say what the model was given where it fails, and where the memory ends."""
    try:
        yield
    except ProblemError:
        raise
    except torch.OutOfMemoryError as error:
        raise ProblemError(
            f"the device ran out of memory on a batch of {len(batch.labels)} examples; "
            "give a smaller batch_size, or precision='bfloat16'."
        ) from error
    except (TypeError, ValueError, RuntimeError, AttributeError, LookupError) as error:
        given = describe_items(batch.kwargs or batch.args)
        raise ProblemError(
            f"the model could not be run on a batch of {len(batch.labels)} examples ({given}): "
            f"{type(error).__name__}: {error}. {_cure(model, batch)}"
        ) from error


def _cure(model: nn.Module, batch: Batch) -> str:
    """Say how to give a model what it takes."""
    known, takes_any = _takes(model)
    unknown = [name for name in batch.kwargs if name not in known]
    if unknown and not takes_any:
        rest = [name for name in batch.kwargs if name in known]
        return (
            f"Its forward does not take {', '.join(unknown)}: say what goes to the model with "
            f"inputs={rest}, or leave it out with a collate_fn."
        )
    types = {p.dtype for p in model.parameters() if p.is_floating_point()}
    leaves = [v for v in tree_leaves((batch.args, batch.kwargs)) if isinstance(v, torch.Tensor)]
    odd = {v.dtype for v in leaves if v.is_floating_point() or v.dtype == torch.uint8} - types
    if odd and len(types) == 1:
        has, wants = (str(t).removeprefix("torch.") for t in (*odd, *types)[-2:])
        return (
            f"Its parameters are {wants} and its inputs {has}: give x.to(torch.{wants}) in the "
            "data set."
        )
    return (
        "Say which items or keys of a batch go to the model with inputs=, or give a DataLoader "
        "whose collate_fn makes what it takes."
    )


def _takes(model: nn.Module) -> tuple[list[str], bool]:
    """Name what the forward of a model takes, and say whether it takes any other name.

    A wrapper that passes all on (DataParallel, peft) is asked for what is inside.
    """
    try:
        found = inspect.signature(model.forward).parameters
    except (TypeError, ValueError):
        return [], True
    kinds = {parameter.kind for parameter in found.values()}
    if kinds <= {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
        for name in ("module", "base_model", "model"):
            inner = getattr(model, name, None)
            if isinstance(inner, nn.Module):
                return _takes(inner)
    return list(found), inspect.Parameter.VAR_KEYWORD in kinds


def is_half(model: nn.Module) -> bool:
    """Whether some of a model's parameters have half precision."""
    return any(p.is_floating_point() and p.element_size() < 4 for p in model.parameters())


def attention_mask(model: nn.Module, batch: Batch) -> torch.Tensor | None:
    """Find which positions are not padding: by key, or by the name that forward gives to an item.

    Anything else than one tensor of shape (b, t) is no such mask.
    """
    mask = batch.mask
    names, _ = _takes(model)
    if mask is None and "attention_mask" in names[: len(batch.args)]:
        mask = batch.args[names.index("attention_mask")]
    return mask if isinstance(mask, torch.Tensor) and mask.dim() == 2 else None


def check_repeats(
    run: Callable[[Batch], torch.Tensor],
    data: OrderedData,
    first: Batch,
    device: torch.device,
    what: str,
    *,
    is_rough: bool,
) -> torch.Tensor:
    """Run the first batch twice, then its first examples alone, and compare.

    ``is_rough`` says that something is computed in half precision.

    Returns
    -------
    tensor
        What the first batch gives.

    Raises
    ------
    ProblemError
        If the same batch gives something else the second time.

    Warns
    -----
    RuntimeWarning
        If what an example gives depends on the others in its batch.
    """
    once, again = run(first), run(first)
    slack = _HALF if is_rough else 1.0
    if _distance(once, again) > slack * _SAME_BATCH:
        raise ProblemError(
            f"{what} differ from one pass to the next over the same batch "
            f"({_distance(once, again):.2g} of their norm): something random is on in eval mode. "
            "Influence speaks of fixed features: write dropout as torch.nn.Dropout, or as "
            "F.dropout(x, training=self.training), and switch sampling and noise off."
        )
    length = min(_FEW, len(first.labels) // 2)
    if length:
        distance = _distance(once[:length], _alone(run, data, length, device))
        if distance > slack * _OTHER_BATCH:
            warnings.warn(
                f"{what} depend on which examples share a batch: those of the first {length} "
                f"differ by {distance:.2g} of their norm if they are run alone, so another "
                "batch_size gives another subset. Give BatchNorm its running statistics "
                "(track_running_stats=True, and a pass in train mode), pad all sequences to one "
                "length, or give the model an attention_mask.",
                RuntimeWarning,
                stacklevel=2,
            )
    return once


def require_separate(
    run: Callable[[Batch], torch.Tensor], first: Batch, together: torch.Tensor, *, is_rough: bool
) -> None:
    """Refuse a model for which one example gives something else than among others.

    Then it has no gradient of its own. A batch whose inputs are not all tensors is passed over.
    """
    leaves = tree_leaves((first.args, first.kwargs))
    if not all(isinstance(leaf, torch.Tensor) for leaf in leaves) or len(first.labels) < 2:
        return
    few = list(islice(first.split(1), _FEW))
    try:
        alone = torch.cat([run(one) for one in few])
    except ProblemError as error:
        raise ProblemError(
            f"with parameters= the model must run on single examples. {error}"
        ) from error
    distance = _distance(together[: len(few)], alone)
    if distance > _OTHER_BATCH * (_HALF if is_rough else 1.0):
        raise ProblemError(
            f"what the model makes of an example depends on the others in its batch (alone it "
            f"differs by {distance:.2g} of the norm of the logits), or something random is on in "
            "eval mode, so an example has no gradient of its own. Give BatchNorm its running "
            "statistics (track_running_stats=True, and a pass in train mode), and dropout as "
            "torch.nn.Dropout."
        )


def _alone(
    run: Callable[[Batch], torch.Tensor], data: OrderedData, length: int, device: torch.device
) -> torch.Tensor:
    """Run the first examples without the others."""
    try:
        return run(data.split(data.first_batch(length), device))
    except ProblemError:
        if length > 1:
            raise
        # BatchNorm without running statistics fails on a single example.
        return torch.empty(0)


def _distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Norm of the difference as a share of the norm; what is not finite is refused elsewhere."""
    if a.shape != b.shape:
        return float("inf")
    both = a.isfinite() & b.isfinite()
    a, b = a[both].double(), b[both].double()
    return float((a - b).norm() / a.norm().clamp_min(1e-300))
