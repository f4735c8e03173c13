"""The command `verify`: check a saved subset, a manifest or a certificate against the data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer
from numpy.typing import ArrayLike

from subsetsel.cli import options as given
from subsetsel.cli.console import ExitCode, print_note, print_result, working
from subsetsel.cli.examples import check_held_out
from subsetsel.cli.interrupt import quits_at_once
from subsetsel.cli.output import manifest_path
from subsetsel.cli.read_shards import read_sharded
from subsetsel.cli.reading import EngineFlags, ReadingFlags, ShardFlags, takes_flags
from subsetsel.cli.settings import Plan, read_held_out, reading_again
from subsetsel.cli.shards import engine_of, refuse_beside_shards, shards_of, sources_of
from subsetsel.cli.stdin import file_of
from subsetsel.errors import FileFormatError, OptionError
from subsetsel.formats import Data, read_data, read_solution
from subsetsel.formats.ids import ids_by_position
from subsetsel.report.manifest import Manifest, fingerprint, mask_digest
from subsetsel.rows.base import BoolArray
from subsetsel.support.clock import NO_CLOCK
from subsetsel.support.ids import find_places


@takes_flags
def verify(
    claim: given.Claim,
    data: given.Data,
    l2: given.L2 = None,
    test: given.Test = None,
    label: given.LabelAgain = None,
    identity: given.IdentityAgain = None,
    *,
    how: ReadingFlags,
    who: EngineFlags,
    device: given.Device = "auto",
    as_json: given.Json = False,
) -> None:
    """Check a subset from scratch: the head; not the retrained network.

    The head is trained on all examples and refitted on what is kept; no number in the file is
    believed. The weight decay is that of the manifest, unless --l2 names it. A certificate holds
    both heads: two gradients are evaluated with NumPy, and nothing is trained.

    \b
    Examples:
      subsetsel verify pruned.npz --data data.npz
      subsetsel verify pruned.manifest.json --data data.npz --test test.npz --json
      subsetsel verify claim.json --data data.npz
      subsetsel verify pruned.parquet --data data.parquet --label species --id name
      subsetsel verify pruned.npz --data 'features/*.parquet' --engine tcp://host:8786
      xzcat data.csv.xz | subsetsel verify pruned.npz --data - --format csv
    """
    file = file_of(data, how.file_format)
    again = reading_again(_manifest_of(claim), label, identity, how.labels, how.settings)
    where = ShardFlags(**vars(who))
    shards = _shards_of(claim, data, where)
    if shards and _is_certificate(claim):
        refuse_beside_shards({"certificate": claim})
    with working(f"reading {data}"):
        examples = (
            read_sharded(shards, again, engine_of(where)) if shards else read_data(file, again)
        )
        read = read_held_out(examples, {} if test is None else {"test": test}, again)
    held_out = read.get("test")
    if claim.suffix.lower() == ".json" and _is_certificate(claim):
        raise typer.Exit(_recheck(claim, examples, as_json=as_json))
    subset = _read_subset(claim, examples)
    if subset.manifest is not None:
        compare_digest(subset.manifest, sources_of({"data": file}, examples)["data"], examples.ids)
    if l2 is None:
        if subset.manifest is None:
            raise OptionError(
                f"--l2 is needed: there is no manifest {manifest_path(claim)} to take it from."
            )
        l2 = Plan.of_manifest(subset.manifest).l2
    if held_out is not None:
        check_held_out(examples, held_out, "--test")
    raise typer.Exit(_refit(examples, subset, l2, held_out, device=device, as_json=as_json))


def _shards_of(claim: Path, data: Path, where: ShardFlags) -> dict[str, Any]:
    """Say whether the data are in shards, and in which: those that were pruned by default."""
    asked = shards_of([data], where, dry_run=False)
    manifest = _manifest_of(claim)
    if manifest is None or "label" not in manifest.settings:
        return asked
    known = Plan.of_manifest(manifest).shards
    if known and (not asked or asked["rows_per_shard"] is None):
        return {"paths": [str(data)], "rows_per_shard": known["rows_per_shard"]}
    return asked


_BY_POSITION = (
    "warning: {claim} holds no ids, so its examples are told by their positions in the data, not "
    "by the ids that the data have; they must be in the order in which they were pruned"
)


@dataclass(frozen=True)
class _Subset:
    mask: BoolArray
    epsilon: float | None
    manifest: Manifest | None


def _read_subset(claim: Path, examples: Data) -> _Subset:
    """Read a subset from its manifest, or from its own file with the manifest beside it."""
    if claim.suffix.lower() == ".json":
        manifest = Manifest.read(claim)
        mask = manifest.mask(examples.ids)
        if manifest.has_ids is False and examples.ids is not None:
            print_note(_BY_POSITION.format(claim=claim))
        return _Subset(mask, manifest.solution.get("epsilon"), manifest)
    solution = read_solution(claim)
    names = ids_by_position(claim)
    mask = _mask_of(claim, solution.mask, names, examples)
    beside = manifest_path(claim)
    if not beside.exists():
        return _Subset(mask, solution.epsilon, None)
    manifest = Manifest.read(beside)
    recorded = manifest.solution
    is_other = False
    if not np.isnan(solution.norm) and (
        (recorded.get("size"), recorded.get("norm")) != (solution.size, solution.norm)
    ):
        is_other = True
    if np.isnan(solution.norm) and manifest.has_ids in {None, names is not None}:
        # A table of text knows the subset and nothing else, neither norm nor epsilon.
        ours = solution.pruned.tolist()
        ours = ours if names is None else [names[i] for i in ours]
        is_other = set(map(str, ours)) != set(map(str, manifest.pruned))
    if manifest.subset_sha256 is not None:
        is_other = manifest.subset_sha256 != mask_digest(solution.mask)
    if is_other:
        raise FileFormatError(
            f"{claim} and {beside} name different subsets: they are of two runs. Name the "
            "manifest to check that one, or delete it and give --l2."
        )
    epsilon = recorded.get("epsilon") if solution.epsilon is None else solution.epsilon
    return _Subset(mask, epsilon, manifest)


def _mask_of(claim: Path, mask: BoolArray, names: list[Any] | None, examples: Data) -> BoolArray:
    """Put a mask into the order of the data: by ids, or by positions where the claim has none."""
    if len(mask) != examples.n:
        raise FileFormatError(
            f"{claim} speaks of {len(mask)} examples, the data hold {examples.n}; give the data "
            "that were pruned."
        )
    if names is None:
        if examples.ids is not None:
            print_note(_BY_POSITION.format(claim=claim))
        return mask
    if examples.ids is None:
        raise FileFormatError(
            f"{claim} names its examples by ids (such as {names[0]!r}), and the data have none; "
            "name their column with --id, or give an array `ids` beside X and y."
        )
    return mask[find_places(str(claim), names, "the data", examples.ids.tolist())]


def _manifest_of(claim: Path) -> Manifest | None:
    """Find the manifest that a claim is, or that lies beside it."""
    if claim.suffix.lower() == ".json":
        return None if _is_certificate(claim) else Manifest.read(claim)
    beside = manifest_path(claim)
    return Manifest.read(beside) if beside.exists() else None


def _is_certificate(path: Path) -> bool:
    """Whether a JSON file says that it is one; whoever reads anything else says what is wrong."""
    from subsetsel.guarantee.certificate import FORMAT

    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and record.get("format") == FORMAT


def _recheck(path: Path, examples: Data, *, as_json: bool) -> ExitCode:
    from subsetsel.guarantee.certificate import recheck_certificate

    with working("evaluating two gradients"):
        recheck = recheck_certificate(path, examples.X, examples.y)
    print_result({"recheck": asdict(recheck)}, str(recheck), as_json=as_json)
    return ExitCode.DONE if recheck.is_confirmed else ExitCode.UNSATISFIED


def _refit(
    examples: Data,
    subset: _Subset,
    l2: float,
    held_out: Data | None,
    *,
    device: str,
    as_json: bool,
) -> ExitCode:
    with quits_at_once():
        from subsetsel.guarantee.answer import load_head
        from subsetsel.guarantee.verification import verify
        from subsetsel.problem.ask_head import ask_of_features
        from subsetsel.problem.problem import Problem

        load_head()
    goal: dict[str, Any] = {"size": int(np.count_nonzero(subset.mask))}
    if subset.epsilon is not None:
        goal = {"epsilon": subset.epsilon}
    test = None if held_out is None else (held_out.X, held_out.y)
    with working("training the head, computing S"):
        fit: dict[str, Any] = {"l2": l2, "device": device}
        if examples.weights is not None:
            fit["sample_weight"] = examples.weights
        problem = ask_of_features(Problem, examples.X, examples.y, fit, NO_CLOCK, **goal)
    with working("refitting the head on what is kept"):
        check = verify(problem, subset.mask, test=test)
    print_result({"verification": check}, str(check), as_json=as_json)
    return ExitCode.UNSATISFIED if check.is_verified is False else ExitCode.DONE


def compare_digest(manifest: Manifest, data: Any, ids: ArrayLike | None) -> None:
    """Warn where the data, a file or shards, are others than those that were pruned."""
    known = next((item for item in manifest.inputs if item["name"] == "data"), {})
    if "num_shards" in known and isinstance(data, Path):
        # Hashed shard by shard, as nobody reads a file here.
        return
    if known and known["sha256"] == fingerprint("data", data)["sha256"]:
        return
    by_ids = "" if manifest.has_ids is False or ids is None else "; examples are told by their ids"
    what = f"{data} is not the file" if isinstance(data, Path) else "the shards are not those"
    verb = "was" if isinstance(data, Path) else "were"
    print_note(f"warning: {what} that {verb} pruned: the SHA-256 differs{by_ids}")
