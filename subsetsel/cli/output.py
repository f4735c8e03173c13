"""What every command does with a solution: save it, show it, choose the exit code."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from subsetsel.cli.checkpoints import checkpoint_of
from subsetsel.cli.console import ExitCode, print_json, print_note, print_text
from subsetsel.cli.stdin import STANDARD
from subsetsel.errors import OptionError
from subsetsel.formats import SUBSET_SUFFIXES, write_solution
from subsetsel.formats.data import Array
from subsetsel.formats.subset import require_writer, solution_table
from subsetsel.problem.solution import Solution
from subsetsel.report.manifest import Manifest, solution_record
from subsetsel.support.files import written_whole

LATER = "the search comes on top: its own budget of work, or --time-limit"


def manifest_path(out: Path) -> Path:
    """Where the manifest of a saved subset lies."""
    return out.with_suffix(".manifest.json")


def check_out(out: Path | None, *, as_json: bool = False, inputs: Iterable[Path] = ()) -> None:
    """Refuse a place for the subset that cannot be written to, before any work is done."""
    if out is None or is_standard(out, as_json):
        return
    if out.suffix.lower() not in SUBSET_SUFFIXES or out.is_dir():
        raise OptionError(
            f"--out must name an {SUBSET_SUFFIXES[0]} file, or one that ends in "
            f"{', '.join(SUBSET_SUFFIXES[1:])}, or be -; got {out}."
        )
    require_writer(out)
    check_places({"--out": out, "the manifest of --out": manifest_path(out)}, inputs)


def check_places(places: Mapping[str, Path], inputs: Iterable[Path] = ()) -> None:
    """Refuse files, by what names them, that cannot be written or would replace each other.

    ``inputs`` are files that are read, which must not be replaced either.
    """
    read = {path.resolve() for path in inputs if path != STANDARD}
    taken: dict[Path, str] = {}
    for flag, path in places.items():
        place = path.resolve()
        if place in read:
            raise OptionError(
                f"{flag} would be written over {path}, which is read; give it another name."
            )
        if place in taken:
            raise OptionError(
                f"{flag} and {taken[place]} are one file, {path}; give them different names."
            )
        taken[place] = flag
        _check_place(flag, path)


def _check_place(flag: str, out: Path) -> None:
    """Try whether a file can be made there; the folder is made if need be."""
    if out.is_dir():
        raise OptionError(f"{flag} would be {out}, which is a folder; give another name.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out.parent):
        pass


@dataclass(frozen=True)
class Places:
    """Where `prune` writes: the subset, the certificate, the list of what is kept."""

    out: Path | None
    certificate: Path | None
    kept: Path | None
    as_json: bool

    @property
    def checkpoint(self) -> Path | None:
        """Where the choices of a search lie while it lasts: beside the file of its result."""
        return checkpoint_of(self.out, is_folder=False)

    def check(self, inputs: Iterable[Path]) -> None:
        """Refuse, before any work, what could not be written or would replace another file."""
        check_out(self.out, as_json=self.as_json)
        places = {"--out": self.out, "--certificate": self.certificate, "--kept": self.kept}
        if self.checkpoint is not None and self.out is not None:
            places["the manifest of --out"] = manifest_path(self.out)
            places["the checkpoint of --out"] = self.checkpoint
        else:
            del places["--out"]
        if self.certificate is not None:
            if self.certificate.suffix.lower() != ".json":
                raise OptionError(f"--certificate must name a .json file, got {self.certificate}.")
            places["the arrays of --certificate"] = self.certificate.with_suffix(".npz")
        check_places({flag: path for flag, path in places.items() if path is not None}, inputs)


def is_standard(out: Path, as_json: bool) -> bool:
    """Whether the result goes to standard output, where a JSON object has no place then."""
    if out == STANDARD and as_json:
        raise OptionError("--out - and --json both write to standard output; choose one.")
    return out == STANDARD


def save(solution: Solution, manifest: Manifest, out: Path, ids: Array | None = None) -> list[Path]:
    """Write the subset and its manifest, both whole or neither; for ``-`` a table to stdout."""
    if out == STANDARD:
        sys.stdout.write(solution_table(solution, ids))
        return []
    beside = manifest_path(out)
    with written_whole(out) as subset, written_whole(beside) as record:
        # The manifest has the trace.
        write_solution(replace(solution, trace=()), subset, ids)
        manifest.write(record)
    return [out, beside]


def show(
    solution: Solution,
    *,
    as_json: bool,
    verification: Any = None,
    files: list[Path] | None = None,
    out: Path | None = None,
    look: Any = None,
) -> None:
    """Print a solution, its check and what was written, for people or for machines.

    Where the subset itself goes to stdout, the text goes to stderr. Machines get the indices too.
    """
    checks = [] if verification is None else [verification]
    names = [str(name) for name in files or []]
    if as_json:
        record: dict[str, Any] = {"solution": solution_record(solution)}
        record |= {"verification": verification} if checks else {}
        record |= {} if look is None else {"look": look}
        print_json({
            **record,
            "files": names,
            "pruned": solution.pruned,
            "kept": solution.kept,
        })
        return
    say = print_note if out == STANDARD else print_text
    for text in (solution, *checks, *(f"wrote {name}" for name in names)):
        say(str(text))


def exit_code(solution: Solution) -> ExitCode:
    """Choose the exit code for a solution; after Ctrl-C, say what it is."""
    if solution.limit == "interrupted":
        what = "this is the best subset" if solution.is_feasible else "no feasible subset was"
        print_note(f"interrupted: {what} found by then")
        return ExitCode.INTERRUPTED
    return ExitCode.DONE if solution.is_feasible else ExitCode.UNSATISFIED


def repeated_code(code: ExitCode, earlier: Manifest | None, manifest: Manifest | None) -> ExitCode:
    """Say whether a repeated run chose the same subset, and what differs if not.

    The code of the run itself is returned unless another subset was chosen; ``earlier`` is None
    where no run was repeated.
    """
    if earlier is None or manifest is None:
        return code
    if earlier.has_subset_of(manifest):
        print_note("the same subset as in the manifest")
        return code
    print_note("NOT the same subset as in the manifest. What differs:")
    for line in earlier.differences(manifest) or ["nothing that the manifest knows of"]:
        print_note(f"  {line}")
    return ExitCode.UNSATISFIED
