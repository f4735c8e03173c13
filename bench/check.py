"""An independent checker: float64, its own NumPy code, nothing taken from the package.

What a solver claims is recomputed here from S and the subset alone. As a script it checks a saved
solution: ``python bench/check.py S.npy pruned.npz --epsilon 0.1``.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# What counts as feasible in the contract.
FEASIBILITY = 1e-9
# A claimed norm may differ from the recomputed one by this much, relative to the rows summed.
_ROUNDING = 1e-12
_CHUNK_ENTRIES = 4_000_000
MAX_ENUMERATED = 20


@dataclass(frozen=True)
class Question:
    """What was asked, in plain numbers.

    Attributes
    ----------
    S : ndarray of shape (n, d)
    epsilon : float or None
        Allowed norm; the size is maximized (Eq. 3).
    size : int or None
        Required size; the norm is minimized (Eq. 4).
    normalization : {"full", "kept"}
    groups : ndarray of shape (n,) or None
    group_limits : mapping
        label -> (fewest, most) pruned.
    """

    S: NDArray[np.floating]
    epsilon: float | None = None
    size: int | None = None
    normalization: str = "full"
    groups: NDArray[np.int64] | None = None
    group_limits: dict[int, tuple[int, int]] | None = None

    @property
    def n(self) -> int:
        """Number of examples."""
        return len(self.S)

    @property
    def form(self) -> str:
        """``"max_size"`` for Eq. 3, ``"min_norm"`` for Eq. 4."""
        return "max_size" if self.epsilon is not None else "min_norm"

    def radius(self, size: int) -> float:
        """Largest norm allowed when that many are pruned."""
        if self.epsilon is None:
            return float("inf")
        share = 1.0 if self.normalization == "full" else (self.n - size) / self.n
        return self.epsilon * share

    def value(self, mask: BoolArray) -> float:
        """Objective of a subset: its size (Eq. 3) or its norm (Eq. 4)."""
        return float(mask.sum()) if self.form == "max_size" else norm_of(self.S, mask)


def sum_of(S: NDArray[np.floating], mask: BoolArray) -> FloatArray:
    """Add up the rows of a subset in extended precision over float64 chunks."""
    total = np.zeros(S.shape[1], dtype=np.longdouble)
    step = max(1, _CHUNK_ENTRIES // max(1, S.shape[1]))
    for start in range(0, len(S), step):
        rows = np.asarray(S[start : start + step])[mask[start : start + step]]
        total += rows.sum(axis=0, dtype=np.float64)
    return total.astype(np.float64)


def norm_of(S: NDArray[np.floating], mask: BoolArray) -> float:
    """Compute ||W^T S||_2 in float64."""
    return float(np.linalg.norm(sum_of(S, mask)))


def violations(question: Question, mask: BoolArray, norm: float) -> list[str]:
    """Say which limits a subset breaks, given its norm from `norm_of`; empty if none."""
    found = []
    size = int(mask.sum())
    if question.size is not None and size != question.size:
        found.append(f"{size} pruned, {question.size} asked for")
    if question.normalization == "kept" and size >= question.n:
        found.append("nothing is kept")
    if not norm <= question.radius(size) * (1 + FEASIBILITY):
        found.append(f"norm {norm:.9g} above {question.radius(size):.9g}")
    for label, (least, most) in (question.group_limits or {}).items():
        count = int(np.count_nonzero(mask & (question.groups == label)))
        if not least <= count <= most:
            found.append(f"{count} pruned in group {label}, allowed {least} to {most}")
    return found


def check(
    question: Question,
    mask: BoolArray | None,
    *,
    norm: float | None = None,
    bound: float | None = None,
    status: str = "feasible",
    best_value: float | None = None,
    optimum: float | None = None,
) -> list[str]:
    """Check everything that is claimed about one answer.

    Parameters
    ----------
    question : Question
    mask : ndarray of shape (n,), bool, or None
        None where the solver says it found nothing.
    norm, bound, status
        The claim; the norm and the bound may be absent.
    best_value : float, optional
        Objective of any other feasible subset: a bound must not exclude it.
    optimum : float, optional
        The enumerated optimum.

    Returns
    -------
    list of str
        What is wrong; empty if nothing is.
    """
    if mask is None:
        return _check_nothing(status, best_value)
    if mask.shape != (question.n,) or mask.dtype != np.bool_:
        return [f"the mask is {mask.dtype} of shape {mask.shape}"]
    true_norm = norm_of(question.S, mask)
    found = violations(question, mask, true_norm)
    if norm is not None and not abs(norm - true_norm) <= _norm_tolerance(question.S, true_norm):
        found.append(f"norm claimed {norm:.12g}, is {true_norm:.12g}")
    value = float(mask.sum()) if question.form == "max_size" else true_norm
    found += _check_bound(question.form, value, bound, best_value)
    if optimum is not None:
        found += _check_optimum(question.form, value, status, optimum)
    return found


def _check_nothing(status: str, best_value: float | None) -> list[str]:
    if status not in {"infeasible", "unknown"}:
        return [f"status {status!r} without a subset"]
    if status == "infeasible" and best_value is not None:
        return ["infeasible claimed, but a feasible subset is known"]
    return []


def _norm_tolerance(S: NDArray[np.floating], norm: float) -> float:
    largest = float(np.max(np.abs(S))) if S.size else 0.0
    return _ROUNDING * (norm + largest * len(S))


def _check_bound(
    form: str, value: float, bound: float | None, best_value: float | None
) -> list[str]:
    if bound is None:
        return []
    known = [value] if best_value is None else [value, best_value]
    if form == "max_size" and np.floor(bound) < max(known):
        return [f"bound {bound:.9g} below a known size of {max(known):.0f}"]
    if form == "min_norm" and bound > min(known) * (1 + FEASIBILITY):
        return [f"bound {bound:.9g} above a known norm of {min(known):.9g}"]
    return []


def _check_optimum(form: str, value: float, status: str, optimum: float) -> list[str]:
    is_beyond = value > optimum if form == "max_size" else value < optimum * (1 - FEASIBILITY)
    if is_beyond:
        return [f"value {value:.9g} better than the enumerated optimum {optimum:.9g}"]
    is_reached = value == optimum if form == "max_size" else value <= optimum * (1 + 1e-6)
    if status == "optimal" and not is_reached:
        return [f"optimal claimed at {value:.9g}, the optimum is {optimum:.9g}"]
    return []


def enumerate_optimum(question: Question) -> tuple[float, BoolArray] | None:
    """Try every subset of at most 20 examples.

    Returns
    -------
    (float, ndarray of shape (n,)) or None
        The best value and one subset that has it; None if no subset is feasible.
    """
    n = question.n
    if n > MAX_ENUMERATED:
        raise ValueError(f"n = {n} has too many subsets to try; at most {MAX_ENUMERATED}.")
    S = question.S.astype(np.float64)
    num_low = n // 2
    low = _all_masks(num_low)
    high = _all_masks(n - num_low)
    low_sums = low @ S[:num_low]
    best: tuple[float, BoolArray] | None = None
    for upper in high:
        norms = np.linalg.norm(low_sums + upper @ S[num_low:], axis=1)
        masks = np.concatenate([low, np.broadcast_to(upper, (len(low), len(upper)))], axis=1)
        found = _best_of(question, masks, norms)
        if found is not None and (best is None or _is_better(question.form, found[0], best[0])):
            best = found
    return best


def _all_masks(count: int) -> BoolArray:
    numbers = np.arange(2**count)[:, None]
    return (numbers >> np.arange(count)[None, :] & 1).astype(np.bool_)


def _is_better(form: str, value: float, than: float) -> bool:
    return value > than if form == "max_size" else value < than


def _best_of(
    question: Question, masks: BoolArray, norms: FloatArray
) -> tuple[float, BoolArray] | None:
    sizes = masks.sum(axis=1)
    allowed = np.ones(len(masks), dtype=np.bool_)
    if question.size is not None:
        allowed &= sizes == question.size
    if question.epsilon is not None:
        kept = (question.n - sizes) / question.n
        share = np.ones(len(masks)) if question.normalization == "full" else kept
        allowed &= norms <= question.epsilon * share * (1 + FEASIBILITY)
    if question.normalization == "kept":
        allowed &= sizes < question.n
    for label, (least, most) in (question.group_limits or {}).items():
        counts = masks[:, question.groups == label].sum(axis=1)
        allowed &= (least <= counts) & (counts <= most)
    if not allowed.any():
        return None
    score = -sizes.astype(np.float64) if question.form == "max_size" else norms
    winner = int(np.argmin(np.where(allowed, score, np.inf)))
    return float(abs(score[winner])), masks[winner].copy()


def main(arguments: list[str] | None = None) -> int:
    """Check a saved solution against S.

    Returns
    -------
    int
        0 if everything claimed is true, else 1.
    """
    parser = argparse.ArgumentParser(description="Check a saved solution against S, in float64.")
    parser.add_argument("S", type=Path, help=".npy file with S")
    parser.add_argument("solution", type=Path, help=".npz file written by Solution.save")
    parser.add_argument("--epsilon", type=float, help="allowed norm (Eq. 3)")
    parser.add_argument("--size", type=int, help="required size (Eq. 4)")
    parser.add_argument("--kept", action="store_true", help="normalization kept")
    given: Any = parser.parse_args(arguments)
    if (given.epsilon is None) == (given.size is None):
        parser.error("give exactly one of --epsilon and --size")
    S = np.load(given.S, mmap_mode="r", allow_pickle=False)
    with np.load(given.solution, allow_pickle=False) as data:
        mask = np.zeros(len(S), dtype=np.bool_)
        mask[data["pruned"]] = True
    question = Question(S, given.epsilon, given.size, "kept" if given.kept else "full")
    problems = check(question, mask)
    print(f"size {int(mask.sum()):,}, norm {norm_of(S, mask):.9g}")
    print("\n".join(problems) or "everything holds")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
