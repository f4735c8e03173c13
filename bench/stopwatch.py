"""Times and memory, noted in order."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Record:
    """What was measured, in order."""

    def __init__(self) -> None:
        self.values: dict[str, float | int | str] = {}

    def note(self, name: str, value: float | int | str) -> None:
        """Keep a number and print it at once, since the next may take minutes."""
        self.values[name] = value
        shown = f"{value:.6g}" if isinstance(value, float) else value
        print(f"{name:34s} {shown}", flush=True)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time a block, and note the memory after it."""
        started, cpu = time.perf_counter(), time.process_time()
        yield
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.note(f"{name}_time", time.perf_counter() - started)
        self.note(f"{name}_cpu_time", time.process_time() - cpu)
        self.note(f"{name}_peak_gib", peak_memory())
        if torch.cuda.is_available():
            self.note(f"{name}_gpu_peak_gib", torch.cuda.max_memory_allocated() / 2**30)


def peak_memory() -> float:
    """Largest resident size of this process so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
