"""The settings of a pruning: from flags, or from the manifest of an earlier run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from subsetsel.cli.options import flag, given, names_in, one_goal
from subsetsel.cli.read_shards import read_sharded
from subsetsel.errors import FileFormatError, OptionError
from subsetsel.formats import TABLE_SUFFIXES, Data, Reading, Text, read_data
from subsetsel.formats.read import check_suffix
from subsetsel.report.manifest import Manifest

_ON_VALIDATION = {"max_loss_gap", "max_accuracy_drop"}
_TYPES: dict[str, Any] = {
    **dict.fromkeys(("goal", "search", "limits", "reading", "shards"), dict),
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
    reading : dict
        How the data are read where it is not the usual way: see `reading_of`.
    shards : dict
        ``paths`` and ``rows_per_shard`` of data in shards; empty where they are in memory.
    """

    goal: dict[str, Any]
    l2: float
    device: str
    label: str
    id: str
    search: dict[str, Any]
    limits: dict[str, Any] = field(default_factory=dict)
    hessian: str = "all"
    reading: dict[str, Any] = field(default_factory=dict)
    shards: dict[str, Any] = field(default_factory=dict)

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
        how = reading_of(self.label, self.id, **self.reading)
        names = (*how.features, *how.drop, how.weight or "")
        if not all(isinstance(name, str) for name in names):
            raise TypeError("reading names a column by something else than a text")

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

    def how(self, files: Mapping[str, Path]) -> Reading:
        """Say how the data are read."""
        return reading_of(self.label, self.id, labels=files.get("labels"), **self.reading)

    def read(self, files: Mapping[str, Path], engine: str | None = None) -> dict[str, Data]:
        """Read the examples, and those that are held out by the same columns."""
        how = self.how(files)
        held_out = {name: path for name, path in files.items() if name not in {"data", "labels"}}
        data = (
            read_sharded(self.shards, how, engine) if self.shards else read_data(files["data"], how)
        )
        return {"data": data, **read_held_out(data, held_out, how)}


def reading_of(
    label: str,
    identity: str,
    *,
    labels: Path | None = None,
    features: Sequence[str] = (),
    drop: Sequence[str] = (),
    weight: str | None = None,
    keep_na: bool = False,
    delimiter: str | None = None,
    decimal: str = ".",
    encoding: str = "utf-8",
) -> Reading:
    """Say how files of examples are read, from what the flags or a manifest say."""
    return Reading(
        label=label,
        identity=identity,
        features=tuple(features),
        drop=tuple(drop),
        weight=weight,
        labels=labels,
        keep_na=keep_na,
        text=Text(delimiter, decimal, encoding),
    )


def reading_of_matrix(reading: Any) -> Reading:
    """Say how S is read; a FileFormatError where a manifest says what nobody can do."""
    try:
        how = reading_of("", "", **reading)
        if not all(isinstance(name, str) for name in how.drop):
            raise TypeError("drop must hold texts")
    except TypeError as error:
        raise FileFormatError(f"the setting 'reading' says no way to read S: {error}.") from error
    return how


def unusual(
    *, features: list[str] | None = None, drop: list[str] | None = None, **reading: Any
) -> dict[str, Any]:
    """Keep the flags that ask `reading_of` for something that it would not do by itself."""
    names = {"features": names_in(features), "drop": names_in(drop)}
    usual = {"decimal": ".", "encoding": "utf-8"}
    both = (names | reading).items()
    return {name: value for name, value in both if value and value != usual.get(name)}


def reading_again(
    manifest: Manifest | None,
    label: str | None,
    identity: str | None,
    labels: Path | None,
    reading: Mapping[str, Any],
) -> Reading:
    """Say how the data of an earlier run are read: as they were then, where no flag says how."""
    if manifest is None or "label" not in manifest.settings:
        return reading_of(label or "y", identity or "id", labels=labels, **reading)
    plan = Plan.of_manifest(manifest)
    labels = inputs_of({"labels": labels}, manifest).get("labels")
    both = {**plan.reading, **reading}
    return reading_of(label or plan.label, identity or plan.id, labels=labels, **both)


def read_held_out(data: Data, files: Mapping[str, Path], how: Reading) -> dict[str, Data]:
    """Read other files by the data's names of columns, whatever their order there."""
    examples = {}
    for name, other in files.items():
        # Their weights and ids are not used, and they have their labels with them.
        mine = replace(how, labels=None, weight=None, needs_ids=False)
        if data.names is not None and check_suffix(other) in TABLE_SUFFIXES:
            mine = replace(mine, features=data.names, drop=())
        examples[name] = read_data(other, mine)
    return examples


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
