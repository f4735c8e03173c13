"""What is compiled before the clock starts: `subsetsel.engine.warm_up` and the solvers' warm-up."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import subsetsel
from subsetsel.engine.warm_up import Kind
from subsetsel.problem.problem import Form


def test_kind_tells_read_only_rows_apart() -> None:
    """A read-only array is another kind: compiled code is specialized on it."""
    S = np.ones((4, 2))
    writable = Kind.of(subsetsel.Problem(S, size=1))
    S.flags.writeable = False
    assert Kind.of(subsetsel.Problem(S, size=1)) != writable


def test_kept_normalization_searches_norms() -> None:
    """Sizes under the kept normalization are bisected, so the kernels of Eq. 4 are needed."""
    problem = subsetsel.Problem(np.ones((4, 2)), epsilon=1.0, normalization="kept")
    assert Kind.of(problem).form == "min_norm"


@pytest.mark.parametrize("is_writable", [True, False])
@pytest.mark.parametrize("form", ["max_size", "min_norm"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_stand_in_is_of_its_kind(dtype: str, form: Form, is_writable: bool) -> None:
    """The small problem has the kind that it stands for."""
    kind = Kind(dtype, is_writable, form)
    assert Kind.of(kind.problem()) == kind


def test_stand_in_leaves_a_gap() -> None:
    """The annealer's last resort, all rows at once, is compiled too: nothing reaches the bound."""
    solution = subsetsel.solve(Kind("float64", True, "max_size").problem())
    assert solution.bound is not None
    assert solution.size < np.floor(solution.bound)


@pytest.mark.parametrize("question", [{"epsilon": 6.0}, {"size": 20}])
def test_nothing_is_compiled_on_the_clock(question: dict[str, Any]) -> None:
    """After the warm-up a solve adds no specialization to any kernel.

    Mutation: with ``num_chains=1`` in the annealer's `_compile` the first case fails.
    """
    from subsetsel.solvers import (
        _continuation_kernels,
        _gram_kernels,
        _greedy_kernels,
        _row_kernels,
        _shared_kernels,
    )
    from subsetsel.solvers._anneal_options import AnnealOptions
    from subsetsel.solvers.anneal import AnnealSolver

    from subsetsel.bounds import _relaxation_kernels

    def count() -> int:
        modules = (
            _relaxation_kernels,
            _continuation_kernels,
            _gram_kernels,
            _greedy_kernels,
            _row_kernels,
            _shared_kernels,
        )
        kernels = [kernel for module in modules for kernel in vars(module).values()]
        return sum(len(getattr(kernel, "signatures", ())) for kernel in kernels)

    S = np.random.default_rng(0).normal(0.3, 1.0, (60, 30)).astype(np.float32)
    problem = subsetsel.Problem(S, **question)
    AnnealSolver().warm_up(problem, AnnealOptions())
    before = count()
    subsetsel.solve(problem, bound=False)
    assert count() == before


def test_an_edit_of_a_called_kernel_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cached code that calls a kernel of another file is compiled anew once that file changes.

    Mutation: without ``calls`` the second answer is still 1.
    """
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        pytest.skip("nothing is compiled")
    monkeypatch.syspath_prepend(str(tmp_path))
    head = "from subsetsel.support.jit import njit\n"
    calls = head + "import called\n@njit(calls=(called.f,))\ndef g():\n    return called.f()\n"
    (tmp_path / "calling.py").write_text(calls)
    answers = []
    for text in ("1", "1 + 1"):
        (tmp_path / "called.py").write_text(head + f"@njit()\ndef f():\n    return {text}\n")
        importlib.invalidate_caches()
        for name in ("called", "calling"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        answers.append(importlib.import_module("calling").g())
    assert answers == [1, 2]
