"""The settings of a pruning: from flags, or from the manifest of an earlier run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from subsetsel.cli.options import given_goal
from subsetsel.cli.read import Data, read_data
from subsetsel.errors import FileFormatError, OptionError
from subsetsel.report.manifest import Manifest


@dataclass(frozen=True)
class Plan:
    """The settings of a pruning, as the manifest keeps them.

    Attributes
    ----------
    goal : dict
        One of ``epsilon``, ``rel_epsilon``, ``size``, ``fraction``, ``num_kept``.
    l2 : float
    device, label, id : str
    search : dict
        Arguments of `subsetsel.solve`.
    """

    goal: dict[str, Any]
    l2: float
    device: str
    label: str
    id: str
    search: dict[str, Any]

    @classmethod
    def of_flags(
        cls,
        goal: Mapping[str, Any],
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
            If l2 is missing, or not exactly one goal was given.
        """
        one = given_goal(**goal)
        if l2 is None:
            raise OptionError("--l2 is needed: the weight decay of the head, such as 1e-3.")
        return cls(one, l2, device, label, identity, search)

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
        clashing = [name for name, value in (flags or {}).items() if value is not None]
        if clashing:
            raise OptionError(
                f"--from brings its own settings; leave out --{clashing[0].replace('_', '-')}."
            )
        try:
            return cls(**manifest.settings)
        except TypeError as error:
            raise FileFormatError(
                f"this is the manifest of `subsetsel {manifest.command}`, not of "
                "`subsetsel prune`: it lacks the settings of a pruning."
            ) from error

    @property
    def has_epsilon(self) -> bool:
        """Whether the change of the head is limited, rather than the size fixed."""
        return bool(self.goal.keys() & {"epsilon", "rel_epsilon"})

    def read(self, path: Path) -> Data:
        """Read a file of examples."""
        return read_data(path, label=self.label, identity=self.id)
