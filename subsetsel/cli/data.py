"""The command `prune`: labelled data in, a checked subset out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from subsetsel.cli import options as given
from subsetsel.cli.console import print_json, print_note, print_text, solve_progress
from subsetsel.cli.output import (
    check_certificate,
    check_out,
    checkpoint_path,
    exit_code,
    repeated_code,
    save,
    show,
)
from subsetsel.cli.settings import Plan
from subsetsel.cli.stdin import files_of
from subsetsel.errors import OptionError
from subsetsel.formats import Data
from subsetsel.problem.solution import Solution
from subsetsel.report.history import Trail
from subsetsel.report.manifest import Manifest

if TYPE_CHECKING:
    from subsetsel.guarantee.verification import Verification
    from subsetsel.problem.problem import Problem

Examples = Annotated[
    Path | None,
    typer.Argument(
        help="Features X and labels y (and ids): .npz, .safetensors, .parquet, .csv, .tsv; - for "
        "standard input."
    ),
]
RelEpsilon = Annotated[
    float | None, typer.Option(help="Largest allowed change as a fraction of ||theta||_2.")
]
MaxLossGap = Annotated[
    float | None, typer.Option(help="Largest rise of the mean loss on the --validation examples.")
]
MaxAccuracyDrop = Annotated[
    float | None,
    typer.Option(help="Largest fall of the accuracy on them, a share: 0.002 is 0.2 points."),
]
Validation = Annotated[
    Path | None,
    typer.Option(help="Examples that take part in the choice; --test is for new ones."),
]
MinCurvature = Annotated[
    float | None,
    typer.Option(help="Keep at least this share of the curvature in every direction."),
]
KeepPerClass = Annotated[
    int | None, typer.Option(help="Keep at least this many examples of every class.")
]
Certificate = Annotated[
    Path | None,
    typer.Option(help="Write what others need to check the claim: a .json, and an .npz beside it."),
]


def prune(
    data: Examples = None,
    l2: given.L2 = None,
    epsilon: given.Epsilon = None,
    rel_epsilon: RelEpsilon = None,
    max_loss_gap: MaxLossGap = None,
    max_accuracy_drop: MaxAccuracyDrop = None,
    validation: Validation = None,
    min_curvature: MinCurvature = None,
    keep_per_class: KeepPerClass = None,
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
    source: given.From = None,
    dry_run: given.DryRun = False,
    out: given.Out = None,
    certificate: Certificate = None,
    as_json: given.Json = False,
) -> None:
    """Prune labelled data and check the result by exact refit.

    A softmax head is trained on the features, and refitted on what is kept.
    With --epsilon or --rel-epsilon the result is the largest subset found for which the refitted
    head provably stays within it; --max-loss-gap and --max-accuracy-drop limit what it does to
    --validation examples. With a size, it is the subset of that size that moves the head least, and
    the exact change is reported. All of it speaks of the head; not of the retrained network.

    \b
    Examples:
      subsetsel prune data.npz --l2 1e-3 --rel-epsilon 0.01 --out pruned.npz
      subsetsel prune data.csv --label species --id name --l2 1e-3 --fraction 0.4 --test test.csv
      subsetsel prune data.npz --l2 1e-3 --rel-epsilon 0.01 --certificate claim.json
      subsetsel prune data.npz --l2 1e-3 --max-accuracy-drop 0.002 --validation val.npz
      subsetsel prune data.npz --l2 1e-3 --rel-epsilon 0.01 --dry-run
      subsetsel prune --from pruned.manifest.json
      subsetsel prune data.parquet --label species --id name --l2 1e-3 --fraction 0.4 \\
        --out pruned.parquet
      xzcat data.csv.xz | subsetsel prune - --l2 1e-3 --fraction 0.4 --out - > pruned.csv
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
    limits = {
        "max_loss_gap": max_loss_gap,
        "max_accuracy_drop": max_accuracy_drop,
        "min_curvature": min_curvature,
        "keep_per_class": keep_per_class,
    }
    files = {"data": data, "test": test, "validation": validation}
    earlier = None if source is None else Manifest.read(source)
    if earlier is None:
        plan = Plan.of_flags(goal, limits, l2, device, label, identity, search)
    else:
        plan = Plan.of_manifest(earlier, {**goal, **limits, "l2": l2})
        known = {i["name"]: Path(i["path"]) for i in earlier.inputs if "path" in i}
        files = {name: path or known.get(name) for name, path in files.items()}
    inputs = {name: path for name, path in files.items() if path is not None}
    _check_inputs(plan, inputs)
    check_out(out, as_json=as_json)
    check_certificate(certificate)
    paths = files_of(inputs)
    examples = {name: plan.read(path) for name, path in paths.items()}
    if dry_run:
        _show_cost(examples["data"], plan.device, as_json)
        return
    trail = Trail()
    # Beside a file that it belongs to; a table on standard output has none.
    checkpoint = checkpoint_path(out) if plan.is_verified_search else None
    problem, solution, check = _prune(plan, examples, trail, checkpoint)
    ids = examples["data"].ids
    about: dict[str, Any] = {
        "command": "prune",
        "settings": asdict(plan),
        "inputs": paths,
        "paths": inputs,
    }
    manifest = Manifest.of(solution, **about, verification=check, ids=ids, trace=trail.records)
    written = [] if out is None else save(solution, manifest, out, ids)
    if certificate is not None:
        written += _certify(certificate, problem, solution, examples["data"])
    show(solution, as_json=as_json, verification=check, files=written, out=out)
    _leave(checkpoint, solution)
    code = exit_code(solution)
    raise typer.Exit(code if earlier is None else repeated_code(code, earlier, manifest))


