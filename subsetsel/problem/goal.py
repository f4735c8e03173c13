"""What is asked: how far the parameters may move, or how many, and which, examples to prune."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.errors import ProblemError
from subsetsel.rows.base import BoolArray, FloatArray
from subsetsel.support.arrays import to_numpy

# As of S in float64 (`subsetsel.rows.dense`).
_LARGEST_OFFSET = 1e140
# The entry of `Solution.stats` that holds the length of the offset.
OFFSET = "offset_length"
_NAMES = "epsilon, rel_epsilon, size, fraction, num_kept"


@dataclass(frozen=True)
class Goal:
    """Either ``epsilon`` (Eq. 3) or ``size`` (Eq. 4), and the cap on the size."""

    epsilon: float | None
    size: int | None
    max_size: int

    @classmethod
    def parse(
        cls,
        n: int,
        *,
        epsilon: Any = None,
        rel_epsilon: Any = None,
        theta_norm: float | None = None,
        size: Any = None,
        fraction: Any = None,
        num_kept: Any = None,
        max_size: Any = None,
        must_leave_one: bool = False,
    ) -> Goal:
        """Reduce the five ways of asking to one.

        Raises
        ------
        ProblemError
            Unless exactly one is given, in its range.
        """
        given = {
            name: value
            for name, value in (
                ("epsilon", epsilon),
                ("rel_epsilon", rel_epsilon),
                ("size", size),
                ("fraction", fraction),
                ("num_kept", num_kept),
            )
            if value is not None
        }
        if len(given) != 1:
            got = "none" if not given else " and ".join(given)
            raise ProblemError(f"give exactly one of {_NAMES}; got {got}.")
        if rel_epsilon is not None:
            if theta_norm is None:
                raise ProblemError(
                    "rel_epsilon is a fraction of ||theta||_2, which a bare S does not know; "
                    "give epsilon, or build the problem with Problem.from_features."
                )
            epsilon = _non_negative(rel_epsilon, "rel_epsilon") * theta_norm
        if epsilon is not None:
            cap = n - 1 if must_leave_one else n
            if max_size is not None:
                cap = min(cap, _count(max_size, n, "max_size"))
            return cls(_non_negative(epsilon, "epsilon"), None, cap)
        if max_size is not None:
            raise ProblemError(
                "max_size goes with epsilon; with size, fraction or num_kept the size is fixed."
            )
        if fraction is not None:
            share = _non_negative(fraction, "fraction")
            if share > 1:
                raise ProblemError(
                    f"fraction is the pruned share, between 0 and 1, got {fraction}."
                )
            size = round(share * n)
        elif num_kept is not None:
            size = n - _count(num_kept, n, "num_kept")
        count = _count(size, n, "size")
        if must_leave_one and count == n:
            raise ProblemError(
                f"size = {count} prunes all n = {n} examples, but normalization 'kept' needs at "
                "least one that is kept."
            )
        return cls(None, count, count)


def fixed_mask(given: ArrayLike | None, n: int, name: str) -> BoolArray:
    """Read ``must_prune`` or ``must_keep``, given as indices or as a mask, as a mask."""
    mask = np.zeros(n, dtype=np.bool_)
    if given is None:
        return mask
    refuse_hidden(given, name)
    array = to_numpy(given, name)
    if array.dtype == np.bool_:
        if array.shape != (n,):
            raise ProblemError(
                f"{name} is a mask of shape {array.shape}, expected ({n},): one per example."
            )
        return array.copy()
    if array.size == 0:
        return mask
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ProblemError(
            f"{name} must hold indices or be a Boolean mask, got {array.dtype} of shape "
            f"{array.shape}. If it is a mask give np.asarray({name}, dtype=bool), if it holds "
            f"indices np.asarray({name}, dtype=int)."
        )
    if array.min() < 0 or array.max() >= n:
        raise ProblemError(
            f"{name} must hold indices from 0 to {n - 1}, got {array.min()} to {array.max()}."
        )
    # Numbers 0 and 1 for each example are a mask that would be read as the indices 0 and 1.
    values, counts = np.unique(array, return_counts=True)
    if counts.max() > 1:
        first = values[np.argmax(counts > 1)]
        cure = (
            f"it looks like a mask of zeros and ones, which is np.asarray({name}, dtype=bool)"
            if array.max() <= 1 and len(array) == n
            else f"give np.unique({name})"
        )
        raise ProblemError(f"{name} must hold each index once, got {first} more than once; {cure}.")
    mask[array] = True
    return mask


def read_mask(given: Any, n: int, name: str) -> BoolArray:
    """Read a subset, a mask of shape (n,) or something with a ``mask``, that is called ``name``."""
    refuse_hidden(given, name)
    array = np.asarray(mask_of(given))
    if array.dtype == np.bool_ and array.shape == (n,):
        return array
    rule = (
        f"{name} must be a Boolean array of shape ({n},), True meaning pruned; got {array.dtype} "
        f"of shape {array.shape}"
    )
    values = np.unique(array) if array.dtype.kind in "fiu" else np.array([])
    if array.shape == (n,) and values.size and np.isin(values, (0, 1)).all():
        raise ProblemError(f"{rule}. From zeros and ones: np.asarray({name}, dtype=bool).")
    raise ProblemError(f"{rule}. From indices: mask = np.zeros({n}, bool); mask[pruned] = True.")


def mask_of(given: Any) -> Any:
    """Give the mask of a Solution; what has none is taken for one."""
    own = getattr(given, "mask", None)
    # A Series of pandas has a method of that name.
    return given if own is None or callable(own) else own


def refuse_hidden(given: Any, name: str) -> None:
    """Refuse a masked array, whose ``mask`` says what is hidden and not what is pruned."""
    if isinstance(given, np.ma.MaskedArray):
        raise ProblemError(
            f"{name} is a masked array, and what its mask hides is neither pruned nor kept; say "
            f"which with {name}.filled(False)."
        )


def _non_negative(value: Any, name: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ProblemError(f"{name} must be a number, got {value!r}.") from error
    if not (np.isfinite(number) and number >= 0):
        raise ProblemError(f"{name} must be a finite number >= 0, got {value!r}.")
    return number


def _count(value: Any, n: int, name: str) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise ProblemError(f"{name} must be an integer, got {value!r}.")
    if not 0 <= value <= n:
        raise ProblemError(f"{name} must be between 0 and n = {n}, got {value}.")
    return int(value)


def read_offset(offset: Any, d: int) -> FloatArray | None:
    """Read the vector that is added to S^T W, shape (d,); None where there is none.

    Raises
    ------
    ProblemError
        Unless it holds d finite numbers of sensible size.
    """
    if offset is None:
        return None
    found = to_numpy(offset, "offset")
    if found.shape != (d,) or found.dtype.kind not in "fiu":
        raise ProblemError(
            f"offset must hold one number per column of S, shape ({d},); got {found.dtype} of "
            f"shape {found.shape}."
        )
    vector = found.astype(np.float64)
    largest = float(np.abs(vector).max(initial=0.0))
    if not largest <= _LARGEST_OFFSET:
        raise ProblemError(
            f"offset must be finite and of a size whose square is a number, but its largest entry "
            f"is {largest:g}; repair it, or rescale it with S and epsilon."
        )
    vector.flags.writeable = False
    return vector
