"""What every command does with a solution: show it, save it, choose the exit code."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from subsetsel.cli.console import ExitCode, print_json, print_note, print_text
from subsetsel.errors import OptionError
from subsetsel.report.manifest import Manifest, solution_record
from subsetsel.solution import Solution


def manifest_path(out: Path) -> Path:
    """Where the manifest of a saved subset lies.

    Returns
    -------
    Path
    """
    return out.with_suffix(".manifest.json")


def check_out(out: Path | None) -> None:
    """Refuse a bad place for the result before any work is done.

    Raises
    ------
    OptionError
        If its name does not end in .npz, or it is a folder.
    """
    if out is None:
        return
    if out.suffix.lower() != ".npz" or out.is_dir():
        raise OptionError(f"--out must name an .npz file, got {out}.")
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


def save(solution: Solution, manifest: Manifest, out: Path) -> list[Path]:
    """Write the subset and its manifest, each whole or not at all.

    Returns
    -------
    list of Path
    """
    solution.save(out)
    manifest.write(manifest_path(out))
    return [out, manifest_path(out)]


def show(
    solution: Solution,
    *,
    as_json: bool,
    verification: Any = None,
    files: list[Path] | None = None,
    extra: Mapping[str, Any] | None = None,
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
    """
    if as_json:
        record: dict[str, Any] = {"solution": solution_record(solution)}
        if verification is not None:
            record["verification"] = verification
        print_json({**record, **(extra or {}), "files": [str(name) for name in files or []]})
        return
    print_text(str(solution))
    if verification is not None:
        print_text(str(verification))
    for name in files or []:
        print_text(f"wrote {name}")


def exit_code(solution: Solution, *, is_verified: bool = True) -> ExitCode:
    """Choose the exit code.

    Returns
    -------
    ExitCode
    """
    if solution.limit == "interrupted":
        print_note("interrupted: this is the best subset found by then")
        return ExitCode.INTERRUPTED
    if not solution.is_feasible or not is_verified:
        return ExitCode.UNSATISFIED
    return ExitCode.DONE
