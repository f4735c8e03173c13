"""The flags that say how and where files are read, declared once for all commands with them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from subsetsel.cli import options as given
from subsetsel.cli.settings import unusual


@dataclass(frozen=True)
class ReadingFlags:
    """What the command line says of columns, text and format, beside labels and ids.

    Every field is a flag of each command that `takes_flags` for it.
    """

    features: given.Features = None
    drop: given.Drop = None
    weight: given.Weight = None
    labels: given.Labels = None
    keep_na: given.KeepNa = False
    delimiter: given.Delimiter = None
    decimal: given.Decimal = "."
    encoding: given.Encoding = "utf-8"
    file_format: given.Format = None

    @property
    def settings(self) -> dict[str, Any]:
        """What a manifest keeps of them: those that ask for something unusual."""
        return unusual(
            features=self.features,
            drop=self.drop,
            weight=self.weight,
            keep_na=self.keep_na,
            delimiter=self.delimiter,
            decimal=self.decimal,
            encoding=self.encoding,
        )


@dataclass(frozen=True)
class EngineFlags:
    """How data that are too large for one reading are cut, and who computes with them."""

    engine: Annotated[
        str | None,
        typer.Option(
            help="Who computes with data in shards: `here` (this process, one shard after the "
            "other), or the address of a Dask scheduler, such as tcp://host:8786."
        ),
    ] = None
    rows_per_shard: Annotated[
        int | None, typer.Option(help="Examples of a shard; by default about 64 MB of them.")
    ] = None


@dataclass(frozen=True)
class ShardFlags(EngineFlags):
    """The same of a command that has a dry run."""

    assume: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="What --dry-run counts with: machines, cores, flops, memory, network, disk, task, "
            "slack; or classes. Repeatable.",
        ),
    ] = None


_GROUPS = {"how": ReadingFlags, "who": EngineFlags, "where": ShardFlags}


def takes_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of `_GROUPS`, in place of parameters of these names.

    A command need not have all of them.
    """
    own = inspect.signature(command, eval_str=True)
    flags = {
        name: inspect.signature(kind, eval_str=True).parameters
        for name, kind in _GROUPS.items()
        if name in own.parameters
    }
    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        parameters += flags.get(parameter.name, {parameter.name: parameter}).values()

    @functools.wraps(command)
    def spread(**values: Any) -> None:
        groups = {
            group: _GROUPS[group](**{name: values.pop(name) for name in names})
            for group, names in flags.items()
        }
        command(**values, **groups)

    # What typer reads.
    vars(spread)["__signature__"] = own.replace(parameters=parameters)
    return spread
