"""The memory that a head and its S will take, said before anything runs."""

from __future__ import annotations

from dataclasses import dataclass

from subsetsel.influence.device import head_device
from subsetsel.influence.head.choose_inverse import (
    factor_bytes,
    plan_inverse,
    plan_woodbury,
    woodbury_bytes,
)
from subsetsel.influence.head.rows import choose_storage
from subsetsel.support.memory import VARIABLE, describe, free_memory, planned_memory


@dataclass(frozen=True)
class Estimate:
    """The memory that a head and its S will take.

    Attributes
    ----------
    n, d : int
        Shape of S.
    inverse : {"cholesky", "cg"}
        How linear systems with the Hessian will be solved.
    storage : {"dense", "factored"}
        Whether S will be an array or a formula.
    feature_bytes, hessian_bytes, S_bytes : int
        Features and residuals in float64; the Hessian's factor and workspace; S as stored.
    planned_bytes : int
        Memory that inverse and storage were chosen for.
    free_bytes : int
        Memory that is free now; it changes no choice.
    """

    n: int
    d: int
    inverse: str
    storage: str
    feature_bytes: int
    hessian_bytes: int
    S_bytes: int
    planned_bytes: int
    free_bytes: int

    @property
    def num_bytes(self) -> int:
        """Features, Hessian and S together."""
        return self.feature_bytes + self.hessian_bytes + self.S_bytes

    def __str__(self) -> str:
        gib = 2**30
        stored = "an array" if self.storage == "dense" else "never written out"
        return (
            f"S is {self.n:,} x {self.d:,}, {stored}; the Hessian is solved by {self.inverse}\n"
            f"  memory  about {self.num_bytes / gib:.2f} GiB of {self.free_bytes / gib:.2f} GiB "
            f"free (features {self.feature_bytes / gib:.2f}, Hessian "
            f"{self.hessian_bytes / gib:.2f}, S {self.S_bytes / gib:.2f})\n"
            f"  chosen for {describe(self.planned_bytes)} of memory, which {VARIABLE} can change"
        )


def estimate_cost(
    n: int,
    num_features: int,
    num_classes: int,
    *,
    inverse: str = "auto",
    storage: str = "auto",
    itemsize: int = 4,
    device: str = "auto",
) -> Estimate:
    """Say how much memory `fit_head` and `influence_rows` will take.

    Parameters
    ----------
    n, num_features, num_classes : int
        Of the training set; the bias is added here.
    inverse : {"auto", "cholesky", "cg"}
    storage : {"auto", "dense", "factored"}
    itemsize : int
        Bytes of one number of S.
    device : str

    Returns
    -------
    Estimate
    """
    q, m = num_features + 1, num_classes - 1
    d = m * q
    on = head_device(device)
    is_woodbury = inverse == "auto" and plan_woodbury(n, q, num_classes, on)
    kind = "cholesky" if is_woodbury else plan_inverse(inverse, d, on)
    if is_woodbury:
        hessian_bytes = woodbury_bytes(n, q, num_classes)
    elif kind == "cholesky":
        hessian_bytes = factor_bytes(d)
    else:
        hessian_bytes = 8 * (2 * q * q + m * m + d)
    if storage == "auto":
        storage = choose_storage(n * d * itemsize, is_exact=kind == "cholesky")
    return Estimate(
        n=n,
        d=d,
        inverse=kind,
        storage=storage,
        feature_bytes=8 * n * (q + m),
        hessian_bytes=hessian_bytes,
        S_bytes=n * d * itemsize if storage == "dense" else 0,
        planned_bytes=planned_memory(),
        free_bytes=free_memory(),
    )
