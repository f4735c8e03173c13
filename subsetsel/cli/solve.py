"""The command `solve`: an influence matrix S in, a subset out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import typer

from subsetsel.cli import options as given
from subsetsel.cli.checkpoints import checkpoint_of, close_checkpoint, note_known
from subsetsel.cli.console import print_result, solve_progress
from subsetsel.cli.interrupt import quits_at_once
from subsetsel.cli.output import LATER, check_out, exit_code, repeated_code, save, show
from subsetsel.cli.read_shards import rows_in_shards
from subsetsel.cli.reading import ShardFlags, takes_flags
from subsetsel.cli.settings import inputs_of, reading_of_matrix, refuse_beside_from, unusual
from subsetsel.cli.shards import (
    again_in_shards,
    engine_of,
    refuse_beside_shards,
    shards_in,
    shards_of,
    show_plan_of_matrix,
    the_only,
)
from subsetsel.cli.stdin import files_of
from subsetsel.errors import FileFormatError, OptionError
from subsetsel.formats import read_matrix
from subsetsel.problem.solution import Solution
from subsetsel.report.manifest import Manifest

# Peak over the size of S, measured with bench/resources.py memory: 1.27 for Eq. 3, 1.19 for Eq. 4.
MEMORY_FACTOR = 1.3

# Arguments of `subsetsel.solve` that are no settings of the command.
_NOT_OF_A_FILE = {
    *("problem", "progress", "callback", "initial_guess", "constraints", "head", "offset"),
}
_QUESTION = {"epsilon", "size", "fraction", "num_kept", "normalization", "max_size"}


@takes_flags
def solve(
    matrix: given.MatrixOfRun = None,
    key: given.Key = None,
    drop: given.Drop = None,
    delimiter: given.Delimiter = None,
    decimal: given.Decimal = ".",
    encoding: given.Encoding = "utf-8",
    epsilon: given.Epsilon = None,
    size: given.Size = None,
    fraction: given.Fraction = None,
    num_kept: given.NumKept = None,
    normalization: given.Normalized = "full",
    max_size: given.MaxSize = None,
    offset: given.Offset = None,
    solver: given.Solver = "anneal",
    time_limit: given.TimeLimit = None,
    seed: given.Seed = 0,
    num_workers: given.NumWorkers = 1,
    tight_bound: given.TightBound = False,
    option: given.SolverOptions = None,
    file_format: given.Format = None,
    *,
    where: ShardFlags,
    source: given.From = None,
    dry_run: given.DryRun = False,
    out: given.Out = None,
    as_json: given.Json = False,
) -> None:
    """Solve the problem for an influence matrix S.

    \b
    Examples:
      subsetsel solve S.npy --epsilon 0.1
      subsetsel solve S.npy --size 20000 --time-limit 60 --out pruned.npz
      subsetsel solve S.npy --epsilon 0.1 --solver cpsat --json
      subsetsel solve S.npy --size 20000 --dry-run
      subsetsel solve S.npy --size 20000 --offset v0.npy
      subsetsel solve --from pruned.manifest.json
      subsetsel solve factors.safetensors --key S --size 500 --out pruned.safetensors
      subsetsel solve 'S/*.npy' --size 20000 --engine tcp://host:8786
      python make_rows.py | subsetsel solve - --format npy --epsilon 0.1 --out - > pruned.csv
    """
    reading = unusual(drop=drop, delimiter=delimiter, decimal=decimal, encoding=encoding)
    goals = {"epsilon": epsilon, "size": size, "fraction": fraction, "num_kept": num_kept}
    earlier = None if source is None else Manifest.read(source)
    shards = shards_of(matrix, where, dry_run=dry_run)
    if earlier is None:
        search = given.search_settings(solver, time_limit, seed, num_workers, option)
        others = {"normalization": normalization, **given.given({"max_size": max_size})}
        others |= {"bound": "tight"} if tight_bound else {}
        others |= {k: v for k, v in {"reading": reading, "shards": shards}.items() if v}
        settings = {**given.one_goal(goals), **others, **search}
    else:
        refuse_beside_from({**goals, "max_size": max_size, **reading})
        settings = _settings_of(earlier)
        settings["shards"] = again_in_shards(settings.get("shards", {}), shards)
    inputs = inputs_of({"S": the_only(matrix), "offset": offset}, earlier)
    if "S" not in inputs:
        raise OptionError("name the file of S, or - for standard input.")
    check_out(out, as_json=as_json, inputs=inputs.values())
    files_read = files_of(inputs, file_format)
    if dry_run and settings.get("shards"):
        raise typer.Exit(show_plan_of_matrix(settings, where, as_json=as_json))
    S, v0 = _read(files_read, key, settings, engine_of(where))
    if dry_run:
        _show_cost(S, v0, settings, as_json=as_json)
        return
    checkpoint = checkpoint_of(out if shards_in(S) else None, is_folder=True)
    solution = _solve(S, v0, settings, checkpoint)
    manifest = _manifest(solution, settings, inputs, files_read, S) if out or earlier else None
    files = save(solution, manifest, out) if manifest and out else []
    show(solution, as_json=as_json, files=files, out=out)
    close_checkpoint(checkpoint, solution)
    raise typer.Exit(repeated_code(exit_code(solution), earlier, manifest))


def _manifest(
    solution: Solution,
    settings: dict[str, Any],
    inputs: dict[str, Path],
    files: dict[str, Path],
    S: Any,
) -> Manifest:
    """Record a solution; S is read once more, for its SHA-256."""
    read: dict[str, Any] = {**files}
    if shards_in(S) is not None:
        read["S"] = shards_in(S)
    return Manifest.of(solution, command="solve", settings=settings, inputs=read, paths=inputs)


def _read(
    files: Mapping[str, Path], key: str | None, settings: dict[str, Any], engine: str | None
) -> tuple[Any, Any]:
    """Read S, and the offset where there is one; a column or a row of a table is a vector too."""
    S: Any
    if settings.get("shards"):
        refuse_beside_shards({"key": key, **settings.get("reading", {})})
        S = rows_in_shards(settings["shards"], engine)
    else:
        how = reading_of_matrix(settings.get("reading", {}))
        S = read_matrix(files["S"], key, text=how.text, drop=how.drop)
    return S, np.squeeze(read_matrix(files["offset"])) if "offset" in files else None


def _settings_of(earlier: Manifest) -> dict[str, Any]:
    """Take the settings of an earlier run; what they hold is checked where it is used."""
    if earlier.command != "solve":
        raise FileFormatError(
            f"this is the manifest of `subsetsel {earlier.command}`, not of `subsetsel solve`."
        )
    unknown = earlier.settings.keys() & _NOT_OF_A_FILE
    if unknown:
        raise FileFormatError(f"no manifest of `subsetsel solve` sets {min(unknown)}.")
    return dict(earlier.settings)


def _solve(S: Any, v0: Any, settings: dict[str, Any], checkpoint: Path | None) -> Solution:
    with quits_at_once():
        from subsetsel.engine.solve import solve

    what = f"{settings.get('solver', 'anneal')} on {S.shape[0]:,} examples"
    note_known(checkpoint)
    with solve_progress(what, settings.get("time_limit"), shards_in(S)) as progress:
        search = {name: settings[name] for name in settings.keys() - {"reading", "shards"}}
        return solve(S, offset=v0, checkpoint=checkpoint, progress=progress, trace=True, **search)


def _show_cost(S: Any, v0: Any, settings: dict[str, Any], *, as_json: bool) -> None:
    """Say what S takes, from one pass over it."""
    from subsetsel.problem.problem import Problem

    question = {name: settings[name] for name in _QUESTION & settings.keys()}
    problem = Problem(S, offset=v0, **question)
    rows = problem.rows
    total = rows.total  # the first use of the sum times the pass
    total = total if problem.offset is None else total + problem.offset
    norm_of_all = float(np.linalg.norm(total))
    cost = {
        "n": problem.n,
        "d": problem.d,
        "S_bytes": rows.nbytes,
        "num_bytes": round(MEMORY_FACTOR * rows.nbytes),
        "pass_seconds": rows.pass_time,
        "norm_of_all": norm_of_all,
    }
    text = (
        f"S: {problem.n:,} x {problem.d:,}, {rows.nbytes / 1e6:,.3g} MB, checked\n"
        f"about {MEMORY_FACTOR:g} times as much memory at the peak\n"
        f"{rows.pass_time:.2g} s for one pass; a relaxation takes about 30 of them\n"
        f"||{'' if v0 is None else 'v0 + '}S^T 1|| = {norm_of_all:.6g}: with an epsilon above it "
        f"all examples can go\n{LATER}"
    )
    print_result(cost, text, as_json=as_json)
