"""The flags that say how files of examples are read, declared once for all commands with them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from subsetsel.cli import options as given
from subsetsel.cli.settings import unusual


@dataclass(frozen=True)
class ReadingFlags:
    """What the command line says of columns, text and format, beside labels and ids.

    Every field is a flag of each command that `takes_reading`.
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


def takes_reading(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of `ReadingFlags` where its parameter ``how`` stands."""
    own = inspect.signature(command, eval_str=True)
    flags = inspect.signature(ReadingFlags, eval_str=True).parameters
    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        parameters += flags.values() if parameter.name == "how" else [parameter]

    @functools.wraps(command)
    def spread(**values: Any) -> None:
        how = ReadingFlags(**{name: values.pop(name) for name in flags})
        command(**values, how=how)

    # What typer reads.
    vars(spread)["__signature__"] = own.replace(parameters=parameters)
    return spread
