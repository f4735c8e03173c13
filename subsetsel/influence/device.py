"""Which device, how much memory it has, how much is done on it at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from subsetsel.errors import OptionError
from subsetsel.support.memory import free_memory


@dataclass(frozen=True)
class Pieces:
    """How much is done at a time on one kind of device.

    Attributes
    ----------
    chunk_rows : int
        Longest sum inside one matrix product: it enters the rounding bound of the gradient.
    chunk_bytes : int
        The weighted copies of the features that a product with the Hessian needs stay below this.
    gram_rows : int
        Examples in a Gram matrix at a time: the copy stays near the cache, the sum is seldom read.
    strip : int
        Rows of a Gram matrix computed at a time, or an eighth: fewer waste less, more are faster.
    block_bytes : int
        Gradients of one block of examples, and what is solved for them.
    max_dense : int
        Parameters beyond which a factor takes minutes even where memory would hold it.
    """

    chunk_rows: int
    chunk_bytes: int
    gram_rows: int
    strip: int
    block_bytes: int
    max_dense: int


CPU = Pieces(
    chunk_rows=1024,
    chunk_bytes=64 * 2**20,
    gram_rows=512,
    strip=96,
    block_bytes=64 * 2**20,
    max_dense=20_000,
)
CUDA = Pieces(
    chunk_rows=16_384,
    chunk_bytes=512 * 2**20,
    gram_rows=16_384,
    strip=256,
    block_bytes=512 * 2**20,
    max_dense=60_000,
)


def pieces(device: torch.device) -> Pieces:
    """Choose by the kind of device.

    Returns
    -------
    Pieces
    """
    return CUDA if device.type == "cuda" else CPU


def device_memory(device: torch.device) -> int:
    """Bytes that can still be had on a device.

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    int
        Of a GPU, with what torch holds there and does not use; else `free_memory`.
    """
    if device.type != "cuda":
        return free_memory()
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + unused


def feature_device(name: str) -> torch.device:
    """Choose where a model runs.

    Parameters
    ----------
    name : str
        ``"auto"``: cuda, else mps, else the CPU.

    Returns
    -------
    torch.device

    Raises
    ------
    OptionError
        If it is unknown or not there.
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
    """Choose where a head is trained and S computed, in float64.

    Parameters
    ----------
    name : str
        ``"auto"``: cuda, else the CPU.

    Returns
    -------
    torch.device

    Raises
    ------
    OptionError
        If it is unknown, not there, or has no float64.
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
    """Where float64 can be had: the device itself, or the CPU.

    Returns
    -------
    torch.device
    """
    return torch.device("cpu") if device.type == "mps" else device
