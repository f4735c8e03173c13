"""The refitted head as a function of the pruned set, to first order around one such set.

With K the kept examples, theta_K their minimizer and g_i the gradient of example i's part of the
objective there, ridge included, the gradients over K sum to zero. Exchanging a few examples for
others, W for W_0, therefore moves the minimizer to

    theta_K + (1 / k) H_K^-1 (sum_{i in W} g_i - sum_{i in W_0} g_i),

with H_K the Hessian over K at theta_K. Unlike the rows of Eq. 2, which are this around the empty
set, it is exact at W_0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from torch import Tensor

from subsetsel.influence.head.choose_inverse import invert
from subsetsel.influence.head.inverse import Inverse
from subsetsel.influence.head.refit import KeptHead
from subsetsel.rows.base import BoolArray, FloatArray
from subsetsel.support.threads import by_blocks


@dataclass(frozen=True, eq=False)
class Expansion:
    """A pruned set, the head refitted without it, and the kept examples' Hessian there.

    Attributes
    ----------
    pruned : ndarray of shape (n,), bool
    theta : Tensor of shape (C, q)
        The refitted head, scaled.
    inverse : Inverse
        Of the Hessian over the kept examples at ``theta``.
    pull : Tensor of shape (d,)
        That Hessian times the change of the head, in the class basis.
    """

    pruned: BoolArray
    theta: Tensor = field(repr=False)
    inverse: Inverse = field(repr=False)
    pull: Tensor = field(repr=False)

    @classmethod
    @by_blocks()
    def around(cls, kept: KeptHead, pruned: BoolArray, theta: FloatArray) -> Self:
        """Prepare what `influence_rows` needs; ``theta`` (C, q) is what `KeptHead.refit` gave.

        The clock of ``kept`` ends the work: `TimeIsUp` is raised.
        """
        objective = kept.objective_function
        at = objective.to_scaled(theta)
        moved = (objective.basis.T @ (at - kept.theta)).reshape(-1, 1)
        pull = objective.multiply(at, moved)[:, 0]
        return cls(pruned, at, invert(objective, at), pull)

    def constant(self, pruned_gradient: Tensor, shares: Tensor, size: int) -> Tensor:
        """Find what to add to every gradient so that sums over ``size`` examples are right.

        Parameters
        ----------
        pruned_gradient : Tensor of shape (d,)
            Share of the pruned examples in the objective's gradient at ``theta``.
        shares : Tensor of shape (n,)
            w_i / sum w.
        size : int
            How many will be pruned. With sample weights they are taken to weigh as much, on the
            average, as those that are pruned here.
        """
        num_pruned = int(self.pruned.sum())
        here = float(shares[self.pruned].sum())
        pruned_share = here * size / num_pruned
        return ((1.0 - pruned_share) * self.pull - pruned_gradient) / pruned_share
