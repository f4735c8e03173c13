"""The parameters of a head: as users have them, scaled, and in the basis of the classes."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from subsetsel.errors import ProblemError
from subsetsel.influence.head.setting import Setting
from subsetsel.rows.base import FloatArray


class Parameters(ABC):
    """Parameters of shape (C, q), which inside are the user's times ``scale``.

    Parameters
    ----------
    scale : Tensor of shape (q,)
        Powers of two.
    setting : Setting

    Attributes
    ----------
    basis : Tensor of shape (C, m)
        Orthonormal class directions that span every gradient.
    ridge : Tensor of shape (q,)
        l2 as it acts on the scaled parameters.
    """

    basis: Tensor

    def __init__(self, scale: Tensor, setting: Setting) -> None:
        self.scale, self.setting = scale, setting
        self.q = len(scale)
        self.l2, self.num_classes = setting.l2, setting.num_classes
        self.ridge = setting.l2 / scale**2
        if not setting.penalizes_bias:
            self.ridge[-1] = 0.0
        self.basis = self.class_basis(setting.num_classes).to(scale.device)

    @staticmethod
    @abstractmethod
    def class_basis(num_classes: int) -> Tensor:
        """Orthonormal class directions that span every gradient, shape (C, m)."""

    @property
    def num_free(self) -> int:
        """Number of class directions, m."""
        return self.basis.shape[1]

    @property
    def d(self) -> int:
        """Number of parameters in the class basis, m q."""
        return self.num_free * self.q

    def to_scaled(self, theta: ArrayLike) -> Tensor:
        """Check the user's parameters, shape (C, q), scale them and move them to the device."""
        array = np.array(theta, dtype=np.float64)
        shape = (self.num_classes, self.q)
        if array.shape != shape:
            raise ProblemError(
                f"theta must have shape {shape} (classes, features and bias), got {array.shape}."
            )
        if not np.isfinite(array).all():
            raise ProblemError("theta must be finite; it holds NaN or infinite values.")
        return torch.as_tensor(array, device=self.scale.device) * self.scale

    def to_user(self, scaled: Tensor) -> FloatArray:
        """Undo `to_scaled`."""
        theta: FloatArray = (scaled / self.scale).cpu().numpy()
        return theta

    def lift(self, reduced: Tensor) -> Tensor:
        """Turn numbers in the class basis, shape (m, k), into numbers by class, shape (C, k)."""
        return self.basis @ reduced

    def reduce(self, numbers: Tensor) -> Tensor:
        """Transpose of `lift`."""
        return self.basis.T @ numbers

    def project(self, theta: Tensor) -> Tensor:
        """Drop what lies outside the class basis."""
        return self.lift(self.reduce(theta))
