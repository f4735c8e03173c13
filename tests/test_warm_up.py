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
    """Whatever comes after the start is compiled too: nothing reaches the bound before."""
    solution = subsetsel.solve(Kind("float64", True, "max_size").problem())
    assert solution.bound is not None
    assert solution.size < np.floor(solution.bound)


def _num_signatures() -> int:
    """How many specializations all kernels have together."""
    from subsetsel.solvers import _greedy_kernels, _shared_kernels, _walk_kernels

    from subsetsel.bounds import _descent_kernels, _semidefinite_kernels

    modules = (
        _descent_kernels,
        _greedy_kernels,
        _semidefinite_kernels,
        _shared_kernels,
        _walk_kernels,
    )
    kernels = [kernel for module in modules for kernel in vars(module).values()]
    return sum(len(getattr(kernel, "signatures", ())) for kernel in kernels)


_GROUPS: dict[str, Any] = {"groups": np.arange(60) % 2, "group_limits": {0: (1, 15)}}


@pytest.mark.parametrize(
    "options",
    [{}, {"start": "random", "proposals": "plain"}, {"num_workers": 2}, {"core_size": 20}],
)
@pytest.mark.parametrize("is_limited", [False, True])
@pytest.mark.parametrize("is_writable", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("question", [{"epsilon": 6.0}, {"size": 20}, {"size": 3}])
def test_nothing_is_compiled_on_the_clock(
    question: dict[str, Any], dtype: Any, is_writable: bool, is_limited: bool, options: Any
) -> None:
    """After the warm-up a solve adds no specialization to any kernel."""
    from subsetsel.solvers._anneal_options import AnnealOptions
    from subsetsel.solvers.anneal import AnnealSolver

    S = np.random.default_rng(0).normal(0.3, 1.0, (60, 30)).astype(dtype)
    S.flags.writeable = is_writable
    problem = subsetsel.Problem(S, **question, **_GROUPS if is_limited else {})
    AnnealSolver().warm_up(problem, AnnealOptions())
    before = _num_signatures()
    subsetsel.solve(problem, bound=False, num_proposals=3000, **options)
    assert _num_signatures() == before


@pytest.mark.parametrize("form", ["max_size", "min_norm"])
def test_warming_up_calls_every_kernel_of_a_search(
    form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both kinds of walk, the sweep, and the best moves of few choices, filling and closing."""
    from subsetsel.solvers import _local_search, _walk, anneal

    from subsetsel.bounds import _descent_kernels

    called = set()

    def spy(module: Any, name: str) -> None:
        kernel = getattr(module, name)

        def call(*arguments: Any) -> Any:
            ground = getattr(arguments[0], "is_gram", None)
            called.add(name if ground is None else f"{name}, gram: {ground}")
            return kernel(*arguments)

        monkeypatch.setattr(module, name, call)

    spy(_descent_kernels, "sweep")
    spy(_walk, "walk")
    spy(_local_search, "flip_best")
    spy(_local_search, "swap_best")
    anneal._compile.cache_clear()
    for proposals in ("norm", "plain"):
        anneal._compile.__wrapped__(Kind("float32", True, form), proposals)
    expected = {"sweep", "walk, gram: True", "walk, gram: False", "flip_best", "swap_best"}
    assert called == expected


def test_every_kernel_module_is_counted() -> None:
    """A file of kernels that the test above leaves out would be compiled unseen."""
    folders = [Path(str(subsetsel.__file__)).parent / "bounds"]
    folders.append(Path(str(importlib.import_module("subsetsel.solvers").__file__)).parent)
    names = {path.stem for folder in folders for path in folder.glob("*_kernels.py")}
    assert names == {
        "_descent_kernels",
        "_greedy_kernels",
        "_semidefinite_kernels",
        "_shared_kernels",
        "_walk_kernels",
    }


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
