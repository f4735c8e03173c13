"""Shared fixtures: solvers that exist for tests alone, and files for the command line."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# The problems of tests are small: a second thread in each product costs more than it saves, many
# times more where other work shares the cores. Read when NumPy and torch are first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import commands
import numpy as np

from subsetsel.engine.registry import SolverSpec, register_solver, unregister_solver

# A shell that starts the suite in the background has SIGINT ignored, and every child inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def short_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where kernels run as plain Python, a hundred times slower, chains are a hundredth as long."""
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        lengths = {True: (20, 3_000, 80_000), False: (1, 3_000, 200_000)}
        monkeypatch.setattr("subsetsel.solvers.anneal._PER_EXAMPLE", lengths)


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    """A small S in a file."""
    path = tmp_path / "S.npy"
    np.save(path, np.random.default_rng(0).normal(size=(60, 4)) + 0.3)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Labelled data with ids in a file: 120 examples of three classes."""
    return commands.write_blobs(tmp_path / "data.npz", 0, 120)


@pytest.fixture(scope="session")
def verified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data.npz and what `prune` made of it; not to be written to."""
    folder = tmp_path_factory.mktemp("verified")
    data = commands.write_blobs(folder / "data.npz", 0, 120)
    claim = ("--certificate", folder / "claim.json")
    commands.prune(data, "--rel-epsilon", 0.05, "--out", folder / "pruned.npz", *claim)
    return folder


_ALL = frozenset({"constraints", "fixed", "max_size", "offset"})


@pytest.fixture
def registered() -> Iterator[Any]:
    """Register a class of `counting_solvers` for one test, under a name, with a spec."""
    names: list[str] = []

    def register(name: str, cls: str = "CountingSolver", **spec: Any) -> str:
        register_solver(SolverSpec(name, f"counting_solvers:{cls}", "for tests", **spec))
        names.append(name)
        return name

    yield register
    for name in names:
        unregister_solver(name)


@pytest.fixture
def exact(registered: Any) -> str:
    """Name of a solver that counts both forms and both normalizations."""
    name: str = registered("counting", normalizations=frozenset({"full", "kept"}), supports=_ALL)
    return name


@pytest.fixture
def min_norm_only(registered: Any) -> str:
    """Name of a solver that knows Eq. 4 alone."""
    name: str = registered(
        "min_norm_only", "MinNormSolver", forms=frozenset({"min_norm"}), supports=_ALL
    )
    return name


@pytest.fixture
def max_size_only(registered: Any) -> str:
    """Name of a solver that knows Eq. 3 with normalization "full" alone."""
    name: str = registered(
        "max_size_only", "MaxSizeSolver", forms=frozenset({"max_size"}), supports=_ALL
    )
    return name
