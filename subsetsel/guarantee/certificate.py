"""The certificate: a claim about a pruned set that NumPy alone can check.

It holds the parameters of the head on all examples (theta) and on the kept ones (theta_K). The
objective F(theta) = mean_i loss_i(theta) + (l2 / 2) ||theta||^2 is l2-strongly convex, and so is
its mean F_K over the kept examples, so the exact minimizers are within ||grad F(theta)|| / l2 and
||grad F_K(theta_K)|| / l2 of the parameters in the file. Therefore

    | exact change - ||theta_K - theta||_2 |  <=  (||grad F|| + ||grad F_K||) / l2,

and to check the claim is to evaluate two gradients: nothing has to be trained again. Whatever
number in the files is changed, they are confirmed only if all that they say still follows from the
gradients and the data; there is nothing else to protect.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.errors import FileFormatError, ProblemError
from subsetsel.guarantee.certifiable import as_data, plain_head, require_data_of
from subsetsel.guarantee.verification import SCOPE, epsilon_of
from subsetsel.problem.problem import Problem
from subsetsel.rows.base import FloatArray, IndexArray
from subsetsel.support.files import written_whole
from subsetsel.support.npz import read_npz
from subsetsel.support.records import sha256_of_array, write_json

FORMAT = "subsetsel-certificate-2"
# Kinds of the types, and number of axes.
_ARRAYS = {
    "kept": ("iu", 1),
    "pruned": ("iu", 1),
    "theta": ("f", 2),
    "theta_kept": ("f", 2),
    "classes": ("iubfU", 1),
}
_CLAIMED = ("change", "change_error", "bound_without_refit")
# The file claims so much more than was proved where it was written, as a share of the error.
_SLACK = 0.5
_UNIT = float(np.finfo(np.float64).eps) / 2
_BLOCK = 4096
_CLAIM = (
    "Trained to its exact minimum on the kept examples instead of on all of them, the linear "
    "softmax head moves by at most change + change_error in the 2-norm of its parameters."
)
_ASSUMPTIONS = (
    "The features are fixed. The objective is mean cross-entropy of softmax(W x + b) plus "
    "(l2 / 2) times the squared norm of all parameters, the bias b included; on the kept examples "
    "it is their mean with the same l2. theta holds [W, b], one row per class."
)


@dataclass(frozen=True)
class Recheck:
    """What a certificate is worth, recomputed from the data.

    Attributes
    ----------
    is_confirmed : bool
        Whether data and file belong together, and the claim follows from them.
    reasons : tuple of str
        Why it is not; empty if it is.
    change, change_error : float
        Recomputed: the exact change is within ``change_error`` of ``change``.
    bound_without_refit : float
        (||grad F_K(theta)|| + ||grad F(theta)||) / l2: a looser bound on the exact change, for
        which theta_K need not be known.
    epsilon : float or None
        The change that was allowed.
    scope : str
    """

    is_confirmed: bool
    reasons: tuple[str, ...]
    change: float
    change_error: float
    bound_without_refit: float
    epsilon: float | None
    scope: str = SCOPE

    def __str__(self) -> str:
        reach = self.change + self.change_error
        limit = "" if self.epsilon is None else f" (epsilon = {self.epsilon:.6g})"
        words = f"the head moves by at most {reach:.6g}{limit}; scope: {self.scope}"
        if self.is_confirmed:
            return f"confirmed: {words}"
        return "NOT confirmed: " + "; ".join(self.reasons)


def write_certificate(
    path: str | PathLike[str],
    problem: Problem,
    solution: Any,
    X: ArrayLike,
    y: ArrayLike,
    *,
    epsilon: float | None = None,
) -> Recheck:
    """Write ``path`` (JSON) and the arrays beside it (``.npz``), after checking the claim.

    Parameters
    ----------
    path : str or path-like
        Ending in ``.json``.
    problem : Problem
        With a softmax head, l2 on all parameters, without weights and label smoothing.
    solution : Solution or mask of shape (n,), bool
    X : array_like of shape (n, h)
        The features the head was trained on.
    y : array_like of shape (n,)
    epsilon : float, optional
        The change that was allowed; the solution's own otherwise.

    Returns
    -------
    Recheck
        Of what was written. The errors in the file are half as large again, since other machines
        round otherwise.

    Raises
    ------
    ProblemError
        If the head is of another kind, X and y are not its data, or the claim does not hold; then
        nothing is written.
    """
    target = Path(path)
    if target.suffix != ".json":
        raise ProblemError(f"a certificate's name must end in .json, got {target.name!r}.")
    head = plain_head(problem)
    mask = problem.check_mask(solution, "solution")
    if mask.all():
        raise ProblemError(f"all {problem.n} examples are pruned; nothing is left to certify.")
    features, labels = as_data(X, y)
    require_data_of(head, features, labels)
    allowed = epsilon_of(solution) if epsilon is None else float(epsilon)
    arrays: dict[str, Any] = {
        "kept": np.flatnonzero(~mask),
        "pruned": np.flatnonzero(mask),
        "theta": head.theta,
        "theta_kept": head.kept(~mask).refit().theta,
        "classes": head.classes,
    }
    outcome = _derive(arrays, features, labels, head.l2, allowed)
    if not outcome.is_confirmed:
        raise ProblemError(f"the claim does not hold for these data: {outcome.reasons[0]}.")
    beside = target.with_suffix(".npz")
    # Another machine rounds the gradients of the check differently.
    slack = _SLACK * outcome.change_error
    with written_whole(beside) as part:
        np.savez_compressed(part, **arrays)
    record: dict[str, Any] = {
        "format": FORMAT,
        "claim": _CLAIM,
        "assumptions": _ASSUMPTIONS,
        "scope": SCOPE,
        "n": problem.n,
        "num_features": features.shape[1],
        "num_pruned": int(mask.sum()),
        "l2": head.l2,
        "epsilon": allowed,
        "change": outcome.change,
        "change_error": outcome.change_error + slack,
        "bound_without_refit": outcome.bound_without_refit + slack,
        "sha256": {"X": sha256_of_array(features), "y": sha256_of_array(labels)},
        "arrays": beside.name,
    }
    write_json(target, record)
    return outcome


def recheck_certificate(path: str | PathLike[str], X: ArrayLike, y: ArrayLike) -> Recheck:
    """Recompute the claim of a certificate from the data, with NumPy alone.

    Neither the solvers nor the training code of this package take part.

    Parameters
    ----------
    path : str or path-like
        What `write_certificate` wrote; its ``.npz`` lies beside it.
    X : array_like of shape (n, h)
    y : array_like of shape (n,)

    Returns
    -------
    Recheck

    Raises
    ------
    FileFormatError
        If a file is not a certificate, or is damaged.
    FileNotFoundError
        If one of the two files is missing.
    """
    record, arrays = _read(Path(path))
    features, labels = as_data(X, y)
    reasons = [
        f"{name} is not what was certified: its SHA-256 differs"
        for name, array in (("X", features), ("y", labels))
        if record["sha256"].get(name) != sha256_of_array(array)
    ]
    outcome = _derive(arrays, features, labels, record["l2"], record["epsilon"])
    reasons += [*_contradictions(record, arrays, features, outcome), *outcome.reasons]
    return replace(outcome, is_confirmed=not reasons, reasons=tuple(reasons))


def _contradictions(
    record: dict[str, Any], arrays: dict[str, Any], X: FloatArray, outcome: Recheck
) -> Iterator[str]:
    """Say which numbers of the file do not follow from its arrays and the data."""
    for name, number in (
        ("n", len(X)),
        ("num_features", X.shape[1]),
        ("num_pruned", len(arrays["pruned"])),
    ):
        if record[name] != number:
            yield f"{name} is {number}, not {record[name]}"
    if not np.isfinite(outcome.change):
        return
    change, error, bound = (record[name] for name in _CLAIMED)
    if not abs(outcome.change - change) + outcome.change_error <= error:
        yield (
            f"the exact change is within {outcome.change_error:.3g} of {outcome.change:.17g}, "
            f"which does not imply that it is within {error:.3g} of {change:.17g}"
        )
    if not outcome.bound_without_refit <= bound:
        yield f"the bound without refit is {outcome.bound_without_refit:.17g}, not {bound:.17g}"


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read both files; fields that an earlier version wrote besides are passed over."""
    try:
        record = json.loads(path.read_text())
        if record["format"] != FORMAT:
            raise ValueError(f"its format is {record['format']!r}, not {FORMAT!r}; write it again")
        for name in ("l2", "epsilon", *_CLAIMED, "n", "num_features", "num_pruned"):
            _require_number(name, record[name], may_miss=name == "epsilon")
        record["sha256"].get("X")
        beside = path.with_name(Path(record["arrays"]).name)
        arrays = read_npz(beside, _ARRAYS)
        for name, (kinds, num_axes) in _ARRAYS.items():
            if arrays[name].dtype.kind not in kinds or arrays[name].ndim != num_axes:
                raise ValueError(
                    f"its {name} are {arrays[name].dtype} of shape {arrays[name].shape}"
                )
    except FileNotFoundError:
        raise
    except Exception as error:
        cause = str(error).rstrip(".")
        raise FileFormatError(
            f"{path} is not a certificate, or is damaged: {cause}. Write it again with "
            "write_certificate, or `subsetsel prune --certificate`."
        ) from error
    return record, arrays


