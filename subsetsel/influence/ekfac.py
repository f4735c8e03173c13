"""An approximate inverse of the Hessian with Kronecker-factored eigenvectors (E-KFAC)."""

from __future__ import annotations

import torch
from torch import Tensor

from subsetsel.influence.objective import HeadObjective


class KroneckerInverse:
    """H ~ (U (x) V) diag(lambda) (U (x) V)^T, in scaled parameters.

    U diagonalizes the mean of the examples' logit Hessians A_i, V the second moment of the
    features in the user's coordinates, where the ridge is isotropic, and lambda_jk is the exact
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
    features : Tensor of shape (q, q)
        What turns scaled features into the user's features in their eigenbasis, V.
    inverse_values : Tensor of shape (m, q)
        1 / lambda.

    References
    ----------
    George et al., Fast Approximate Natural Gradient Descent in a Kronecker-factored Eigenbasis,
    NeurIPS 2018, arXiv:1806.03884.
    """

    def __init__(self, objective: HeadObjective, theta: Tensor) -> None:
        scale = objective.scale
        moment = scale[:, None] * objective.gram() * scale
        self.class_vectors = torch.linalg.eigh(objective.class_curvature(theta))[1]
        vectors = torch.linalg.eigh(moment)[1]
        ridge = (vectors.square() * (objective.ridge * scale.square())[:, None]).sum(dim=0)
        # From scaled parameters to the user's: x' = x scale, so V acts on scale * v.
        self.features = scale[:, None] * vectors
        values = theta.new_zeros((objective.num_free, objective.q))
        for rows in objective.chunks():
            curvature = objective.directional_curvature(
                objective.outputs(theta, rows), self.class_vectors
            )
            squares = (objective.X[rows] @ self.features).square_()
            values.addmm_(objective.weigh(rows, curvature.clone()).T, squares)
        values = values / objective.total + ridge
        self.inverse_values = 1 / values.clamp_min(float(values.max()) * 1e-14)

    def solve(self, columns: Tensor) -> Tensor:
        """Apply the approximate inverse.

        Parameters
        ----------
        columns : Tensor of shape (d, k)
            In scaled parameters.

        Returns
        -------
        Tensor of shape (d, k)
        """
        m, q = self.inverse_values.shape
        stacked = columns.T.reshape(-1, m, q)
        turned = self.class_vectors.T @ (stacked @ self.features)
        turned *= self.inverse_values
        back = (self.class_vectors @ turned) @ self.features.T
        out: Tensor = back.reshape(len(stacked), m * q).T
        return out
