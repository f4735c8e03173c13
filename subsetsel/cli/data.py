"""Commands on labelled data: prune, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from subsetsel.cli import options as given
from subsetsel.cli.console import ExitCode, print_json, print_text, solve_progress, working
from subsetsel.cli.outcome import check_out, exit_code, manifest_path, save, show
from subsetsel.cli.read import Data, read_data
from subsetsel.errors import FileFormatError, OptionError
from subsetsel.report.manifest import Manifest
from subsetsel.solution import Solution

Examples = Annotated[
    Path, typer.Argument(help="Features X and labels y (and ids): .npz, .csv or .tsv.")
]
L2 = Annotated[
    float, typer.Option(help="Weight decay of mean loss + (l2 / 2) ||theta||^2, bias included.")
]
RelEpsilon = Annotated[
    float | None, typer.Option(help="Largest allowed change as a fraction of ||theta||_2.")
]


def prune(
    data: Examples,
    l2: L2,
    epsilon: given.Epsilon = None,
    rel_epsilon: RelEpsilon = None,
    size: given.Size = None,
    fraction: given.Fraction = None,
    num_kept: given.NumKept = None,
    solver: given.Solver = "anneal",
    time_limit: given.TimeLimit = None,
    seed: given.Seed = 0,
    num_workers: given.NumWorkers = 1,
    option: given.SolverOptions = None,
    test: given.Test = None,
    label: given.Label = "y",
    identity: given.Identity = "id",
    device: given.Device = "auto",
    out: given.Out = None,
    as_json: given.Json = False,
) -> None:
    """Prune labelled data and check the result by exact refit.

    A softmax head is trained on the features, and refitted on what is kept.
    With --epsilon or --rel-epsilon the result is the largest subset found for which the refitted
    head provably stays within it. With a size, it is the subset of that size that moves the head
    least, and the exact change is reported.

    \b
    Examples:
      subsetsel prune data.npz --l2 1e-3 --rel-epsilon 0.01 --out pruned.npz
      subsetsel prune data.csv --label species --id name --l2 1e-3 --fraction 0.4 --test test.csv
    """
    goal = given.given_goal(
        epsilon=epsilon,
        rel_epsilon=rel_epsilon,
        size=size,
        fraction=fraction,
        num_kept=num_kept,
    )
    search = {
        "solver": solver,
        "time_limit": time_limit,
        "seed": seed,
        "num_workers": num_workers,
        **given.solver_options(option),
    }
    check_out(out)
    examples = read_data(data, label=label, identity=identity)
    held_out = None if test is None else read_data(test, label=label, identity=identity)
    solution, check = _prune(examples, held_out, l2, device, goal, search)
    files = []
    if out is not None:
        manifest = Manifest.of(
            solution,
            command="prune",
            settings={**goal, "l2": l2, "device": device, "label": label, "id": identity, **search},
            inputs={"data": data} if test is None else {"data": data, "test": test},
            verification=check,
            ids=examples.ids,
        )
        files = save(solution, manifest, out)
    show(solution, as_json=as_json, verification=check, files=files)
    raise typer.Exit(exit_code(solution))


def _prune(
    examples: Data,
    held_out: Data | None,
    l2: float,
    device: str,
    goal: dict[str, Any],
    search: dict[str, Any],
) -> tuple[Solution, Any]:
    import subsetsel

    test = None if held_out is None else (held_out.X, held_out.y)
    with working("training the head, computing S"):
        problem = subsetsel.Problem.from_features(
            examples.X, examples.y, l2=l2, device=device, **goal
        )
    text = f"pruning {problem.n:,} examples"
    with solve_progress(text, search["time_limit"]) as progress:
        if problem.epsilon is not None:
            return subsetsel.prune(problem, test=test, progress=progress, **search)
        solution = subsetsel.solve(problem, progress=progress, **search)
    if not solution.is_feasible:
        return solution, None
    with working("refitting the head on what is kept"):
        return solution, subsetsel.verify(problem, solution, test=test)


def verify(
    pruned: Annotated[Path, typer.Argument(help="What `prune --out` wrote.")],
    data: Annotated[Path, typer.Option(help="The examples that were pruned.")],
    l2: Annotated[
        float | None, typer.Option(help="Weight decay; taken from the manifest if left out.")
    ] = None,
    test: given.Test = None,
    label: given.Label = "y",
    identity: given.Identity = "id",
    device: given.Device = "auto",
    as_json: given.Json = False,
) -> None:
    """Check a saved subset by exact refit of the head.

    \b
    Examples:
      subsetsel verify pruned.npz --data data.npz
      subsetsel verify pruned.npz --data data.npz --l2 1e-3 --test test.npz --json
    """
    import subsetsel

    solution = Solution.load(pruned)
    l2 = _settled_l2(pruned, l2)
    examples = read_data(data, label=label, identity=identity)
    if len(examples.y) != solution.n:
        raise FileFormatError(
            f"{pruned} speaks of {solution.n} examples, {data} holds {len(examples.y)}."
        )
    held_out = None if test is None else read_data(test, label=label, identity=identity)
    with working("training the head, computing S"):
        problem = subsetsel.Problem.from_features(
            examples.X, examples.y, l2=l2, device=device, size=solution.size
        )
    with working("refitting the head on what is kept"):
        check = subsetsel.verify(
            problem, solution, test=None if held_out is None else (held_out.X, held_out.y)
        )
    is_verified = solution.epsilon is None or check.change + check.change_error <= solution.epsilon
    if as_json:
        print_json({"is_verified": is_verified, "epsilon": solution.epsilon, "check": check})
    else:
        print_text(str(check))
        if solution.epsilon is not None:
            print_text(
                f"change + error = {check.change + check.change_error:.6g} "
                f"{'<=' if is_verified else '>'} epsilon = {solution.epsilon:.6g}: "
                f"{'verified' if is_verified else 'NOT verified'}"
            )
    raise typer.Exit(ExitCode.DONE if is_verified else ExitCode.UNSATISFIED)


def _settled_l2(pruned: Path, l2: float | None) -> float:
    if l2 is not None:
        return l2
    try:
        return float(Manifest.read(manifest_path(pruned)).settings["l2"])
    except FileNotFoundError:
        raise OptionError(
            f"--l2 is needed: there is no manifest {manifest_path(pruned)} to take it from."
        ) from None
    except (KeyError, TypeError, ValueError):
        raise OptionError(
            f"--l2 is needed: the manifest {manifest_path(pruned)} does not say it."
        ) from None
