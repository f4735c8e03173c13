"""The command report: one page about a run."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from subsetsel.cli import options as given
from subsetsel.cli.console import print_note, print_result, working
from subsetsel.cli.examples import show_look
from subsetsel.cli.interrupt import quits_at_once
from subsetsel.cli.output import check_places, is_standard
from subsetsel.cli.reading import ReadingFlags, takes_flags
from subsetsel.cli.settings import Plan, reading_again
from subsetsel.cli.stdin import STANDARD, file_of
from subsetsel.cli.verify import compare_digest
from subsetsel.errors import FileFormatError, MissingExtraError, OptionError
from subsetsel.formats import Data, Reading, read_data, read_matrix
from subsetsel.formats.ids import read_ids
from subsetsel.formats.read import ARRAY_SUFFIXES, check_suffix, read_columns
from subsetsel.report.look import Look
from subsetsel.report.manifest import Manifest
from subsetsel.support.clock import NO_CLOCK
from subsetsel.support.files import written_whole
from subsetsel.support.ids import find_places
from subsetsel.support.optional import import_extra

if TYPE_CHECKING:
    from subsetsel.problem.tradeoff import Point
    from subsetsel.report.gallery import Looks
    from subsetsel.rows.base import BoolArray


@takes_flags
def report(
    manifest: given.ManifestFile,
    data: given.DataOfPage = None,
    examples: given.Examples = None,
    image_shape: given.ImageShape = None,
    curve: given.Curve = False,
    label: given.LabelAgain = None,
    identity: given.IdentityAgain = None,
    *,
    how: ReadingFlags,
    device: given.Device = "auto",
    out: given.Page = None,
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
    record = Manifest.read(manifest)
    page = manifest.with_suffix(".html") if out is None else out
    if not is_standard(page, as_json):
        if page.suffix.lower() not in {".html", ".htm"}:
            raise OptionError(f"--out must name an .html file, got {page}.")
        check_places({"--out": page}, [manifest])
    if data is None and (curve or examples is not None or image_shape is not None):
        raise OptionError("--curve, --examples and --image-shape need the examples: --data.")
    draws = can_draw(needed=curve)
    points: list[Point] = []
    gallery = ""
    look = None if record.look is None else Look.of_record(record.look)
    if data is not None:
        again = reading_again(record, label, identity, how.labels, how.settings)
        file = file_of(data, how.file_format)
        with working(f"reading {data}"):
            known = read_data(file, again)
        mask = record.mask(known.ids)
        compare_digest(record, file, known.ids)
        gallery = _gallery(known, mask, examples, image_shape, again)
        look = show_look(known) if look is None else look
        points = _measure(record, known, mask, device) if curve else []
    remarks = [] if look is None else look.lines()
    write_page(page, record, points, gallery, draws=draws, remarks=remarks)
    if page != STANDARD:
        print_result({"files": [str(page)], "points": points}, f"wrote {page}", as_json=as_json)


def can_draw(*, needed: bool) -> bool:
    """Find out before the work whether there is a package that draws, and say what brings it."""
    try:
        import_extra("matplotlib.figure", "plots", "pictures")
    except MissingExtraError as error:
        if needed:
            raise
        print_note(f"the page is written without its plots: {error}")
        return False
    return True


def write_page(
    path: Path,
    record: Manifest,
    points: Sequence[Point],
    gallery: str,
    *,
    draws: bool = True,
    remarks: Sequence[str] = (),
) -> None:
    """Write the page about a run to a file, or to standard output for ``-``."""
    from subsetsel.report.figures import pictures_of
    from subsetsel.report.page import render_page

    pictures = pictures_of(record, points) if draws else []
    content = render_page(record, pictures=pictures, gallery=gallery, remarks=remarks)
    if path == STANDARD:
        sys.stdout.write(content)
        return
    with written_whole(path) as part:
        part.write_text(content, encoding="utf-8")


def _gallery(
    data: Data, mask: BoolArray, examples: Path | None, image_shape: str | None, how: Reading
) -> str:
    """Show kept beside pruned, if anything was said about how."""
    from subsetsel.report.gallery import render_gallery

    looks = _looks(data, examples, image_shape, how)
    if looks is None:
        return ""
    names = range(data.n) if data.ids is None else data.ids.tolist()
    return render_gallery(looks, data.y, mask, names)


def _looks(
    data: Data, examples: Path | None, image_shape: str | None, how: Reading
) -> Looks | None:
    """Find out how to show the examples; None if nothing was said about it."""
    from subsetsel.report.gallery import Looks

    if examples is not None and image_shape is not None:
        raise OptionError("give --examples or --image-shape, not both.")
    if image_shape is not None:
        shape = _shape_of(image_shape)
        if math.prod(shape) != data.num_features:
            raise OptionError(
                f"--image-shape {image_shape} means {math.prod(shape)} numbers, and an example has "
                f"{data.num_features}."
            )
        return Looks(pictures=data.X.reshape(data.n, *shape))
    if examples is None:
        return None
    if check_suffix(examples) in ARRAY_SUFFIXES:
        looks = Looks(pictures=read_matrix(examples))
    else:
        looks = Looks(texts=read_columns(examples, ["text"], how.text)[0])
    if looks.n != data.n:
        raise FileFormatError(f"{examples} shows {looks.n} examples, the data hold {data.n}.")
    names = read_ids(examples, how.identity, how.text)
    if names is None or data.ids is None:
        return looks
    return looks.take(find_places(str(examples), names, "the data", data.ids.tolist()))


def _shape_of(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(side) for side in text.lower().split("x"))
    except ValueError:
        shape = ()
    if len(shape) not in {2, 3} or min(shape, default=0) < 1:
        raise OptionError(f"--image-shape must look like 28x28 or 32x32x3, got {text!r}.")
    return shape


def _measure(record: Manifest, data: Data, mask: BoolArray, device: str) -> list[Point]:
    with quits_at_once():
        from subsetsel.guarantee.answer import load_head
        from subsetsel.guarantee.curve import measure_points
        from subsetsel.guarantee.verification import verify
        from subsetsel.problem.ask_head import ask_of_features
        from subsetsel.problem.problem import Problem
        from subsetsel.problem.solution import Solution

        load_head()
    plan = Plan.of_manifest(record)
    size = int(np.count_nonzero(mask))
    if not size:
        raise OptionError("nothing was pruned, so there is no curve to draw.")
    with working("refitting along the curve"):
        fit: dict[str, Any] = {"l2": plan.l2, "device": device}
        if data.weights is not None:
            fit["sample_weight"] = data.weights
        problem = ask_of_features(Problem, data.X, data.y, fit, NO_CLOCK, size=size)
        solution = Solution(mask=mask, norm=problem.norm(mask), status="feasible")
        check = verify(problem, solution)
        found = record.verification
        if found is not None and abs(found["change"] - check.change) > 1e-3 * check.change:
            print_note(
                "warning: refitted again, the head moves by another distance than the manifest says"
            )
        search = {name: plan.search[name] for name in ("solver", "seed")}
        return measure_points(problem, solution, check, **search)
