"""The optimization problem: S, the goal, and everything W must respect."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.errors import ProblemError
from subsetsel.problem.arguments import GroupLimits, Hessian, Normalization
from subsetsel.problem.broken import linear_violations
from subsetsel.problem.constraints import Constraints
from subsetsel.problem.facts import facts_of, line_of
from subsetsel.problem.from_data import FromData
from subsetsel.problem.goal import OFFSET, Goal, fixed_mask, read_mask, read_offset
from subsetsel.problem.groups import group_constraints
from subsetsel.problem.hessian import check_hessian
from subsetsel.problem.kept_share import KeptShare
from subsetsel.rows import Rows, as_rows
from subsetsel.rows.base import BoolArray, FloatArray, euclidean
from subsetsel.support.text import as_html

if TYPE_CHECKING:
    from subsetsel.influence.head.head import Head

Form = Literal["max_size", "min_norm"]

# A subset counts as feasible when norm <= epsilon (1 + FEASIBILITY).
FEASIBILITY = 1e-9
# Entries of S are at most 1e140 (`subsetsel.rows.dense`).
_LARGEST_RADIUS = 1e150


class Problem(FromData):
    """Choose W in {0, 1}^n, 1 = pruned, by the joint influence ||W^T S||_2.

    With ``epsilon``, maximize how many are pruned subject to the influence staying within it
    (Eq. 3 of the paper); with a size, minimize the influence of pruning exactly that many (Eq. 4).

    Parameters
    ----------
    S : array_like of shape (n, d), path, glob, or list of paths
        Row i is the parameter change caused by leaving example i out. float32 or float64 array of
        any strides, memory map, torch tensor, or `Rows`; never modified. Of files see `open_rows`.
    epsilon : float, optional
        Largest allowed ||W^T S||_2, in the unit of the parameters.
    size, fraction, num_kept : optional
        How many to prune: a count, a share of n, or what is left. Exactly one of these and
        ``epsilon`` is given.
    normalization : {"full", "kept"}
        ``"full"`` is Eq. 3 to the letter. ``"kept"`` allows epsilon (n - m) / n when m are pruned:
        the mean over the kept examples moves n / (n - m) times as far. Where the head has sample
        weights the kept share of the total weight stands for (n - m) / n.
    max_size : int, optional
        Prune at most this many (only with ``epsilon``).
    groups, group_limits : optional
        The group of each example, and label -> (fewest, most) pruned.
    must_prune, must_keep : array_like, optional
        Indices, or Boolean masks of shape (n,).
    constraints : sequence of LinearConstraint or (coefficients, lower, upper), optional
    offset : array_like of shape (d,), optional
        v0: then ||v0 + S^T W||_2 stands for ||W^T S||_2 everywhere, to select against a target or
        beside examples that are decided already.
    engine : optional
        Who holds the shards of files; by default this process, one shard after the other.
    head : Head, optional
        The trained head behind S; set by `from_features` and `from_model`, needed by `verify`.
    hessian : {"all", "kept"}
        Whose curvature Eq. 4 takes; ``"kept"`` needs a head, see `from_features`.

    Raises
    ------
    ProblemError
        If anything above is violated; the message names it.

    References
    ----------
    Yang et al., Dataset Pruning: Reducing Training Data by Examining Generalization Influence,
    ICLR 2023, arXiv:2205.09329.
    """

    def __init__(
        self,
        S: Any,
        *,
        epsilon: float | None = None,
        rel_epsilon: float | None = None,
        size: int | None = None,
        fraction: float | None = None,
        num_kept: int | None = None,
        normalization: Normalization = "full",
        max_size: int | None = None,
        groups: ArrayLike | None = None,
        group_limits: GroupLimits | None = None,
        must_prune: ArrayLike | None = None,
        must_keep: ArrayLike | None = None,
        constraints: Sequence[Any] | None = None,
        offset: ArrayLike | None = None,
        engine: Any = None,
        head: Head | None = None,
        hessian: Hessian = "all",
    ) -> None:
        self.rows: Rows = as_rows(S, engine)
        self.n, self.d = self.rows.shape
        self.head, self.hessian = head, hessian
        self.offset: FloatArray | None = read_offset(offset, self.d)
        self._kept_share = KeptShare.of_head(self.n, head)
        self.constraints: Constraints = group_constraints(self.n, groups, group_limits).join(
            Constraints.build(self.n, constraints or [])
        )
        self._ask(
            {
                "epsilon": epsilon,
                "rel_epsilon": rel_epsilon,
                "size": size,
                "fraction": fraction,
                "num_kept": num_kept,
            },
            normalization,
            max_size,
            fixed_mask(must_prune, self.n, "must_prune"),
            fixed_mask(must_keep, self.n, "must_keep"),
        )

    def _ask(
        self,
        goal: Mapping[str, Any],
        normalization: Normalization,
        max_size: int | None,
        must_prune: BoolArray,
        must_keep: BoolArray,
    ) -> None:
        """Set the question, checked as a whole."""
        if normalization not in {"full", "kept"}:
            raise ProblemError(f"normalization must be 'full' or 'kept', got {normalization!r}.")
        question = {**goal, "offset": self.offset}
        check_hessian(self.hessian, question, normalization, has_head=self.head is not None)
        both = np.flatnonzero(must_prune & must_keep)
        if both.size:
            raise ProblemError(
                f"must_prune and must_keep both name example {both[0]} "
                f"({both.size} in common); an example cannot be both."
            )
        parsed = Goal.parse(
            self.n,
            **goal,
            theta_norm=None if self.head is None else self.head.theta_norm,
            max_size=max_size,
            must_leave_one=normalization == "kept",
        )
        self.normalization = normalization
        self.epsilon, self.size, self.max_size = parsed.epsilon, parsed.size, parsed.max_size
        if self.epsilon is not None:
            # No norm is larger than this, and its square does not overflow.
            self.epsilon = min(self.epsilon, _LARGEST_RADIUS)
        self.must_prune, self.must_keep = must_prune, must_keep
        # As the user gave it, for `replace`.
        self._cap = max_size

    @property
    def S(self) -> Any:
        """S as an array where it is one, else the `Rows` that stand for it."""
        dense = self.rows.dense()
        return self.rows if dense is None else dense

    @property
    def approximation(self) -> str | None:
        """In what way S is no exact influence; None where nothing is known against it."""
        return self.rows.approximation

    @property
    def form(self) -> Form:
        """``"max_size"`` for Eq. 3, ``"min_norm"`` for Eq. 4."""
        return "min_norm" if self.epsilon is None else "max_size"

    @property
    def free(self) -> BoolArray:
        """Examples that are neither in ``must_prune`` nor in ``must_keep``, shape (n,)."""
        return ~(self.must_prune | self.must_keep)

    @property
    def is_capped(self) -> bool:
        """Whether ``max_size`` is smaller than the largest size that the normalization allows."""
        return self.epsilon is not None and self.max_size < self.n - (self.normalization == "kept")

    @property
    def shares(self) -> FloatArray | None:
        """Share of each example in the total weight, shape (n,); None where all count alike."""
        return self._kept_share.shares if self.normalization == "kept" else None

    def radius(self, num_pruned: int) -> float:
        """Largest ||W^T S||_2 allowed when that many are pruned.

        Returns
        -------
        float
            epsilon, or epsilon (n - m) / n with normalization "kept"; inf without epsilon. With
            sample weights it is what the lightest that many leave, and `allowed` decides.
        """
        if self.epsilon is None:
            return float("inf")
        if self.normalization == "full":
            return self.epsilon
        return self.epsilon * self._kept_share.most(num_pruned)

    def allowed(self, mask: BoolArray) -> float:
        """Largest ||W^T S||_2 allowed when these are pruned, mask (n,); inf without epsilon."""
        if self.epsilon is None or self.shares is None:
            return self.radius(int(np.count_nonzero(mask)))
        return self.epsilon * self._kept_share.of(mask)

    def kept_share(self, mask: ArrayLike) -> float:
        """Share that is kept of the weight, or of the number, where mask (n,) is pruned."""
        return self._kept_share.of(self.check_mask(mask))

    def about(self, mask: BoolArray) -> dict[str, float]:
        """Entries of `Solution.stats` where the head has sample weights or there is an offset."""
        length = {} if self.offset is None else {OFFSET: euclidean(self.offset)}
        return self._kept_share.record(mask) | length

    def norm(self, mask: ArrayLike) -> float:
        """||W^T S||_2, with an offset ||v0 + S^T W||_2, in float64, recomputed from S.

        Parameters
        ----------
        mask : array_like of shape (n,), bool
            True means pruned.

        Returns
        -------
        float
        """
        return euclidean(self.sum(self.check_mask(mask)))

    def sum(self, weights: FloatArray | BoolArray) -> FloatArray:
        """v0 + S^T w, shape (d,), for weights w of shape (n,); v0 is 0 without an offset."""
        total = self.rows.sum(weights)
        return total if self.offset is None else total + self.offset

    def check_mask(self, mask: ArrayLike, name: str = "mask") -> BoolArray:
        """Read a subset, a mask of shape (n,) or a Solution, that the user calls ``name``."""
        return read_mask(mask, self.n, name)

    def violations(self, mask: BoolArray, *, norm: float | None = None) -> list[str]:
        """Say in words what a subset breaks.

        Parameters
        ----------
        mask : ndarray of shape (n,), bool
        norm : float, optional
            ||W^T S||_2 where it is known already; computed otherwise.

        Returns
        -------
        list of str
            Empty if the subset is feasible: norm <= radius (1 + 1e-9) and everything else exact.
        """
        return self.assess(mask, norm=norm)[1]

    def assess(self, mask: ArrayLike, *, norm: float | None = None) -> tuple[float, list[str]]:
        """Recompute the norm of a subset, and say in words what the subset breaks."""
        checked = self.check_mask(mask)
        broken = self.linear_violations(checked)
        allowed = self.allowed(checked)
        value = euclidean(self.sum(checked)) if norm is None else norm
        if not value <= allowed * (1 + FEASIBILITY):
            broken.append(f"the norm is {value:.9g}, more than {allowed:.9g}")
        return value, broken

    def linear_violations(self, mask: BoolArray) -> list[str]:
        """Say in words what a subset breaks apart from the norm."""
        return linear_violations(self, mask)

    def is_feasible(self, mask: ArrayLike) -> bool:
        """Whether a subset satisfies the norm limit and everything else."""
        return not self.assess(mask)[1]

    def replace(
        self,
        *,
        epsilon: float | None = None,
        size: int | None = None,
        max_size: int | None = None,
        normalization: Normalization | None = None,
        extra_constraints: Constraints | None = None,
        must_prune: ArrayLike | None = None,
        must_keep: ArrayLike | None = None,
    ) -> Self:
        """Ask another question of the same S, which is shared, not copied.

        Parameters
        ----------
        epsilon, size : optional
            The new goal; at most one. Without either the goal stays.
        max_size, normalization, must_prune, must_keep : optional
            Replace the old value.
        extra_constraints : Constraints, optional
            Added to those there are.

        Returns
        -------
        Problem

        Raises
        ------
        ProblemError
            As for a new problem.
        """
        if epsilon is None and size is None:
            epsilon, size = self.epsilon, self.size
        if max_size is None and epsilon is not None:
            max_size = self._cap
        other = copy.copy(self)
        if extra_constraints is not None:
            other.constraints = self.constraints.join(extra_constraints)
        other._ask(
            {"epsilon": epsilon, "size": size},
            self.normalization if normalization is None else normalization,
            max_size,
            self.must_prune if must_prune is None else fixed_mask(must_prune, self.n, "must_prune"),
            self.must_keep if must_keep is None else fixed_mask(must_keep, self.n, "must_keep"),
        )
        return other

    def with_rows(self, S: Any, offset: FloatArray | None = None) -> Self:
        """Ask the same question of another S for the same n examples, which is taken as it is.

        Where S has another number of columns an offset must be given for it.
        """
        other = copy.copy(self)
        other.hessian = "all"
        other.rows = as_rows(S)
        _, other.d = other.rows.shape
        if self.offset is not None:
            other.offset = read_offset(self.offset if offset is None else offset, other.d)
        return other

    def __repr__(self) -> str:
        return line_of(self)

    def _repr_html_(self) -> str:
        return as_html("Problem", "", facts_of(self))
