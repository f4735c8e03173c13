"""Commands on a bare influence matrix: solve, compare-solvers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from subsetsel.cli import options as given
from subsetsel.cli.console import print_json, print_text, solve_progress, working
from subsetsel.cli.outcome import check_out, exit_code, save, show
from subsetsel.cli.streams import file_of
from subsetsel.errors import OptionError
from subsetsel.formats import read_matrix
from subsetsel.report.manifest import Manifest, solution_record
from subsetsel.report.trail import Trail

Matrix = Annotated[
    Path,
    typer.Argument(
        help="S, one row per example: .npy, .npz, .safetensors, .parquet, .csv, .tsv; - for stdin."
    ),
]
Normalized = Annotated[
    str, typer.Option(help="full (Eq. 3 of the paper) or kept (epsilon times the kept share).")
]
MaxSize = Annotated[int | None, typer.Option(help="Prune at most this many.")]


def solve(
    matrix: Matrix,
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
    out: given.Out = None,
    as_json: given.Json = False,
) -> None:
    """Solve the problem for an influence matrix S.

    \b
    Examples:
      subsetsel solve S.npy --epsilon 0.1
      subsetsel solve S.npy --size 20000 --time-limit 60 --out pruned.npz
      subsetsel solve S.npy --epsilon 0.1 --solver cpsat --json
      subsetsel solve factors.safetensors --key S --size 500 --out pruned.safetensors
      python make_rows.py | subsetsel solve - --epsilon 0.1 --out - > pruned.csv
    """
    import subsetsel

    question: dict[str, Any] = {
        **given.given_goal(epsilon=epsilon, size=size, fraction=fraction, num_kept=num_kept),
        "normalization": normalization,
        **({} if max_size is None else {"max_size": max_size}),
    }
    settings = {
        **question,
        "solver": solver,
        "time_limit": time_limit,
        "seed": seed,
        "num_workers": num_workers,
        **given.solver_options(option),
    }
    check_out(out, as_json=as_json)
    file = file_of(matrix)
    S = read_matrix(file, key)
    with solve_progress(f"{solver} on {S.shape[0]:,} examples", time_limit) as progress:
        trail = Trail(progress)
        solution = subsetsel.solve(S, progress=trail, **settings)
    files = []
    if out is not None:
        manifest = Manifest.of(
            solution,
            command="solve",
            settings=settings,
            inputs={"S": file},
            paths={"S": matrix},
            trace=trail.records,
        )
        files = save(solution, manifest, out)
    show(solution, as_json=as_json, files=files, out=out)
    raise typer.Exit(exit_code(solution))


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
