"""The command `prune`: labelled data in, a checked subset out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from subsetsel.cli import options as given
from subsetsel.cli.checkpoints import checkpoint_of, close_checkpoint, note_known
from subsetsel.cli.console import ExitCode, print_result, solve_progress, working
from subsetsel.cli.examples import check_held_out, show_look
from subsetsel.cli.interrupt import quits_at_once
from subsetsel.cli.kept import KeptRows, certify, write_rows
from subsetsel.cli.output import (
    LATER,
    Places,
    exit_code,
    repeated_code,
    save,
    show,
)
from subsetsel.cli.reading import ReadingFlags, ShardFlags, takes_flags
from subsetsel.cli.settings import Plan, inputs_of, refuse_beside_from
from subsetsel.cli.shards import (
    again_in_shards,
    engine_of,
    refuse_beside_shards,
    shards_of,
    show_plan,
    sources_of,
    the_only,
)
from subsetsel.cli.stdin import files_of
from subsetsel.cli.with_model import ImageSize, ModelName, write_features
from subsetsel.errors import OptionError
from subsetsel.formats import Data
from subsetsel.formats.kept import check_kept
from subsetsel.problem.solution import Solution
from subsetsel.report.manifest import Manifest
from subsetsel.support.clock import Clock, TimeIsUp

if TYPE_CHECKING:
    from subsetsel.guarantee.verification import Verification
    from subsetsel.problem.problem import Problem


@takes_flags
def prune(
    data: given.DataOfRun = None,
    l2: given.L2 = None,
    epsilon: given.Epsilon = None,
    rel_epsilon: given.RelEpsilon = None,
    max_loss_gap: given.MaxLossGap = None,
    max_accuracy_drop: given.MaxAccuracyDrop = None,
    validation: given.Validation = None,
    min_curvature: given.MinCurvature = None,
    keep_per_class: given.KeepPerClass = None,
    size: given.Size = None,
    fraction: given.Fraction = None,
    num_kept: given.NumKept = None,
    hessian: given.HessianOf = "all",
    solver: given.Solver = "anneal",
    time_limit: given.TimeLimit = None,
    seed: given.Seed = 0,
    num_workers: given.NumWorkers = 1,
    option: given.SolverOptions = None,
    test: given.Test = None,
    label: given.Label = "y",
    identity: given.Identity = "id",
    *,
    how: ReadingFlags,
    where: ShardFlags,
    model: ModelName = None,
    image_size: ImageSize = None,
    device: given.Device = "auto",
    source: given.From = None,
    dry_run: given.DryRun = False,
    out: given.Out = None,
    kept: KeptRows = None,
    certificate: given.Certificate = None,
    as_json: given.Json = False,
) -> None:
    """Prune labelled data and check the result by exact refit.

    A softmax head is trained on the features, and refitted on what is kept. With --epsilon or
    --rel-epsilon the result is the largest subset found for which the refitted head provably stays
    within it; --max-loss-gap and --max-accuracy-drop limit what it does to --validation examples.
    With a size, it is the subset of that size that moves the head least, to first order or, with
    --hessian kept, by refit; the exact change is reported. Every claim is about the head; not about
    the retrained network.

    \b
    Examples:
      subsetsel prune data.npz --l2 1e-3 --rel-epsilon 0.01 --out pruned.npz
      subsetsel prune data.csv --label species --id name --l2 1e-3 --fraction 0.4 --test test.csv
      subsetsel prune data.csv --label species --l2 1e-3 --fraction 0.4 --kept kept.csv
      subsetsel prune data.npz --l2 1e-3 --rel-epsilon 0.01 --certificate claim.json
      subsetsel prune data.npz --l2 1e-3 --max-accuracy-drop 0.002 --validation val.npz
      subsetsel prune data.npz --l2 1e-3 --rel-epsilon 0.01 --dry-run
      subsetsel prune --from pruned.manifest.json
      subsetsel prune data.parquet --label species --id name --l2 1e-3 --fraction 0.4 \\
        --out pruned.parquet
      subsetsel prune embeddings.npy --labels labels.csv --l2 1e-3 --fraction 0.4
      subsetsel prune 'parts/*.parquet' --label kind --drop text,source --l2 1e-3 --fraction 0.4
      subsetsel prune 'features/*.parquet' --label y --l2 1e-3 --fraction 0.4 --engine tcp://host:8786
      xzcat data.csv.xz | subsetsel prune - --format csv --l2 1e-3 --fraction 0.4 --out - > p.csv
    """
    goals: dict[str, Any] = {"epsilon": epsilon, "rel_epsilon": rel_epsilon}
    goals |= {"size": size, "fraction": fraction, "num_kept": num_kept}
    limits: dict[str, Any] = {"max_loss_gap": max_loss_gap, "max_accuracy_drop": max_accuracy_drop}
    limits |= {"min_curvature": min_curvature, "keep_per_class": keep_per_class}
    earlier = Manifest.read(source) if source else None
    others: dict[str, Any] = {"device": device, "label": label, "id": identity, "hessian": hessian}
    others["search"] = given.search_settings(solver, time_limit, seed, num_workers, option)
    others["shards"] = shards_of(data, where, dry_run=dry_run)
    plan = _plan(earlier, model, goals, limits, l2=l2, reading=how.settings, **others)
    named = {"data": the_only(data), "labels": how.labels, "test": test, "validation": validation}
    inputs = inputs_of(named, earlier)
    output = Places(out, certificate, kept, as_json)
    _check(plan, inputs, output, model)
    inputs = _with_features(inputs, model, image_size, out or kept, others)
    files = files_of(inputs, how.file_format)
    if dry_run and plan.shards:
        raise typer.Exit(show_plan(plan, files, where, as_json=as_json))
    if dry_run:
        raise typer.Exit(_show_cost(plan, inputs, files, as_json=as_json))
    raise typer.Exit(_run(plan, inputs, files, output, earlier, engine_of(where)))


def _plan(
    earlier: Manifest | None,
    model: str | None,
    goals: dict[str, Any],
    limits: dict[str, Any],
    **flags: Any,
) -> Plan:
    """Take the settings from the flags, or from the manifest of an earlier run."""
    if earlier is None:
        if model is not None:
            _refuse_columns(flags["reading"])
            # The features of a network lie in a file of our own making.
            flags |= {"label": "y", "id": "id"}
        return Plan.of_flags(goals, limits, **flags)
    mine = {"l2": flags["l2"], "model": model}
    refuse_beside_from(goals | limits | mine | flags["reading"])
    plan = Plan.of_manifest(earlier)
    return replace(plan, shards=again_in_shards(plan.shards, flags["shards"]))


def _refuse_columns(reading: Mapping[str, Any]) -> None:
    """Refuse, before a network runs, what says how tables are read: pictures have no columns."""
    for name in reading.keys() - {"keep_na"}:
        raise OptionError(
            f"{given.flag(name)} speaks of a table, and with --model the data are pictures; leave "
            "it out. A list of files is read in UTF-8, with commas (.csv) or tabs (.tsv) between."
        )


def _with_features(
    inputs: dict[str, Path],
    model: str | None,
    image_size: str | None,
    beside: Path | None,
    flags: dict[str, Any],
) -> dict[str, Path]:
    """Turn pictures into features where a network is named; other inputs stay as they are."""
    if model is not None:
        how = {"label": flags["label"], "identity": flags["id"], "device": flags["device"]}
        return write_features(inputs, model, beside=beside, image_size=image_size, **how)
    if image_size is not None:
        raise OptionError("--image-size goes with --model, which reads pictures; leave it out.")
    return inputs


def _check(plan: Plan, inputs: Mapping[str, Path], output: Places, model: str | None) -> None:
    if plan.shards:
        refuse_beside_shards({"model": model, "certificate": output.certificate})
    if "data" not in inputs:
        raise OptionError("name the data: an .npz file with X and y, or a table.")
    if plan.needs_validation != ("validation" in inputs):
        raise OptionError(
            "--validation goes together with --max-loss-gap or --max-accuracy-drop, which are "
            "measured on it; examples that take no part in the choice are named by --test."
        )
    if output.certificate is not None and "weight" in plan.reading:
        raise OptionError(
            "--certificate speaks of a head without weights, and --weight asks for one with; "
            "leave one of the two out."
        )
    output.check(inputs.values())


def _read(
    plan: Plan, inputs: Mapping[str, Path], files: Mapping[str, Path], engine: str | None = None
) -> dict[str, Data]:
    """Read all examples, and check what would fail after the work otherwise."""
    with working(f"reading {inputs['data']}"):
        examples = plan.read(files, engine)
    data = examples["data"]
    for name in examples.keys() & {"test", "validation"}:
        check_held_out(data, examples[name], f"--{name}")
    return examples


def _run(
    plan: Plan,
    inputs: Mapping[str, Path],
    files: Mapping[str, Path],
    output: Places,
    earlier: Manifest | None,
    engine: str | None,
) -> ExitCode:
    """Prune, save, show, and compare with an earlier run if this one repeats it.

    ``files`` are those to read where ``inputs`` names standard input.
    """
    examples = _read(plan, inputs, files, engine)
    data = examples["data"]
    delimiter = plan.reading.get("delimiter")
    if output.kept is not None:
        check_kept(output.kept, files["data"], data.n, data.ids, delimiter)
    look = show_look(data)
    checkpoint = output.checkpoint if plan.is_verified_search else None
    if plan.shards and not plan.is_verified_search:
        checkpoint = checkpoint_of(output.out, is_folder=True)
    problem, solution, check = _prune(plan, examples, checkpoint)
    manifest = Manifest.of(
        solution,
        command="prune",
        settings=asdict(plan),
        inputs=sources_of(files, data),
        paths=inputs,
        verification=check,
        ids=data.ids,
        look=look,
    )
    written = [] if output.out is None else save(solution, manifest, output.out, data.ids)
    if output.certificate is not None:
        written += certify(output.certificate, problem, solution, data)
    if output.kept is not None:
        written += write_rows(output.kept, files["data"], solution, data, delimiter)
    show(
        solution,
        verification=check,
        files=written,
        out=output.out,
        look=look,
        as_json=output.as_json,
    )
    close_checkpoint(checkpoint, solution)
    return repeated_code(exit_code(solution), earlier, manifest)


def _check_search(search: Mapping[str, Any]) -> None:
    """Refuse a solver, a limit or an option that is wrong before the head is trained."""
    from subsetsel.engine.options import Limits
    from subsetsel.engine.registry import get_spec

    limits = {name: search[name] for name in search if name in Limits.__dataclass_fields__}
    Limits(**limits)
    spec = get_spec(search["solver"])
    own = {name: search[name] for name in search.keys() - limits.keys() - {"solver"}}
    spec.options(spec.load(), own)


def _prune(
    plan: Plan, examples: Mapping[str, Data], checkpoint: Path | None
) -> tuple[Problem | None, Solution, Verification | None]:
    """Train the head and search; without a problem where the time did not suffice for the head."""
    with working("loading"), quits_at_once():
        from subsetsel.engine.solve import solve
        from subsetsel.guarantee.answer import load_head, nothing_set_up
        from subsetsel.guarantee.prune import prune
        from subsetsel.guarantee.verification import verify
        from subsetsel.problem.ask_head import ask_of_features
        from subsetsel.problem.problem import Problem

        load_head()
    data, limit = examples["data"], plan.search["time_limit"]
    test, validation = (
        (examples[name].X, examples[name].y) if name in examples else None
        for name in ("test", "validation")
    )
    question, fit = plan.question(data.y), {"l2": plan.l2, "device": plan.device}
    if data.weights is not None:
        fit["sample_weight"] = data.weights
    _check_search(plan.search)
    clock = Clock(limit)
    try:
        with working(f"training the head on {data.n:,} examples, computing S"):
            problem = ask_of_features(Problem, data.X, data.y, fit, clock, **question)
    except TimeIsUp:
        seed, solver = plan.search["seed"], plan.search["solver"]
        epsilon = question.get("epsilon")
        return None, *nothing_set_up(
            data.y, seed, solver, limit="time", clock=clock, epsilon=epsilon
        )
    left = None if limit is None else max(0.0, clock.remaining)
    shards = problem.rows.shards
    with solve_progress(f"pruning {data.n:,} examples", left, shards) as progress:
        search = {**plan.search, "time_limit": left, "progress": progress, "trace": True}
        note_known(checkpoint)
        search["checkpoint"] = checkpoint
        if plan.is_verified_search:
            search |= {"test": test, "validation": validation}
            return problem, *prune(problem, **plan.criteria, **search)
        solution = solve(problem, **search)
    if not solution.is_feasible:
        return problem, solution, None
    with working("refitting the head on what is kept"):
        return problem, solution, verify(problem, solution, test=test)


def _show_cost(
    plan: Plan, inputs: Mapping[str, Path], files: Mapping[str, Path], *, as_json: bool
) -> ExitCode:
    from subsetsel.influence.estimate import estimate_cost

    data = _read(plan, inputs, files)["data"]
    show_look(data)
    cost = estimate_cost(data.n, data.num_features, data.num_classes, device=plan.device)
    print_result({**asdict(cost), "num_bytes": cost.num_bytes}, f"{cost}\n{LATER}", as_json=as_json)
    return ExitCode.DONE
