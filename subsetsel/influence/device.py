"""Which device computes, how much memory it has, and how much is computed on it at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from subsetsel.errors import OptionError
from subsetsel.support.memory import most_held


@dataclass(frozen=True)
class BlockSizes:
    """How much is computed at a time on one kind of device.

    Attributes
    ----------
    chunk_rows : int
        Longest sum inside one matrix product: it enters the rounding bound of the gradient.
    chunk_bytes : int
        Limit for the weighted copies of the features that a product with the Hessian needs.
    gram_rows : int
        Examples that enter a Gram matrix at a time: few, so that their copy fits into the cache.
    strip : int
        Least number of rows of a Gram matrix that are computed at a time. Narrow strips waste
        less work above the diagonal, wide ones run faster.
    block_bytes : int
        Limit for the gradients of one block of examples, and for the rows of S solved from them.
    max_dense : int
        With more parameters, a factor takes minutes even where the memory would hold it.
    """

    chunk_rows: int
    chunk_bytes: int
    gram_rows: int
    strip: int
    block_bytes: int
    max_dense: int


CPU = BlockSizes(
    chunk_rows=1024,
    chunk_bytes=64 * 2**20,
    gram_rows=512,
    strip=96,
    block_bytes=16 * 2**20,
    max_dense=20_000,
)
CUDA = BlockSizes(
    chunk_rows=16_384,
    chunk_bytes=512 * 2**20,
    gram_rows=16_384,
    strip=256,
    block_bytes=512 * 2**20,
    max_dense=60_000,
)


def block_sizes(device: torch.device) -> BlockSizes:
    """Choose by the kind of device."""
    return CUDA if device.type == "cuda" else CPU


def most_held_on(device: torch.device) -> int:
    """Bytes up to which a Hessian is held on a device: half of the memory that a GPU has in all.

    Elsewhere half of the memory that is planned with. Never what is free, which differs from one
    process to the next.
    """
    if device.type != "cuda":
        return most_held()
    return int(torch.cuda.get_device_properties(device).total_memory) // 2


def feature_device(name: str) -> torch.device:
    """Choose where a model runs; ``"auto"`` is cuda, else mps, else the CPU.

    Raises
    ------
    OptionError
        If the device is unknown or not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise OptionError(
            f"device {name!r} is unknown or not there: {error}. Use 'auto', 'cpu', 'cuda' or 'mps'."
        ) from error
    return device


def head_device(name: str) -> torch.device:
    """Choose where a head is trained and S computed, in float64; ``"auto"`` is cuda, else the CPU.

    Raises
    ------
    OptionError
        If the device is unknown, not there, or has no float64.
    """
    device = feature_device(name)
    if name == "auto":
        return algebra_device(device)
    if device.type not in {"cpu", "cuda"}:
        raise OptionError(
            f"device {name!r} cannot be used: the head needs float64, which only 'cpu' and "
            "'cuda' have."
        )
    return device


def algebra_device(device: torch.device) -> torch.device:
    """Where float64 can be had: the device itself, or the CPU."""
    return torch.device("cpu") if device.type == "mps" else device
