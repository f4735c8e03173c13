"""The command report: one page about a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from subsetsel.cli import options as given
from subsetsel.cli.console import print_json, print_note, print_text, working
from subsetsel.cli.examples import read_looks
from subsetsel.cli.settings import Plan
from subsetsel.cli.stdin import STANDARD, file_of
from subsetsel.errors import OptionError
from subsetsel.formats import Data, read_data
from subsetsel.report.manifest import Manifest
from subsetsel.support.files import written_whole

if TYPE_CHECKING:
    from subsetsel.report.curve import Point
    from subsetsel.rows.base import BoolArray


def report(
    manifest: Annotated[Path, typer.Argument(help="What --out left beside the subset (.json).")],
    data: Annotated[
        Path | None, typer.Option(help="The examples that were pruned; needed by what follows.")
    ] = None,
    examples: Annotated[
        Path | None,
        typer.Option(
            help="What they look like, to show kept beside pruned: pictures as .npy or .npz of "
            "shape (n, height, width[, 3]), or texts as a table with a column `text`."
        ),
    ] = None,
    image_shape: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Show the features themselves as pictures of this shape."),
    ] = None,
    curve: Annotated[
        bool,
        typer.Option(
            "--curve",
            help="Prune other shares too and refit, with random subsets beside them; takes several "
            "times as long as the pruning did.",
        ),
    ] = False,
    label: given.Label = "y",
    identity: given.Identity = "id",
    device: given.Device = "auto",
    out: Annotated[
        Path | None, typer.Option(help="The page; beside the manifest if left out; - for stdout.")
    ] = None,
    as_json: given.Json = False,
) -> None:
    """Write one self-contained HTML page about a run.

    \b
    Examples:
      subsetsel report pruned.manifest.json
      subsetsel report pruned.manifest.json --data data.npz --curve --out report.html
      subsetsel report pruned.manifest.json --data data.npz --image-shape 28x28
      subsetsel report pruned.manifest.json --data data.parquet --label kind --examples texts.csv
    """
    from subsetsel.report.figures import pictures_of
    from subsetsel.report.gallery import render_gallery
    from subsetsel.report.page import render_page

    record = Manifest.read(manifest)
    page = manifest.with_suffix(".html") if out is None else out
    if page != STANDARD and page.suffix.lower() not in {".html", ".htm"}:
        raise OptionError(f"--out must name an .html file, got {page}.")
    if page == STANDARD and as_json:
        raise OptionError("--out - and --json both write to standard output; choose one.")
    if data is None and (curve or examples is not None or image_shape is not None):
        raise OptionError("--curve, --examples and --image-shape need the examples: --data.")
    points: list[Point] = []
    gallery = ""
    if data is not None:
        known = read_data(file_of(data), label=label, identity=identity)
        mask = record.mask(known.ids)
        looks = read_looks(known, examples, image_shape)
        if looks is not None:
            names = range(known.n) if known.ids is None else known.ids.tolist()
            gallery = render_gallery(looks, known.y, mask, names)
        if curve:
            points = _measure(record, known, mask, device)
    content = render_page(record, pictures=pictures_of(record, points), gallery=gallery)
    if page == STANDARD:
        sys.stdout.write(content)
        return
    with written_whole(page) as part:
        part.write_text(content, encoding="utf-8")
    if as_json:
        print_json({"files": [str(page)], "points": points})
    else:
        print_text(f"wrote {page}")


def _measure(record: Manifest, data: Data, mask: BoolArray, device: str) -> list[Point]:
    import numpy as np

    import subsetsel
    from subsetsel.report.curve import measure_points

    plan = Plan.of_manifest(record)
    size = int(np.count_nonzero(mask))
    if not size:
        raise OptionError("nothing was pruned, so there is no curve to draw.")
    with working("refitting along the curve"):
        problem = subsetsel.Problem.from_features(
            data.X, data.y, l2=plan.l2, device=device, size=size
        )
        solution = subsetsel.Solution(mask=mask, norm=problem.norm(mask), status="feasible")
        check = subsetsel.verify(problem, solution)
        found = record.verification
        if found is not None and abs(found["change"] - check.change) > 1e-3 * check.change:
            print_note("warning: refitted again, the head moves otherwise than the manifest says")
        search = {name: plan.search[name] for name in ("solver", "seed")}
        return measure_points(problem, solution, check, **search)
