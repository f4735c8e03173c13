"""Options that several commands share, declared once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from subsetsel.errors import OptionError

L2 = Annotated[
    float | None,
    typer.Option(help="Weight decay of mean loss + (l2 / 2) ||theta||^2, bias included."),
]
Epsilon = Annotated[
    float | None, typer.Option(help="Largest allowed parameter change; prune as many as it lets.")
]
Size = Annotated[int | None, typer.Option(help="Prune exactly this many examples.")]
Fraction = Annotated[float | None, typer.Option(help="Prune this share of the examples.")]
NumKept = Annotated[int | None, typer.Option(help="Keep exactly this many examples.")]


def _solver_names(incomplete: str) -> list[str]:
    """Offer the names of the solvers to the shell."""
    from subsetsel.engine.registry import registered_solvers

    return [name for name in registered_solvers() if name.startswith(incomplete)]


Solver = Annotated[
    str,
    typer.Option(help="A name that `subsetsel solvers` lists.", autocompletion=_solver_names),
]
TimeLimit = Annotated[
    float | None,
    typer.Option(help="Seconds; without it the solver stops by its own budget of work."),
]
Seed = Annotated[int, typer.Option(help="Same seed, same subset (unless the clock cuts off).")]
NumWorkers = Annotated[int, typer.Option(help="Threads.")]
SolverOptions = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="An option of the solver; repeatable."),
]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Where to save the subset: .npz, .safetensors, .parquet, .csv, .tsv; a manifest "
        "(.json) is put beside it. - writes a table to standard output."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Read the data, say what it would cost, and stop.")
]
Key = Annotated[
    str | None,
    typer.Option(help="Which array of an .npz or .safetensors file; needed if there are several."),
]
Label = Annotated[str, typer.Option(help="Column of a table that holds the labels.")]
Identity = Annotated[
    str, typer.Option("--id", help="Column of a table that holds the examples' names.")
]
Test = Annotated[
    Path | None, typer.Option(help="Held-out examples, to compare accuracy and loss on.")
]
From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="Repeat the run of a manifest: its settings, and its data unless others are named.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def refuse_beside_from(flags: Mapping[str, Any]) -> None:
    """Refuse flags that say what a manifest says already.

    Parameters
    ----------
    flags : mapping
        None for those that were not given.

    Raises
    ------
    OptionError
    """
    clashing = [name for name, value in flags.items() if value is not None]
    if clashing:
        raise OptionError(
            f"--from brings its own settings; leave out --{clashing[0].replace('_', '-')}."
        )


def solver_options(given: list[str] | None) -> dict[str, Any]:
    """Turn ``name=value`` texts into options; values are JSON where they can be.

    Raises
    ------
    OptionError
        If a text has no name or no ``=``.
    """
    options: dict[str, Any] = {}
    for text in given or []:
        name, separator, value = text.partition("=")
        if not (name and separator):
            raise OptionError(f"--option must look like name=value, got {text!r}.")
        try:
            options[name.replace("-", "_")] = json.loads(value)
        except ValueError:
            options[name.replace("-", "_")] = value
    return options


def given_goal(**goals: Any) -> dict[str, Any]:
    """Keep the goals that were given.

    Raises
    ------
    OptionError
        Unless exactly one was.
    """
    given = {name: value for name, value in goals.items() if value is not None}
    if len(given) != 1:
        flags = [f"--{name.replace('_', '-')}" for name in goals]
        got = " and ".join(f"--{name.replace('_', '-')}" for name in given) or "none"
        raise OptionError(f"give exactly one of {', '.join(flags)}; got {got}.")
    return given
