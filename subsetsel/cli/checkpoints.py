"""What a search has found so far, beside the file of its result, for the same command to go on."""

from __future__ import annotations

from pathlib import Path

from subsetsel.cli.console import print_note
from subsetsel.cli.stdin import STANDARD
from subsetsel.problem.solution import Solution


def checkpoint_of(out: Path | None, *, is_folder: bool) -> Path | None:
    """Name it: a file of a search by refits, a folder of one over shards; None without --out."""
    if out is None or out == STANDARD:
        return None
    return out.with_suffix(".checkpoint" if is_folder else ".checkpoint.npz")


def note_known(checkpoint: Path | None) -> None:
    """Say that a run goes on from what an earlier one left."""
    if checkpoint is not None and checkpoint.exists():
        print_note(f"found {checkpoint}: what it holds is not searched for again")


def close_checkpoint(checkpoint: Path | None, solution: Solution) -> None:
    """Remove it, unless the search was interrupted and may go on."""
    if checkpoint is None or not checkpoint.exists():
        return
    if solution.limit == "interrupted":
        print_note(f"the same command goes on from {checkpoint}; delete it to start anew")
        return
    if not checkpoint.is_dir():
        checkpoint.unlink()
        return
    for part in checkpoint.iterdir():
        if part.suffix == ".npz" or part.name in {".lock", ".owner"}:
            part.unlink()
    # What is not ours stays, and the folder with it.
    if not any(checkpoint.iterdir()):
        checkpoint.rmdir()
