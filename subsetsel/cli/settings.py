"""The settings of a pruning: from flags, or from the manifest of an earlier run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.cli.options import given_goal, refuse_beside_from
from subsetsel.errors import FileFormatError, OptionError
from subsetsel.formats import Data, read_data
from subsetsel.report.manifest import Manifest

_ON_VALIDATION = {"max_loss_gap", "max_accuracy_drop"}


@dataclass(frozen=True)
class Plan:
    """The settings of a pruning, as the manifest keeps them.

    Attributes
    ----------
    goal : dict
        One of ``epsilon``, ``rel_epsilon``, ``size``, ``fraction``, ``num_kept``; none where
        ``limits`` say enough.
    l2 : float
    device, label, id : str
    search : dict
        Arguments of `subsetsel.solve`.
    limits : dict
        Some of ``max_loss_gap``, ``max_accuracy_drop``, ``min_curvature``, ``keep_per_class``.
    """

    goal: dict[str, Any]
    l2: float
    device: str
    label: str
    id: str
    search: dict[str, Any]
    limits: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_flags(
        cls,
        goal: Mapping[str, Any],
        limits: Mapping[str, Any],
        l2: float | None,
        device: str,
        label: str,
        identity: str,
        search: dict[str, Any],
    ) -> Self:
        """Take the settings from the command line.

        Raises
        ------
        OptionError
            If l2 is missing, there is not exactly one goal, or one that the limits do not go with.
        """
        known = {name: value for name, value in limits.items() if value is not None}
        is_limited = bool(known.keys() & _ON_VALIDATION)
        if is_limited and not any(value is not None for value in goal.values()):
            one: dict[str, Any] = {}
        else:
            one = given_goal(**goal)
        if l2 is None:
            raise OptionError("--l2 is needed: the weight decay of the head, such as 1e-3.")
        plan = cls(one, l2, device, label, identity, search, known)
        if plan.criteria and not plan.is_verified_search:
            raise OptionError(
                f"--{next(iter(plan.criteria)).replace('_', '-')} limits how many are pruned; it "
                f"cannot go with --{next(iter(one)).replace('_', '-')}, which says how many."
            )
        return plan

    @classmethod
    def of_manifest(cls, manifest: Manifest, flags: Mapping[str, Any] | None = None) -> Self:
        """Take the settings of an earlier run.

        Raises
        ------
        FileFormatError
            If it was no pruning.
        OptionError
            If one of ``flags``, which the manifest brings, was given too.
        """
        refuse_beside_from(flags or {})
        try:
            plan = cls(**manifest.settings)
            plan._require_types()
        except TypeError as error:
            raise FileFormatError(
                f"this is the manifest of `subsetsel {manifest.command}`, not of "
                "`subsetsel prune`: it lacks the settings of a pruning."
            ) from error
        return plan

    def _require_types(self) -> None:
        """Believe no type that a file claims.

        Raises
        ------
        TypeError
            Naming the first setting that is of another.
        """
        kinds: dict[str, Any] = {
            **dict.fromkeys(("goal", "search", "limits"), dict),
            **dict.fromkeys(("device", "label", "id"), str),
            "l2": (int, float),
        }
        for name, kind in kinds.items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} is a {type(getattr(self, name)).__name__}")

    @property
    def is_verified_search(self) -> bool:
        """Whether limits are given for the refitted head, rather than the size fixed."""
        return not self.goal.keys() - {"epsilon", "rel_epsilon"}

    @property
    def needs_validation(self) -> bool:
        """Whether a limit speaks of validation examples."""
        return bool(self.limits.keys() & _ON_VALIDATION)

    @property
    def criteria(self) -> dict[str, Any]:
        """Arguments of `subsetsel.prune` beside the goal."""
        return {name: self.limits[name] for name in self.limits if name != "keep_per_class"}

    def question(self, labels: ArrayLike) -> dict[str, Any]:
        """Arguments of the problem: the goal, and floors for the classes.

        Raises
        ------
        OptionError
            If a class has too few examples for its floor.
        """
        # Limits on validation examples leave the size open; a problem has one all the same.
        goal = self.goal or {"size": 1}
        floor = self.limits.get("keep_per_class")
        if floor is None:
            return goal
        classes, counts = np.unique(labels, return_counts=True)
        rarest = int(np.argmin(counts))
        if not 0 <= floor <= counts[rarest]:
            raise OptionError(
                f"--keep-per-class must be between 0 and {counts[rarest]}, as many examples as "
                f"class {classes[rarest]} has; got {floor}."
            )
        most = {c.item(): (None, int(k) - floor) for c, k in zip(classes, counts, strict=True)}
        return {**goal, "groups": labels, "group_limits": most}

    def read(self, path: Path) -> Data:
        """Read a file of examples."""
        return read_data(path, label=self.label, identity=self.id)
