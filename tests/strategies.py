"""Random problems for hypothesis: small enough to enumerate, odd enough to break things."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from subsetsel import Problem
from subsetsel.problem.constraints import LinearConstraint

MAX_N = 8
MAX_D = 4

# Whole and half numbers make ties, cancellations, zero rows and duplicates likely.
_ENTRIES = st.one_of(
    st.integers(-4, 4).map(float),
    st.integers(-8, 8).map(lambda k: k / 2),
    # Nine decimals: entries of 1e-300 beside 1 are no influence matrix.
    st.floats(-10, 10).map(lambda x: round(x, 9)),
)


@st.composite
def matrices(draw: st.DrawFn, max_n: int = MAX_N, max_d: int = MAX_D) -> Any:
    """S of shape (n, d), float32 or float64, in some unit and with some strides."""
    n, d = draw(st.integers(1, max_n)), draw(st.integers(1, max_d))
    S = draw(hnp.arrays(np.float64, (n, d), elements=_ENTRIES))
    S = S * draw(st.sampled_from([1.0, 1.0, 1e-3, 1e5]))
    S = S.astype(draw(st.sampled_from([np.float32, np.float64])))
    layout = draw(st.sampled_from(["C", "F", "reversed", "gaps"]))
    if layout == "F":
        return np.asfortranarray(S)
    if layout == "reversed":
        return np.ascontiguousarray(S[::-1, ::-1])[::-1, ::-1]
    if layout == "gaps":
        return np.repeat(S, 3, axis=0)[::3]
    return S


@st.composite
def limits(draw: st.DrawFn, n: int) -> dict[str, Any]:
    """Fixed examples, groups and linear constraints for n examples, or none of them."""
    out: dict[str, Any] = {}
    roles = draw(st.lists(st.sampled_from("fffffpk"), min_size=n, max_size=n))
    if draw(st.booleans()):
        out["must_prune"] = np.array([role == "p" for role in roles])
        out["must_keep"] = np.array([role == "k" for role in roles])
    if draw(st.booleans()):
        labels = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
        label = labels[0]
        low = draw(st.integers(0, labels.count(label)))
        high = draw(st.integers(low, labels.count(label)))
        out["groups"], out["group_limits"] = labels, {label: (low, high)}
    if draw(st.booleans()):
        c = draw(hnp.arrays(np.float64, n, elements=st.integers(-6, 6).map(lambda k: k / 2)))
        anchor = float(c @ draw(hnp.arrays(np.bool_, n)))
        width = draw(st.sampled_from([0.0, 1.0, np.inf]))
        out["constraints"] = [LinearConstraint(c, anchor - width, anchor + width)]
    return out


@st.composite
def offsets(draw: st.DrawFn, S: Any) -> Any:
    """What is added to S^T W: nothing, about what some subset takes back, or far too much."""
    if draw(st.booleans()):
        return None
    wide = np.asarray(S, dtype=np.float64)
    share = draw(st.sampled_from([1.0, 0.5, 0.9, 1.1, -1.0, 30.0]))
    return -share * draw(hnp.arrays(np.bool_, len(S))).astype(np.float64) @ wide


@st.composite
def max_size_problems(
    draw: st.DrawFn, normalization: str | None = None, is_limited: bool = True
) -> Problem:
    """Eq. 3 with any epsilon from 0 to beyond the norm of everything."""
    S = draw(matrices())
    n = len(S)
    largest = float(np.abs(S).sum(dtype=np.float64))
    epsilon = draw(st.floats(0, 1.2)) ** 2 * largest
    arguments: dict[str, Any] = {}
    if is_limited:
        arguments = draw(limits(n)) | {"offset": draw(offsets(S))}
        if arguments["offset"] is not None:
            # At epsilon = 0 the rounding of a sum beside an offset would decide what is feasible.
            epsilon += 1e-9 * float(np.abs(S).sum())
        if draw(st.booleans()):
            arguments["max_size"] = draw(st.integers(0, n))
    kind: Any = normalization or draw(st.sampled_from(["full", "kept"]))
    return Problem(S, epsilon=epsilon, normalization=kind, **arguments)


@st.composite
def min_norm_problems(draw: st.DrawFn, is_limited: bool = True) -> Problem:
    """Eq. 4 with any size."""
    S = draw(matrices())
    size = draw(st.integers(0, len(S)))
    arguments = draw(limits(len(S))) | {"offset": draw(offsets(S))} if is_limited else {}
    return Problem(S, size=size, **arguments)


def vectors(length: int, scale: float = 1.0) -> st.SearchStrategy[Any]:
    """Any vector of moderate numbers, zeros among them."""
    elements = st.floats(-scale, scale, allow_subnormal=False)
    return hnp.arrays(np.float64, length, elements=elements)
