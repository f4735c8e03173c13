"""S of a head: row i is how far the parameters move when example i is left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Protocol

import numpy as np
from torch import Tensor

from subsetsel.errors import OptionError
from subsetsel.influence.head.data import check_choices
from subsetsel.influence.head.expansion import Expansion
from subsetsel.influence.head.formula import HeadInfluence, Point, Ridge
from subsetsel.influence.head.head import Head
from subsetsel.influence.head.inverse import Metric
from subsetsel.influence.head.sharded import InShards
from subsetsel.influence.head.sharded_rows import rows_in_shards
from subsetsel.rows import DenseRows, Rows
from subsetsel.rows.base import AnyFloatArray
from subsetsel.rows.factored import FactoredRows, Factors
from subsetsel.support.clock import NO_CLOCK, Clock
from subsetsel.support.memory import most_held, needs_memory, require_memory

Storage = Literal["auto", "dense", "factored"]

_CURE = "storage='factored' never writes S out."


class HeadRows(DenseRows):
    """S as an array, with the metric of its row norms."""

    def __init__(self, array: AnyFloatArray, metric: str) -> None:
        super().__init__(array)
        self.metric = metric


def influence_rows(
    head: Head,
    *,
    ridge: Ridge = "included",
    metric: Metric = "parameter",
    dtype: Any = np.float32,
    storage: Storage = "auto",
    around: tuple[Expansion, int] | None = None,
    clock: Clock = NO_CLOCK,
) -> Rows:
    """S of a trained head.

    Parameters
    ----------
    head : Head
    ridge : {"included", "excluded"}
        Whether l2 theta is part of each example's gradient. Included, the rows sum to zero and
        predict what retraining on the mean over the kept examples does; excluded is the letter
        of Eq. 3.
    metric : {"parameter", "loss"}
        Rows (1/n) H^-1 g_i, whose norms are parameter changes, or (1/n) L^-1 g_i with H = L L^T:
        half the square of n / (n - m) times ||W^T S|| is then the rise of the training objective,
        to second order. Around a pruned set they are (1/n) L^T H_K^-1 g_i, with L that of all
        examples as before: the rise is measured where all examples count.
    dtype : numpy dtype
        float32 or float64, of the rows that are handed out; they are solved for in float64.
    storage : {"auto", "dense", "factored"}
        ``"factored"`` keeps n (C + q) numbers and the factor of H instead of n d; single rows then
        cost a solve each. ``"auto"`` is dense where each row costs no iterative solve and S takes
        at most half of the memory that is planned with: ``SUBSETSEL_MEMORY_GIB``, or 16 GiB. Of
        a head in shards S is never written.
    around : (Expansion, m), optional
        Expand around a pruned set instead of the empty one. For subsets W of m examples, n / (n -
        m) times W^T S is then the change of the refitted head to first order around that set, and
        exactly that for the set itself. Sums over other numbers of examples mean nothing.
    clock : Clock
        Ends the work: `TimeIsUp` is raised.

    Returns
    -------
    Rows
        Shape (n, (C - 1) q), in the sum-zero basis of the classes: all 2-norms are those of the
        full parameters. Parameter (a, j) has column a q + j.

    Raises
    ------
    OptionError
        For an unknown setting.
    ProblemError
        If the Hessian is singular in float64.
    OutOfMemoryError
        If the Hessian or S does not fit into the memory that is free. What is free changes no
        choice.

    References
    ----------
    Yang et al., ICLR 2023, arXiv:2205.09329, Eq. 2.
    """
    check_choices(ridge=ridge, metric=metric, storage=storage)
    if storage == "dense" and head.objective_function.in_shards:
        raise OptionError(
            "storage='dense' would write out S of features that lie in shards; leave storage out."
        )
    if around is not None and ridge == "excluded":
        raise OptionError("around needs ridge='included'; without the ridge nothing is expanded.")
    point = Point.of_head(head, ridge=ridge, metric=metric, around=around, clock=clock)
    objective = head.objective_function
    if isinstance(objective, InShards):
        return rows_in_shards(objective, point, check_type(dtype))
    influence = HeadInfluence(objective, point, clock=clock)
    return store_rows(influence, dtype, storage, clock=clock)


class Walkable(Factors, Protocol):
    """Factors that can be walked through in the order of the data."""

    def walk(self, *, clock: Clock) -> Iterator[Tensor]:
        """Rows of S in order, float64; a clock ends the work."""


def choose_storage(num_bytes: int, *, is_exact: bool) -> Literal["dense", "factored"]:
    """Decide ``"auto"``: an array, if so many bytes are planned for and single rows are cheap."""
    return "dense" if is_exact and num_bytes <= most_held() else "factored"


def check_type(dtype: Any) -> np.dtype[Any]:
    """Refuse other types of rows than float32 and float64."""
    kind: np.dtype[Any] = np.dtype(dtype)
    if kind not in {np.dtype(np.float32), np.dtype(np.float64)}:
        raise OptionError(f"dtype must be float32 or float64, got {kind}.")
    return kind


def store_rows(influence: Walkable, dtype: Any, storage: str, *, clock: Clock = NO_CLOCK) -> Rows:
    """Return S as `choose_storage` says, or as the user does: an array or a formula."""
    kind = check_type(dtype)
    n, d = influence.shape
    num_bytes = n * d * kind.itemsize
    if storage == "auto":
        storage = choose_storage(num_bytes, is_exact=influence.is_exact)
    rows: Rows
    if storage == "factored":
        rows = FactoredRows(influence, dtype=kind)
    else:
        rows = HeadRows(_write_out(influence, kind, num_bytes, clock), influence.metric)
    rows.inverse = "cholesky" if influence.is_exact else "cg"
    return rows


def _write_out(
    influence: Walkable, kind: np.dtype[Any], num_bytes: int, clock: Clock
) -> AnyFloatArray:
    """Solve for all rows of S."""
    what = f"S of {influence.shape[0]:,} x {influence.shape[1]:,}"
    require_memory(what, num_bytes, _CURE)
    with needs_memory(what, lambda: num_bytes, _CURE):
        S = np.empty(influence.shape, dtype=kind)
    done = 0
    for part in influence.walk(clock=clock):
        S[done : done + len(part)] = part.contiguous().cpu().numpy()
        done += len(part)
    return S
