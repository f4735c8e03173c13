"""Commands on labelled data: prune, verify."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from subsetsel.cli import options as given
from subsetsel.cli.console import (
    ExitCode,
    print_json,
    print_note,
    print_text,
    solve_progress,
    working,
)
from subsetsel.cli.outcome import check_out, exit_code, manifest_path, save, show
from subsetsel.cli.plan import Plan
from subsetsel.cli.read import Data, read_data
from subsetsel.errors import FileFormatError, OptionError
from subsetsel.report.files import sha256_of_file
from subsetsel.report.manifest import Manifest
from subsetsel.solution import Solution

if TYPE_CHECKING:
    from subsetsel.verify import Verification

Examples = Annotated[
    Path | None, typer.Argument(help="Features X and labels y (and ids): .npz, .csv or .tsv.")
]
L2 = Annotated[
    float | None,
    typer.Option(help="Weight decay of mean loss + (l2 / 2) ||theta||^2, bias included."),
]
RelEpsilon = Annotated[
    float | None, typer.Option(help="Largest allowed change as a fraction of ||theta||_2.")
]
From = Annotated[
    Path | None,
    typer.Option(
        "--from",
        help="Repeat the run of a manifest: its settings, and its data unless others are named.",
    ),
]


DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Read the data, say what it would cost, and stop.")
]


def prune(
    data: Examples = None,
    l2: L2 = None,
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
    source: From = None,
    dry_run: DryRun = False,
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
      subsetsel prune data.npz --l2 1e-3 --rel-epsilon 0.01 --dry-run
      subsetsel prune --from pruned.manifest.json
    """
    goal = {
        "epsilon": epsilon,
        "rel_epsilon": rel_epsilon,
        "size": size,
        "fraction": fraction,
        "num_kept": num_kept,
    }
    search = {
        "solver": solver,
        "time_limit": time_limit,
        "seed": seed,
        "num_workers": num_workers,
        **given.solver_options(option),
    }
    earlier = None if source is None else Manifest.read(source)
    if earlier is None:
        plan = Plan.of_flags(goal, l2, device, label, identity, search)
    else:
        plan = Plan.of_manifest(earlier, {**goal, "l2": l2})
        files = {i["name"]: Path(i["path"]) for i in earlier.inputs if "path" in i}
        data, test = data or files.get("data"), test or files.get("test")
    if data is None:
        raise OptionError("name the data: an .npz file with X and y, or a table.")
    check_out(out)
    examples = plan.read(data)
    if dry_run:
        _show_cost(examples, plan.device, as_json)
        return
    solution, check = _prune(plan, examples, None if test is None else plan.read(test))
    manifest = Manifest.of(
        solution,
        command="prune",
        settings=asdict(plan),
        inputs={"data": data} if test is None else {"data": data, "test": test},
        verification=check,
        ids=examples.ids,
    )
    written = [] if out is None else save(solution, manifest, out)
    show(solution, as_json=as_json, verification=check, files=written)
    code = exit_code(solution)
    if earlier is not None and not _is_repeated(earlier, manifest):
        code = ExitCode.UNSATISFIED
    raise typer.Exit(code)


def _prune(
    plan: Plan, examples: Data, held_out: Data | None
) -> tuple[Solution, Verification | None]:
    import subsetsel

    test = None if held_out is None else (held_out.X, held_out.y)
    about = {"l2": plan.l2, "device": plan.device, **plan.goal}
    with solve_progress(f"pruning {examples.n:,} examples", plan.search["time_limit"]) as progress:
        search = {**plan.search, "progress": progress}
        if plan.has_epsilon:
            return subsetsel.prune(examples.X, examples.y, test=test, **about, **search)
        problem = subsetsel.Problem.from_features(examples.X, examples.y, **about)
        solution = subsetsel.solve(problem, **search)
        check = subsetsel.verify(problem, solution, test=test) if solution.is_feasible else None
    return solution, check


def _show_cost(examples: Data, device: str, as_json: bool) -> None:
    from subsetsel.influence.estimate import estimate_cost

    cost = estimate_cost(examples.n, examples.num_features, examples.num_classes, device=device)
    if as_json:
        print_json({**asdict(cost), "num_bytes": cost.num_bytes, "seconds": cost.seconds})
        return
    print_text(str(cost))
    print_text("the search comes on top: its own budget of work, or --time-limit")


def _is_repeated(earlier: Manifest, manifest: Manifest) -> bool:
    if earlier.pruned == manifest.pruned:
        print_note("the same subset as in the manifest")
        return True
    print_note("NOT the same subset as in the manifest. What differs:")
    for line in earlier.differences(manifest) or ["nothing that the manifest knows of"]:
        print_note(f"  {line}")
    return False


def verify(
    pruned: Annotated[Path, typer.Argument(help="What `prune --out` wrote.")],
    data: Annotated[Path, typer.Option(help="The examples that were pruned.")],
    l2: L2 = None,
    test: given.Test = None,
    label: given.Label = "y",
    identity: given.Identity = "id",
    device: given.Device = "auto",
    as_json: given.Json = False,
) -> None:
    """Check a saved subset by exact refit of the head.

    The weight decay is taken from the manifest beside the file, unless --l2 names it.

    \b
    Examples:
      subsetsel verify pruned.npz --data data.npz
      subsetsel verify pruned.npz --data data.npz --l2 1e-3 --test test.npz --json
    """
    import subsetsel

    solution = Solution.load(pruned)
    l2 = _settled_l2(pruned, data) if l2 is None else l2
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
    if as_json:
        print_json({"verification": check})
    else:
        print_text(str(check))
    raise typer.Exit(ExitCode.UNSATISFIED if check.is_verified is False else ExitCode.DONE)


def _settled_l2(pruned: Path, data: Path) -> float:
    beside = manifest_path(pruned)
    if not beside.exists():
        raise OptionError(f"--l2 is needed: there is no manifest {beside} to take it from.")
    manifest = Manifest.read(beside)
    digests = {item["name"]: item["sha256"] for item in manifest.inputs}
    if data.exists() and digests.get("data") != sha256_of_file(data):
        print_note(f"warning: {data} is not the file that was pruned: its SHA-256 differs")
    return Plan.of_manifest(manifest).l2
