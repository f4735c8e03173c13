"""What is written beside the subset: what is kept, in the format it came in; the certificate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from subsetsel.cli.console import print_note
from subsetsel.formats import Data
from subsetsel.formats.kept import write_kept
from subsetsel.problem.solution import Solution

if TYPE_CHECKING:
    from subsetsel.problem.problem import Problem

KeptRows = Annotated[
    Path | None,
    typer.Option(
        "--kept",
        help="Where to write what is kept: .txt for the list of ids (indices where there are "
        "none), or the format of the data, with all its columns.",
    ),
]


def write_rows(
    path: Path, source: Path, solution: Solution, data: Data, delimiter: str | None
) -> list[Path]:
    """Write what is kept, if anything was found."""
    if not solution.is_feasible:
        print_note(f"no subset satisfies what was asked, so {path} was not written")
        return []
    write_kept(path, source, solution.mask, data.ids, delimiter)
    return [path]


def certify(path: Path, problem: Problem | None, solution: Solution, data: Data) -> list[Path]:
    """Write the certificate, if there is anything to certify."""
    from subsetsel.guarantee.certificate import write_certificate

    if problem is None or not solution.is_feasible:
        print_note(f"nothing could be verified, so {path} was not written")
        return []
    write_certificate(path, problem, solution, data.X, data.y)
    return [path, path.with_suffix(".npz")]