def _check_inputs(plan: Plan, inputs: Mapping[str, Path]) -> None:
    if "data" not in inputs:
        raise OptionError("name the data: an .npz file with X and y, or a table.")
    if plan.needs_validation != ("validation" in inputs):
        raise OptionError(
            "--validation goes together with --max-loss-gap or --max-accuracy-drop, which are "
            "measured on it; examples that take no part in the choice are named by --test."
        )


def _prune(
    plan: Plan, examples: Mapping[str, Data], trail: Trail, checkpoint: Path | None
) -> tuple[Problem, Solution, Verification | None]:
    import subsetsel

    data = examples["data"]
    test, validation = (
        (examples[name].X, examples[name].y) if name in examples else None
        for name in ("test", "validation")
    )
    with solve_progress(f"pruning {data.n:,} examples", plan.search["time_limit"]) as progress:
        problem = subsetsel.Problem.from_features(
            data.X, data.y, l2=plan.l2, device=plan.device, **plan.question(data.y)
        )
        trail.forward = progress
        search = {**plan.search, "progress": trail}
        if plan.is_verified_search:
            if checkpoint is not None and checkpoint.exists():
                print_note(f"found {checkpoint}: what it holds is not searched for again")
            found = subsetsel.prune(
                problem,
                test=test,
                validation=validation,
                checkpoint=checkpoint,
                **plan.criteria,
                **search,
            )
            return problem, *found
        solution = subsetsel.solve(problem, **search)
        check = subsetsel.verify(problem, solution, test=test) if solution.is_feasible else None
    return problem, solution, check


def _leave(checkpoint: Path | None, solution: Solution) -> None:
    """Remove what was kept for another sitting, unless this one was broken off."""
    if checkpoint is None or not checkpoint.exists():
        return
    if solution.limit != "interrupted":
        checkpoint.unlink()
    else:
        print_note(f"the same command goes on from {checkpoint}; delete it to start anew")


def _certify(path: Path, problem: Problem, solution: Solution, data: Data) -> list[Path]:
    """Write the certificate, if there is anything to certify."""
    from subsetsel.guarantee.certificate import write_certificate

    if not solution.is_feasible:
        print_note(f"nothing could be verified, so {path} was not written")
        return []
    write_certificate(path, problem, solution, data.X, data.y)
    return [path, path.with_suffix(".npz")]


def _show_cost(examples: Data, device: str, as_json: bool) -> None:
    from subsetsel.influence.estimate import estimate_cost

    cost = estimate_cost(examples.n, examples.num_features, examples.num_classes, device=device)
    if as_json:
        print_json({**asdict(cost), "num_bytes": cost.num_bytes})
        return
    print_text(str(cost))
    print_text("the search comes on top: its own budget of work, or --time-limit")
