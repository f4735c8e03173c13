"""Data in shards, as the command line names them: which files, who computes, what it will take."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from subsetsel.cli.console import ExitCode, print_result
from subsetsel.cli.options import flag, given
from subsetsel.cli.read_shards import measure_examples, measure_matrix
from subsetsel.cli.reading import ShardFlags
from subsetsel.cli.stdin import STANDARD
from subsetsel.errors import OptionError
from subsetsel.shards.workers import SHARE_KEPT
from subsetsel.support.memory import planned_memory

if TYPE_CHECKING:
    from subsetsel.cli.settings import Plan
    from subsetsel.engine.plan import Machines
    from subsetsel.engine.plan_steps import Asked
    from subsetsel.formats import Data
    from subsetsel.shards.table import Shards

HERE = "here"
_ZARR, _ARRAYS = ".zarr", {".npy", ".npz"}


def shards_of(paths: Sequence[Path] | None, where: ShardFlags, *, dry_run: bool) -> dict[str, Any]:
    """Say which shards the command line asks for; an empty dict where data go into memory.

    They lie in shards where an engine or the size of a shard is named, where there are several
    files, and where they are zarr or a glob of .npy or .npz. A quoted glob of parquet files alone
    is read into memory, as it always was.

    Raises
    ------
    OptionError
        If a flag of shards says nothing here, before any file is read.
    """
    named = list(paths or [])
    if not _are_shards(named, where):
        if where.assume:
            raise OptionError("--assume goes with data in shards and --dry-run; leave it out.")
        return {}
    if where.assume and not dry_run:
        raise OptionError("--assume goes with --dry-run, which counts with it; leave it out.")
    if where.rows_per_shard is not None and where.rows_per_shard < 1:
        raise OptionError(
            f"--rows-per-shard must be at least 1, got {where.rows_per_shard}; leave it out for "
            "shards of about 64 MB."
        )
    if STANDARD in named:
        raise OptionError(
            "standard input (-) is read once, and shards are read again; write it to a file, or "
            "leave out --engine and --rows-per-shard."
        )
    return {"paths": list(map(str, named)), "rows_per_shard": where.rows_per_shard}


def _are_shards(paths: Sequence[Path], where: ShardFlags) -> bool:
    if where.engine is not None or where.rows_per_shard is not None or len(paths) > 1:
        return True
    one = paths[0] if paths else STANDARD
    is_glob = glob.has_magic(str(one)) and not one.exists()
    return one.suffix.lower() == _ZARR or (is_glob and one.suffix.lower() in _ARRAYS)


def again_in_shards(earlier: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Take the shards of an earlier run, on other files where some are named."""
    if not asked:
        return dict(earlier)
    if not earlier:
        raise OptionError(
            "--from repeats a run whose data were in memory; leave out --engine and "
            "--rows-per-shard, and name one file."
        )
    if asked["rows_per_shard"] is not None:
        raise OptionError("--from brings its own settings; leave out --rows-per-shard.")
    return {**earlier, "paths": asked["paths"] or earlier["paths"]}


def the_only(paths: Sequence[Path] | None) -> Path | None:
    """Give the first file, the only one where data are in memory; None where none is named."""
    return paths[0] if paths else None


def shards_in(S: Any) -> Shards | None:
    """Give the shards of rows that lie in any; None for an array."""
    found: Shards | None = getattr(S, "shards", None)
    return found


def sources_of(files: Mapping[str, Path], data: Data) -> dict[str, Any]:
    """Name what a manifest hashes: files, and data in shards as these."""
    table = getattr(data.X, "table", None)
    return {**files} if table is None else {**files, "data": table}


def refuse_beside_shards(flags: Mapping[str, Any]) -> None:
    """Refuse what speaks of data that are in memory; None and False say nothing."""
    for name, value in given(flags).items():
        if value is not False:
            raise OptionError(
                f"{flag(name)} does not go with data in shards; leave it out, or name one file "
                "that fits into memory, without --engine and --rows-per-shard."
            )


def engine_of(where: ShardFlags) -> str | None:
    """Give what the package calls an engine; None computes in this process."""
    return None if where.engine == HERE else where.engine


def machines_of(where: ShardFlags) -> Machines:
    """Read what --assume says of the machines; one core where this process computes."""
    from subsetsel.engine.plan import Machines

    known = {"cores": 1} if engine_of(where) is None else {}
    names = {one.name for one in fields(Machines)}
    mine = [text for text in where.assume or [] if text.partition("=")[0] != "classes"]
    is_known = [text.partition("=")[0] in names for text in mine]
    if not all(is_known):
        wrong = mine[is_known.index(False)]
        raise OptionError(
            f"--assume {wrong}: write NAME=VALUE, such as network=1.25e9, with one of classes, "
            f"{', '.join(one.name for one in fields(Machines))}."
        )
    return Machines.of_texts(mine, **known)


def show_plan(
    plan: Plan, files: Mapping[str, Path], where: ShardFlags, *, as_json: bool
) -> ExitCode:
    """Print what a pruning in shards will take, from the headers of the files and the labels."""
    asked = measure_examples(plan.shards, plan.how(files), _classes_of(where))
    return _print_plan(_with_goal(asked, plan.goal), where, as_json=as_json)


def show_plan_of_matrix(
    settings: Mapping[str, Any], where: ShardFlags, *, as_json: bool
) -> ExitCode:
    """Print what a search on S in shards will take, from the headers of its files."""
    asked = _with_goal(measure_matrix(settings["shards"]), settings)
    return _print_plan(asked, where, as_json=as_json)


def _classes_of(where: ShardFlags) -> int | None:
    """Read classes=... of --assume; None where the labels are to say it."""
    found = None
    for text in where.assume or []:
        name, _, value = text.partition("=")
        if name != "classes":
            continue
        if not value.isdecimal():
            raise OptionError(f"--assume {text}: write a whole number, such as classes=10.")
        found = int(value)
    return found


def _with_goal(asked: Asked, goal: Mapping[str, Any]) -> Asked:
    """Say which equation is asked, and what share is expected to go where nobody knows."""
    if "size" in goal:
        share = goal["size"] / asked.n
    elif "num_kept" in goal:
        share = 1 - goal["num_kept"] / asked.n
    elif "fraction" in goal:
        share = goal["fraction"]
    else:
        return replace(asked, goal="epsilon")
    if not 0 <= share <= 1:
        raise OptionError(f"{asked.n:,} examples are there, and {goal} asks for more.")
    return replace(asked, goal="size", share=share)


def _print_plan(asked: Asked, where: ShardFlags, *, as_json: bool) -> ExitCode:
    """Print the plan of a run; one that would be refused is bad input."""
    from subsetsel.engine.plan_shards import plan_shards

    machines = machines_of(where)
    # Without an engine this process keeps what fits into its share of the planned memory.
    is_held = engine_of(where) is not None or asked.held_bytes <= SHARE_KEPT * planned_memory()
    plan = plan_shards(replace(asked, is_held=is_held), machines)
    print_result(plan.record(), str(plan), as_json=as_json)
    return ExitCode.BAD_INPUT if plan.refusals else ExitCode.DONE
