"""The command `verify`: check a saved subset, a manifest or a certificate against the data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from subsetsel.cli import options as given
from subsetsel.cli.console import ExitCode, print_json, print_note, print_text, working
from subsetsel.cli.output import manifest_path
from subsetsel.cli.settings import Plan
from subsetsel.cli.stdin import file_of
from subsetsel.errors import FileFormatError, OptionError
from subsetsel.formats import Data, read_data, read_solution
from subsetsel.report.manifest import Manifest
from subsetsel.rows.base import BoolArray
from subsetsel.support.records import sha256_of_file


def verify(
    claim: Annotated[
        Path,
        typer.Argument(help="What `prune --out` wrote, its manifest, or a --certificate."),
    ],
    data: Annotated[Path, typer.Option(help="The examples that were pruned.")],
    l2: given.L2 = None,
    test: given.Test = None,
    label: given.Label = "y",
    identity: given.Identity = "id",
    device: given.Device = "auto",
    as_json: given.Json = False,
) -> None:
    """Check a subset from scratch: the head; not the retrained network.

    The head is trained and refitted on what is kept, whatever the file says of it; the weight decay
    is taken from the manifest, unless --l2 names it. A certificate holds both heads: there two
    gradients are evaluated with NumPy, and nothing is trained.

    \b
    Examples:
      subsetsel verify pruned.npz --data data.npz
      subsetsel verify pruned.manifest.json --data data.npz --test test.npz --json
      subsetsel verify claim.json --data data.npz
      subsetsel verify pruned.parquet --data data.parquet --label species --id name
      xzcat data.csv.xz | subsetsel verify pruned.npz --data -
    """
    data = file_of(data)
    examples = read_data(data, label=label, identity=identity)
    held_out = None if test is None else read_data(test, label=label, identity=identity)
    manifest = None
    if claim.suffix.lower() == ".json":
        if is_certificate(claim):
            raise typer.Exit(_recheck(claim, examples, as_json))
        manifest = Manifest.read(claim)
        mask, epsilon = manifest.mask(examples.ids), manifest.solution.get("epsilon")
    else:
        solution = read_solution(claim)
        mask, epsilon = solution.mask, solution.epsilon
        beside = manifest_path(claim)
        if beside.exists():
            manifest = Manifest.read(beside)
            # A table of text knows neither.
            if not np.isnan(solution.norm) and (
                (manifest.solution.get("size"), manifest.solution.get("norm"))
                != (solution.size, solution.norm)
            ):
                raise FileFormatError(
                    f"{claim} and {beside} name different subsets: they are of two runs. Name the "
                    "manifest to check that one, or delete it and give --l2."
                )
            # A table of text knows the subset and nothing else.
            epsilon = manifest.solution.get("epsilon") if epsilon is None else epsilon
    if manifest is not None:
        _compare_digest(manifest, data)
    if l2 is None:
        if manifest is None:
            raise OptionError(
                f"--l2 is needed: there is no manifest {manifest_path(claim)} to take it from."
            )
        l2 = Plan.of_manifest(manifest).l2
    if len(mask) != len(examples.y):
        raise FileFormatError(
            f"{claim} speaks of {len(mask)} examples, {data} holds {len(examples.y)}."
        )
    _refit(examples, mask, epsilon, l2, held_out, device=device, as_json=as_json)


def is_certificate(path: Path) -> bool:
    """Whether a JSON file says that it is a certificate.

    Returns
    -------
    bool
        False where it is something else, for whoever reads it next to say what.
    """
    import json

    from subsetsel.guarantee.certificate import FORMAT

    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return False
    return isinstance(record, dict) and record.get("format") == FORMAT


def _recheck(path: Path, examples: Data, as_json: bool) -> ExitCode:
    from subsetsel.guarantee.certificate import recheck_certificate

    with working("evaluating two gradients"):
        recheck = recheck_certificate(path, examples.X, examples.y)
    if as_json:
        print_json({"recheck": asdict(recheck)})
    else:
        print_text(str(recheck))
    return ExitCode.DONE if recheck.is_confirmed else ExitCode.UNSATISFIED


def _refit(
    examples: Data,
    mask: BoolArray,
    epsilon: float | None,
    l2: float,
    held_out: Data | None,
    *,
    device: str,
    as_json: bool,
) -> None:
    import subsetsel

    goal: dict[str, Any] = {"size": int(np.count_nonzero(mask))}
    if epsilon is not None:
        goal = {"epsilon": epsilon}
    with working("training the head, computing S"):
        problem = subsetsel.Problem.from_features(
            examples.X, examples.y, l2=l2, device=device, **goal
        )
    with working("refitting the head on what is kept"):
        check = subsetsel.verify(
            problem, mask, test=None if held_out is None else (held_out.X, held_out.y)
        )
    if as_json:
        print_json({"verification": check})
    else:
        print_text(str(check))
    raise typer.Exit(ExitCode.UNSATISFIED if check.is_verified is False else ExitCode.DONE)


def _compare_digest(manifest: Manifest, data: Path) -> None:
    digests = {item["name"]: item["sha256"] for item in manifest.inputs}
    if data.exists() and digests.get("data") != sha256_of_file(data):
        print_note(f"warning: {data} is not the file that was pruned: its SHA-256 differs")
