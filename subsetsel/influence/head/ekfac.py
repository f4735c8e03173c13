"""An approximate inverse of the Hessian with Kronecker-factored eigenvectors (E-KFAC)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from subsetsel.influence.head.features import Features
from subsetsel.influence.head.grams import eigenvectors
from subsetsel.influence.head.inverse import Inverse
from subsetsel.influence.head.objective import HeadObjective


class KroneckerInverse:
    """H ~ (U (x) V) diag(lambda) (U (x) V)^T, in scaled parameters.

    U diagonalizes the mean of the examples' logit Hessians A_i, V the second moment of the
    features in the user's coordinates, where the ridge is isotropic (of all examples, also where
    the objective is made of some of them), and lambda_jk is the exact
    curvature mean_i (u_j^T A_i u_j) (v_k^T x_i)^2 + l2 along u_j (x) v_k.

    Parameters
    ----------
    objective : HeadObjective
    theta : Tensor of shape (C, q)
        Scaled parameters.

    Attributes
    ----------
    class_vectors : Tensor of shape (m, m)
        U.
    feature_vectors : Tensor of shape (q, q), optional
        V; None for the unit vectors, which stand for it where the features are sparse.
    inverse_values : Tensor of shape (m, q)
        1 / lambda.

    References
    ----------
    George et al., Fast Approximate Natural Gradient Descent in a Kronecker-factored Eigenbasis,
    NeurIPS 2018, arXiv:1806.03884.
    """

    def __init__(self, objective: HeadObjective, theta: Tensor) -> None:
        scale = objective.scale
        self.class_vectors = eigenvectors(objective.class_curvature(theta))
        vectors = objective.feature_vectors()
        ridge = objective.ridge * scale.square()
        if vectors is not None:
            ridge = (vectors.square() * ridge[:, None]).sum(dim=0)
        self.feature_vectors, self._scale = vectors, scale

        values = objective.mean_squares(theta, self.class_vectors, vectors) + ridge
        self.inverse_values = 1 / values.clamp_min(float(values.max()) * 1e-14)

    def solve(self, columns: Tensor) -> Tensor:
        """Apply the approximate inverse to columns, shape (d, k), in scaled parameters."""
        m, q = self.inverse_values.shape
        stacked = columns.T.reshape(-1, m, q)
        turned = self.class_vectors.T @ (self.into_vectors(stacked * self._scale))
        turned *= self.inverse_values
        back = self.out_of_vectors(self.class_vectors @ turned) * self._scale
        out: Tensor = back.reshape(len(stacked), m * q).T
        return out

    def into_vectors(self, rows: Tensor) -> Tensor:
        """Coordinates in V of rows in the user's features, shape (..., q)."""
        return rows if self.feature_vectors is None else rows @ self.feature_vectors

    def out_of_vectors(self, rows: Tensor) -> Tensor:
        """Undo `into_vectors`."""
        return rows if self.feature_vectors is None else rows @ self.feature_vectors.T

    def turn(self, X: Features) -> Features:
        """Give scaled features as the user's, in the coordinates of V."""
        return X.turn(self._scale, self.feature_vectors)

    def row_lengths(self, inverse: Inverse, *, num_probes: int = 32, seed: int = 0) -> Tensor:
        """Estimate the length of each row of H^-1 in the eigenbasis, shape (m, q), by random signs.

        With signs z, the mean of (H^-1 z)_j^2 is the squared length of row j, in the user's
        parameters. As a diagonal stand-in for H^-1 it serves sums of gradients much better than
        1 / lambda, which is too short where the eigenbasis is not quite that of H. ``inverse`` is
        that of the exact Hessian; it solves for all signs at once, to two digits.
        """
        m, q = self.inverse_values.shape
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(num_probes, m, q))
        turned = self.class_vectors @ torch.as_tensor(signs, device=self._scale.device)
        columns = self.out_of_vectors(turned) / self._scale
        solved = inverse.solve(columns.reshape(num_probes, m * q).T, tolerance=1e-2)
        back = solved.T.reshape(num_probes, m, q) / self._scale
        lengths = self.into_vectors(self.class_vectors.T @ back)
        found: Tensor = lengths.square().mean(dim=0).sqrt()
        return found
