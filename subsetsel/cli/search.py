"""Commands on a bare influence matrix: solve, compare-solvers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from subsetsel.cli import options as given
from subsetsel.cli.console import print_json, print_text, solve_progress, working
from subsetsel.cli.output import check_out, exit_code, repeated_code, save, show
from subsetsel.cli.stdin import file_of
from subsetsel.errors import FileFormatError, OptionError
from subsetsel.formats import read_matrix
from subsetsel.report.history import Trail
from subsetsel.report.manifest import Manifest, solution_record

if TYPE_CHECKING:
    from subsetsel.problem.problem import Problem

# Peak over the size of S, measured with bench/resources.py memory: 1.27 for Eq. 3, 1.19 for Eq. 4.
MEMORY_FACTOR = 1.3

_MATRIX = typer.Argument(
    help="S, one row per example: .npy, .npz, .safetensors, .parquet, .csv, .tsv; - for stdin."
)
Matrix = Annotated[Path, _MATRIX]
Normalized = Annotated[
    str, typer.Option(help="full (Eq. 3 of the paper) or kept (epsilon times the kept share).")
]
# Arguments of `subsetsel.solve` that are no settings of the command.
_NOT_OF_A_FILE = {"problem", "progress", "callback", "initial_guess", "constraints", "head"}
_QUESTION = {"epsilon", "size", "fraction", "num_kept", "normalization", "max_size"}
MaxSize = Annotated[int | None, typer.Option(help="Prune at most this many.")]


def solve(
    matrix: Annotated[Path | None, _MATRIX] = None,
    key: given.Key = None,
    epsilon: given.Epsilon = None,
    size: given.Size = None,
    fraction: given.Fraction = None,
    num_kept: given.NumKept = None,
    normalization: Normalized = "full",
    max_size: MaxSize = None,
    solver: given.Solver = "anneal",
    time_limit: given.TimeLimit = None,
    seed: given.Seed = 0,
    num_workers: given.NumWorkers = 1,
    option: given.SolverOptions = None,
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
      subsetsel solve --from pruned.manifest.json
      subsetsel solve factors.safetensors --key S --size 500 --out pruned.safetensors
      python make_rows.py | subsetsel solve - --epsilon 0.1 --out - > pruned.csv
    """
    import subsetsel

    goal = {"epsilon": epsilon, "size": size, "fraction": fraction, "num_kept": num_kept}
    earlier = None if source is None else Manifest.read(source)
    if earlier is None:
        settings = {
            **given.given_goal(**goal),
            "normalization": normalization,
            **({} if max_size is None else {"max_size": max_size}),
            "solver": solver,
            "time_limit": time_limit,
            "seed": seed,
            "num_workers": num_workers,
            **given.solver_options(option),
        }
    else:
        given.refuse_beside_from({**goal, "max_size": max_size})
        settings = _settings_of(earlier)
        matrix = matrix or _matrix_of(earlier)
    if matrix is None:
        raise OptionError("name the file of S, or - for standard input.")
    check_out(out, as_json=as_json)
    file = file_of(matrix)
    S = read_matrix(file, key)
    if dry_run:
        question = {name: settings[name] for name in _QUESTION & settings.keys()}
        _show_cost(subsetsel.Problem(S, **question), as_json)
        return
    what = f"{settings.get('solver', solver)} on {S.shape[0]:,} examples"
    with solve_progress(what, settings.get("time_limit")) as progress:
        trail = Trail(progress)
        solution = subsetsel.solve(S, progress=trail, **settings)
    manifest = None
    if out is not None or earlier is not None:
        # It reads S once more, for its SHA-256.
        manifest = Manifest.of(
            solution,
            command="solve",
            settings=settings,
            inputs={"S": file},
            paths={"S": matrix},
            trace=trail.records,
        )
    files = [] if out is None or manifest is None else save(solution, manifest, out)
    show(solution, as_json=as_json, files=files, out=out)
    code = exit_code(solution)
    if earlier is not None and manifest is not None:
        code = repeated_code(code, earlier, manifest)
    raise typer.Exit(code)


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


def _matrix_of(earlier: Manifest) -> Path | None:
    return next((Path(i["path"]) for i in earlier.inputs if "path" in i), None)


def _show_cost(problem: Problem, as_json: bool) -> None:
    """Say what S takes, from one pass over it."""
    rows = problem.rows
    total = rows.total  # its first use is the pass that is timed
    cost = {
        "n": problem.n,
        "d": problem.d,
        "S_bytes": rows.nbytes,
        "num_bytes": round(MEMORY_FACTOR * rows.nbytes),
        "pass_seconds": rows.pass_time,
        "norm_of_all": float(np.linalg.norm(total)),
    }
    if as_json:
        print_json(cost)
        return
    print_text(f"S: {problem.n:,} x {problem.d:,}, {rows.nbytes / 1e6:,.3g} MB, checked")
    print_text(f"about {MEMORY_FACTOR:g} times as much memory at the peak")
    print_text(f"{rows.pass_time:.2g} s for one pass; a relaxation takes about 30 of them")
    print_text(f"||S^T 1|| = {cost['norm_of_all']:.6g}: an epsilon above it lets everything go")
    print_text("the search comes on top: its own budget of work, or --time-limit")


def compare_solvers(
    matrix: Matrix,
    key: given.Key = None,
    epsilon: given.Epsilon = None,
    size: given.Size = None,
    fraction: given.Fraction = None,
    num_kept: given.NumKept = None,
    solvers: Annotated[
        str | None, typer.Option(help="Names with commas between; all that are installed if left.")
    ] = None,
    time_limit: Annotated[float, typer.Option(help="Seconds for each solver.")] = 10.0,
    seed: given.Seed = 0,
    as_json: given.Json = False,
) -> None:
    """Solve one problem with several solvers.

    \b
    Examples:
      subsetsel compare-solvers S.npy --epsilon 0.1
      subsetsel compare-solvers S.npy --size 500 --solvers anneal,greedy --time-limit 5
    """
    import subsetsel

    goal = given.given_goal(epsilon=epsilon, size=size, fraction=fraction, num_kept=num_kept)
    names = subsetsel.available_solvers() if solvers is None else solvers.split(",")
    problem = subsetsel.Problem(read_matrix(file_of(matrix), key), **goal)
    rows: list[dict[str, Any]] = []
    for name in names:
        try:
            with working(f"{name}, {time_limit:g} s at most"):
                solution = subsetsel.solve(problem, solver=name, time_limit=time_limit, seed=seed)
            rows.append(solution_record(solution))
        except OptionError as error:
            # A solver that says this problem is too large for it is a row of the table.
            rows.append({"solver": name, "status": "refused", "message": str(error)})
    if as_json:
        print_json({"time_limit": time_limit, "seed": seed, "results": rows})
        return
    print_text(f"{'solver':<12}{'status':<12}{'pruned':>9}{'norm':>12}{'bound':>12}{'seconds':>9}")
    for row in rows:
        if row["status"] == "refused":
            print_text(f"{row['solver']:<12}refused     {row['message']}")
            continue
        bound = "-" if row["bound"] is None else f"{row['bound']:.6g}"
        print_text(
            f"{row['solver']:<12}{row['status']:<12}{row['size']:>9,}{row['norm']:>12.6g}"
            f"{bound:>12}{row['solve_time']:>9.2f}"
        )
