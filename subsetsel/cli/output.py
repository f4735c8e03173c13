"""What every command does with a solution: show it, save it, choose the exit code."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from subsetsel.cli.console import ExitCode, print_json, print_note, print_text
from subsetsel.cli.stdin import STANDARD
from subsetsel.errors import OptionError
from subsetsel.formats import SUBSET_SUFFIXES, write_solution
from subsetsel.formats.data import Array
from subsetsel.formats.subset import require_writer, solution_table
from subsetsel.problem.solution import Solution
from subsetsel.report.manifest import Manifest, solution_record
from subsetsel.support.files import written_whole


def manifest_path(out: Path) -> Path:
    """Where the manifest of a saved subset lies.

    Returns
    -------
    Path
    """
    return out.with_suffix(".manifest.json")


def checkpoint_path(out: Path | None) -> Path | None:
    """Where a pruning that may be killed keeps what it has chosen.

    Returns
    -------
    Path or None
        None where there is no file for the result either.
    """
    return None if out is None or out == STANDARD else out.with_suffix(".checkpoint.npz")


def check_out(out: Path | None, *, as_json: bool = False) -> None:
    """Refuse a bad place for the result before any work is done.

    Parameters
    ----------
    out : Path, optional
    as_json : bool
        Whether a JSON object goes to stdout, where ``-`` has no place then.

    Raises
    ------
    OptionError
        If its name ends in no known format, or it is a folder.
    MissingExtraError
        If the package that writes the format is not installed.
    """
    if out is None:
        return
    if out == STANDARD:
        if as_json:
            raise OptionError("--out - and --json both write to standard output; choose one.")
        return
    if out.suffix.lower() not in SUBSET_SUFFIXES or out.is_dir():
        raise OptionError(
            f"--out must name an {SUBSET_SUFFIXES[0]} file, or one that ends in "
            f"{', '.join(SUBSET_SUFFIXES[1:])}, or be -; got {out}."
        )
    require_writer(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out.parent):
        pass


def check_certificate(path: Path | None) -> None:
    """Refuse a bad name for the certificate before any work is done.

    Raises
    ------
    OptionError
        If it does not end in .json.
    """
    if path is None:
        return
    if path.suffix.lower() != ".json" or path.is_dir():
        raise OptionError(f"--certificate must name a .json file, got {path}.")
    path.parent.mkdir(parents=True, exist_ok=True)


def save(solution: Solution, manifest: Manifest, out: Path, ids: Array | None = None) -> list[Path]:
    """Write the subset and its manifest, both whole or neither; for ``-`` a table to stdout.

    Returns
    -------
    list of Path
    """
    if out == STANDARD:
        sys.stdout.write(solution_table(solution, ids))
        return []
    beside = manifest_path(out)
    with written_whole(out) as subset, written_whole(beside) as record:
        write_solution(solution, subset, ids)
        manifest.write(record)
    return [out, beside]


def show(
    solution: Solution,
    *,
    as_json: bool,
    verification: Any = None,
    files: list[Path] | None = None,
    extra: Mapping[str, Any] | None = None,
    out: Path | None = None,
) -> None:
    """Print a solution for people or for machines.

    Parameters
    ----------
    solution : Solution
    as_json : bool
    verification : Verification, optional
    files : list of Path, optional
        What was written.
    extra : mapping, optional
        More fields of the JSON object.
    out : Path, optional
        ``-`` where the subset itself goes to stdout: then this goes to stderr.
    """
    if as_json:
        record: dict[str, Any] = {"solution": solution_record(solution)}
        if verification is not None:
            record["verification"] = verification
        print_json({**record, **(extra or {}), "files": [str(name) for name in files or []]})
        return
    say: Callable[[str], None] = print_note if out == STANDARD else print_text
    say(str(solution))
    if verification is not None:
        say(str(verification))
    for name in files or []:
        say(f"wrote {name}")


def exit_code(solution: Solution, *, is_verified: bool = True) -> ExitCode:
    """Choose the exit code.

    Returns
    -------
    ExitCode
    """
    if solution.limit == "interrupted":
        what = "this is the best subset" if solution.is_feasible else "nothing that holds was"
        print_note(f"interrupted: {what} found by then")
        return ExitCode.INTERRUPTED
    if not solution.is_feasible or not is_verified:
        return ExitCode.UNSATISFIED
    return ExitCode.DONE


def repeated_code(code: ExitCode, earlier: Manifest, manifest: Manifest) -> ExitCode:
    """Say whether a repeated run chose the same subset, and what differs if not.

    Parameters
    ----------
    code : ExitCode
        Of the run by itself.
    earlier, manifest : Manifest
        Of the run that was repeated, and of this one.

    Returns
    -------
    ExitCode
    """
    if earlier.pruned == manifest.pruned:
        print_note("the same subset as in the manifest")
        return code
    print_note("NOT the same subset as in the manifest. What differs:")
    for line in earlier.differences(manifest) or ["nothing that the manifest knows of"]:
        print_note(f"  {line}")
    return ExitCode.UNSATISFIED
