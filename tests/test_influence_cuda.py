"""The algebra on a GPU: the numbers of the CPU, on a real device or on a pretended one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from head_oracle import blobs
from pretend_cuda import pretend_cuda

import subsetsel
from subsetsel.influence import Head, fit_head, influence_rows
from subsetsel.influence.head.choose_inverse import choose_inverse
from subsetsel.influence.head.conjugate_gradients import IterativeInverse
from subsetsel.influence.head.lissa import lissa_influence

X, Y = blobs(n=90, num_classes=3, seed=2)
L2 = 1e-2
SETTINGS: list[dict[str, Any]] = [
    {},
    {"inverse": "cg"},
    {"loss": "squared"},
    {"label_smoothing": 0.1},
    {"penalize_bias": False},
    {"sample_weight": np.linspace(0.5, 1.5, len(X))},
]
KEPT = np.arange(len(X)) % 4 > 0


@pytest.fixture(autouse=True)
def _cuda() -> Iterator[None]:
    """A CUDA device: the machine's, or a pretended one that is as particular about devices."""
    if torch.cuda.is_available():
        yield
    else:
        with pretend_cuda():
            yield


HEADS: dict[str, list[Head]] = {}


def on_both(question: Callable[[Head], Any], **setting: Any) -> tuple[Any, Any]:
    """Ask a head on the CPU and one on the GPU; the heads of a setting are fitted once."""
    heads = HEADS.get(repr(setting))
    if heads is None:
        heads = [fit_head(X, Y, l2=L2, device=name, **setting) for name in ("cpu", "cuda")]
        HEADS[repr(setting)] = heads
    assert heads[1].device.startswith("cuda")
    answers = [np.asarray(question(head), dtype=np.float64) for head in heads]
    return answers[0], answers[1]


def is_close(pair: tuple[Any, Any], tolerance: float = 1e-9) -> bool:
    """Whether two answers differ by rounding only."""
    return bool(np.abs(pair[1] - pair[0]).max() <= tolerance * np.abs(pair[0]).max())


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: next(iter(s), "plain"))
@pytest.mark.parametrize("storage", ["dense", "factored"])
@pytest.mark.parametrize("ridge", ["included", "excluded"])
def test_cuda_gives_the_same_rows(setting: Any, storage: Any, ridge: Any) -> None:
    """S from the GPU is that of the CPU, to rounding, however the head is set and S is stored."""

    def rows(head: Head) -> Any:
        S = influence_rows(head, dtype=np.float64, storage=storage, ridge=ridge)
        return S.take(np.arange(len(X)))

    assert is_close(on_both(rows, **setting))


@pytest.mark.parametrize("metric", ["parameter", "loss"])
def test_cuda_gives_the_same_products(metric: Any) -> None:
    """S^T w, S u and the row norms of factored rows are those of the CPU."""

    def products(head: Head) -> Any:
        rows = influence_rows(head, dtype=np.float64, storage="factored", metric=metric)
        u = np.linspace(-1, 1, rows.d)
        return np.concatenate([rows.sum(KEPT), rows.dot(u), rows.squared_norms])

    assert is_close(on_both(products))


def test_cuda_gives_the_same_proxy() -> None:
    """The rows that a search without solves works on are those of the CPU."""
    proxies = on_both(
        lambda head: influence_rows(head, storage="factored").proxy.search_matrix(), inverse="cg"
    )
    # Eigenvectors have signs, products of rows have none.
    assert is_close((proxies[0] @ proxies[0].T, proxies[1] @ proxies[1].T), 1e-5)


@pytest.mark.parametrize("setting", SETTINGS[:3], ids=lambda s: next(iter(s), "plain"))
def test_cuda_gives_the_same_refit(setting: Any) -> None:
    """An exact refit on what is kept ends at the same parameters."""
    assert is_close(on_both(lambda head: head.refit(KEPT).theta, **setting))


@pytest.mark.parametrize("setting", SETTINGS[:3], ids=lambda s: next(iter(s), "plain"))
def test_cuda_gives_the_same_curvature(setting: Any) -> None:
    """Newton step and curvature of a subset, the objective, the curvature along a direction."""

    def answers(head: Head) -> Any:
        kept = head.kept(KEPT)
        numbers = [kept.curvature(), head.objective(head.theta)]
        return np.concatenate([
            kept.newton_step().ravel(),
            numbers,
            head.curvature_along(head.theta),
        ])

    tolerance = 1e-4 if setting.get("inverse") == "cg" else 1e-9
    assert is_close(on_both(answers, **setting), tolerance)


def test_cuda_gives_the_same_lissa_series() -> None:
    """The paper's stochastic series, with its own drawing of batches."""
    rows = on_both(
        lambda head: lissa_influence(head, batch_size=60, num_steps=30, tolerance=np.inf).S
    )
    assert is_close(rows, 1e-6)


def test_what_is_pruned_on_cuda_is_verified_there() -> None:
    """From features to a certified subset with device="cuda"."""
    sol, check = subsetsel.prune(X, Y, l2=L2, rel_epsilon=0.2, device="cuda", num_proposals=2000)
    assert sol.size > 0
    assert check.epsilon is not None
    assert check.change + check.change_error <= check.epsilon


@pytest.mark.parametrize(
    ("most", "side", "kind"),
    [(2**30, 1000, "cholesky"), (2**30, 10_000, "cg"), (2**37, 40_000, "cholesky")],
)
def test_the_memory_of_the_gpu_decides(
    most: int, side: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Hessian is factored where half of the GPU's memory holds it, whatever is free."""
    of_the_gpu = SimpleNamespace(total_memory=most)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: of_the_gpu)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda *_: (0, most))
    assert choose_inverse("auto", side, torch.device("cuda", 0)) == kind
    assert choose_inverse("auto", 40_000, torch.device("cpu")) == "cg"


def test_a_small_head_without_a_factor_knows_its_curvature() -> None:
    """Below twenty parameters LOBPCG asks for integer columns; they are taken as numbers."""
    head = fit_head(X, Y, l2=L2, inverse="cg", device="cpu")
    assert isinstance(head.inverse, IterativeInverse)
    exact = fit_head(X, Y, l2=L2, device="cpu").kept(KEPT).curvature()
    assert head.kept(KEPT).curvature() == pytest.approx(exact, rel=1e-3)