def _require_number(name: str, value: Any, *, may_miss: bool) -> None:
    """Refuse, by a ValueError, what JSON can hold and no certificate does: texts, lists, NaN."""
    if value is None and may_miss:
        return
    if type(value) not in {int, float} or not np.isfinite(value):
        raise ValueError(f"its {name} must be a finite number and is {value!r:.40}")


def _derive(
    arrays: dict[str, Any], X: FloatArray, y: Any, l2: float, epsilon: float | None
) -> Recheck:
    """Derive the claim from the arrays and the data."""
    kept, classes = arrays["kept"], arrays["classes"]
    theta, theta_kept = arrays["theta"], arrays["theta_kept"]
    both = np.sort(np.concatenate([kept, arrays["pruned"]]))
    if not np.array_equal(both, np.arange(len(X))) or not len(kept):
        return _refuse("kept and pruned do not partition the examples", epsilon)
    shape = (len(classes), X.shape[1] + 1)
    if theta.shape != shape or theta_kept.shape != shape or not l2 > 0:
        return _refuse(f"the parameters do not have the shape {shape}, or l2 <= 0", epsilon)
    codes = np.searchsorted(classes, y).clip(max=len(classes) - 1)
    if not np.array_equal(classes[codes], y):
        return _refuse("a label is not among the classes", epsilon)
    on_all = gradient_bound(theta, X, codes, l2)
    on_kept = gradient_bound(theta_kept, X[kept], codes[kept], l2)
    without_refit = gradient_bound(theta, X[kept], codes[kept], l2)
    change = float(np.linalg.norm(theta_kept - theta))
    error = ((on_all + on_kept) / l2 + (theta.size + 8) * _UNIT * change) * (1 + 1e-12)
    reasons = []
    if epsilon is not None and not change + error <= epsilon:
        reasons.append(f"change + error = {change + error:.9g} exceeds epsilon = {epsilon:.9g}")
    bound = (without_refit + on_all) / l2
    return Recheck(not reasons, tuple(reasons), change, error, bound, epsilon)


