"""The command `compare-solvers`: one problem, solved by several solvers."""

from __future__ import annotations

from typing import Any

from subsetsel.cli import options as given
from subsetsel.cli.console import print_result, working
from subsetsel.cli.interrupt import quits_at_once
from subsetsel.cli.stdin import file_of
from subsetsel.errors import OptionError
from subsetsel.formats import Text, read_matrix
from subsetsel.report.manifest import solution_record


def compare_solvers(
    matrix: given.Matrix,
    key: given.Key = None,
    drop: given.Drop = None,
    delimiter: given.Delimiter = None,
    decimal: given.Decimal = ".",
    encoding: given.Encoding = "utf-8",
    epsilon: given.Epsilon = None,
    size: given.Size = None,
    fraction: given.Fraction = None,
    num_kept: given.NumKept = None,
    solvers: given.Solvers = None,
    time_limit: given.TimeOfEach = 10.0,
    seed: given.Seed = 0,
    file_format: given.Format = None,
    as_json: given.Json = False,
) -> None:
    """Solve one problem with several solvers.

    \b
    Examples:
      subsetsel compare-solvers S.npy --epsilon 0.1
      subsetsel compare-solvers S.npy --size 500 --solvers anneal,greedy --time-limit 5
    """
    with quits_at_once():
        from subsetsel.engine.registry import available_solvers
        from subsetsel.engine.solve import solve
        from subsetsel.problem.problem import Problem

    goals = {"epsilon": epsilon, "size": size, "fraction": fraction, "num_kept": num_kept}
    goal = given.one_goal(goals)
    names = available_solvers() if solvers is None else solvers.split(",")
    text = Text(delimiter, decimal, encoding)
    S = read_matrix(file_of(matrix, file_format), key, text, given.names_in(drop))
    problem = Problem(S, **goal)
    rows: list[dict[str, Any]] = []
    for name in names:
        try:
            with working(f"{name}, {time_limit:g} s at most"):
                solution = solve(problem, solver=name, time_limit=time_limit, seed=seed)
            rows.append(solution_record(solution))
        except OptionError as error:
            # A solver that says this problem is too large for it is a row of the table.
            rows.append({"solver": name, "status": "refused", "message": str(error)})
    record = {"time_limit": time_limit, "seed": seed, "results": rows}
    title = f"{'solver':<12}{'status':<12}{'pruned':>9}{'norm':>12}{'bound':>12}{'seconds':>9}"
    print_result(record, "\n".join([title, *map(_line, rows)]), as_json=as_json)


def _line(row: dict[str, Any]) -> str:
    start = f"{row['solver']:<12}{row['status']:<12}"
    if row["status"] == "refused":
        return start + str(row["message"])
    bound = "-" if row["bound"] is None else f"{row['bound']:.6g}"
    return f"{start}{row['size']:>9,}{row['norm']:>12.6g}{bound:>12}{row['solve_time']:>9.2f}"
