"""What the lower blocks of a network give for many examples, on disk and as good as in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from recording import code_digest

from subsetsel.support.files import written_whole

Indices = NDArray[np.int64]
PER_FILE = 2000


def states_folder(cache_dir: Path, name: str, code: str, weights: Path, data: bytes) -> Path:
    """Name a folder by the code that fills it, the weights, and what the network looks at."""
    read = code_digest([Path(code), Path(__file__), weights])
    return cache_dir / f"{name}-{read[:8]}-{hashlib.sha256(data).hexdigest()[:8]}"


@torch.inference_mode()
def in_parts(
    module: Callable[[Indices], torch.Tensor], numbers: Indices, at_once: int
) -> NDArray[Any]:
    """Ask for a few examples at a time."""
    parts = [numbers[start : start + at_once] for start in range(0, len(numbers), at_once)]
    return np.concatenate([module(part).numpy() for part in parts])


def kept_states(
    folder: Path,
    num_rows: Sequence[int] | Indices,
    num_columns: int,
    compute: Callable[[Indices], NDArray[Any]],
    say: Callable[[str], None] = print,
) -> list[NDArray[np.float16]]:
    """Give the states of every example; compute and write what is not there.

    Parameters
    ----------
    folder : Path
        One for each network and kind of state. A file holds the states of `PER_FILE` examples, one
        below the other, in float16; it is written whole or not at all, so that a command which was
        stopped goes on with the next file.
    num_rows : sequence of int
        How many rows each example has: its words, or 1.
    num_columns : int
    compute : callable
        Numbers of some examples -> their rows, one below the other.
    say : callable
        Told what is computed.

    Returns
    -------
    list of ndarray
        One for each example, read from the disk when it is looked at.
    """
    numbers = np.arange(len(num_rows))
    parts = [numbers[start : start + PER_FILE] for start in range(0, len(numbers), PER_FILE)]
    states: list[NDArray[np.float16]] = []
    for place, part in enumerate(parts):
        path = folder / f"{place:04d}.npy"
        if not path.exists():
            say(f"  the lower blocks see examples {part[0]:,} to {part[-1]:,} of {len(numbers):,}")
            with written_whole(path) as half:
                np.save(half, compute(part).astype(np.float16))
        held = np.load(path, mmap_mode="r")
        ends = np.cumsum([num_rows[number] for number in part])
        assert held.shape == (ends[-1], num_columns), f"{path} is of another network; delete it"
        states += np.split(held, ends[:-1])
    return states