def _refuse(reason: str, epsilon: float | None) -> Recheck:
    return Recheck(False, (reason,), np.inf, np.inf, np.inf, epsilon)


def gradient_bound(theta: FloatArray, X: FloatArray, codes: IndexArray, l2: float) -> float:
    """Upper bound on ||grad F(theta)||_F, rounding included.

    Parameters
    ----------
    theta : ndarray of shape (C, h + 1)
        Weights, and the bias in the last column.
    X : ndarray of shape (m, h)
    codes : ndarray of shape (m,)
        Class of each example.

    Returns
    -------
    float
        The computed norm, plus first-order rounding bounds of its parts: logits and exponentials
        (the softmax changes by at most half of what the logits do), the sum over examples in any
        order, and the ridge; the whole doubled for higher orders.
    """
    m, q = len(X), X.shape[1] + 1
    total = np.zeros_like(theta)
    rounding = 0.0
    theta_norm = float(np.linalg.norm(theta))
    for start in range(0, m, _BLOCK):
        rows = np.column_stack([X[start : start + _BLOCK], np.ones(len(X[start : start + _BLOCK]))])
        logits = rows @ theta.T
        logits -= logits.max(axis=1, keepdims=True)
        residuals = np.exp(logits)
        residuals /= residuals.sum(axis=1, keepdims=True)
        residuals[np.arange(len(rows)), codes[start : start + _BLOCK]] -= 1.0
        total += residuals.T @ rows
        lengths = np.linalg.norm(rows, axis=1)
        blur = _UNIT * (0.5 * (q + 2) * theta_norm * lengths + len(theta) + 8)
        sums = _UNIT * (m + 2) * np.linalg.norm(residuals, axis=1)
        rounding += float(((blur + sums) * lengths).sum())
    gradient = total / m + l2 * theta
    rounding = rounding / m + 4 * _UNIT * (l2 * theta_norm + float(np.linalg.norm(gradient)))
    return float(np.linalg.norm(gradient)) + 2 * rounding
