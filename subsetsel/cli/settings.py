"""The settings of a pruning: from flags, or from the manifest of an earlier run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.cli.options import flag, given, one_goal
from subsetsel.errors import FileFormatError, OptionError
from subsetsel.formats import Data, read_data
from subsetsel.report.manifest import Manifest

_ON_VALIDATION = {"max_loss_gap", "max_accuracy_drop"}
_TYPES: dict[str, Any] = {
    **dict.fromkeys(("goal", "search", "limits"), dict),
    **dict.fromkeys(("device", "label", "id", "hessian"), str),
    "l2": (int, float),
}


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
    hessian : str
        Of `Problem.from_features`.
    """

    goal: dict[str, Any]
    l2: float
    device: str
    label: str
    id: str
    search: dict[str, Any]
    limits: dict[str, Any] = field(default_factory=dict)
    hessian: str = "all"

    @classmethod
    def of_flags(
        cls, goals: Mapping[str, Any], limits: Mapping[str, Any], l2: float | None, **others: Any
    ) -> Self:
        """Take the settings from the command line, where None stands for a flag that is missing.

        An OptionError says that l2 is missing, that there is not exactly one goal, or that the
        limits cannot go with it.
        """
        known = given(limits)
        is_open = bool(known.keys() & _ON_VALIDATION) and not given(goals)
        goal = {} if is_open else one_goal(goals)
        if l2 is None:
            raise OptionError("--l2 is needed: the weight decay of the head, such as 1e-3.")
        plan = cls(goal=goal, l2=l2, limits=known, **others)
        if plan.criteria and not plan.is_verified_search:
            raise OptionError(
                f"{flag(next(iter(plan.criteria)))} limits how many are pruned; it cannot go with "
                f"{flag(next(iter(goal)))}, which says how many."
            )
        if plan.hessian != "all" and plan.is_verified_search:
            raise OptionError(
                f"--hessian {plan.hessian} goes with --size, --fraction or --num-kept; with the "
                "other goals the search does that anyway. Leave it out."
            )
        return plan

    @classmethod
    def of_manifest(cls, manifest: Manifest) -> Self:
        """Take the settings of an earlier run; a FileFormatError if it was no pruning."""
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
        """Believe no type that a file claims: a TypeError names the first that is wrong."""
        for name, kind in _TYPES.items():
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
        """Arguments of the problem: the goal, and how many of each class may be pruned."""
        # Limits on validation examples leave the size open; a problem has one all the same.
        goal = {**(self.goal or {"size": 1}), "hessian": self.hessian}
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


def inputs_of(named: Mapping[str, Path | None], earlier: Manifest | None) -> dict[str, Path]:
    """Find the files that were named, and for others those of the run that is repeated."""
    files = [] if earlier is None else [item for item in earlier.inputs if "path" in item]
    known = {item["name"]: Path(item["path"]) for item in files}
    paths = {name: path or known.get(name) for name, path in named.items()}
    return {name: path for name, path in paths.items() if path is not None}


def refuse_beside_from(flags: Mapping[str, Any]) -> None:
    """Refuse flags that say what the manifest of ``--from`` says already."""
    for name in given(flags):
        raise OptionError(f"--from brings its own settings; leave out {flag(name)}.")
