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
from subsetsel.cli.interrupt import quits_at_once
from subsetsel.cli.output import is_standard
from subsetsel.cli.settings import Plan, reading_again, unusual
from subsetsel.cli.stdin import STANDARD, file_of
from subsetsel.errors import FileFormatError, OptionError
from subsetsel.formats import Data, Text, read_data, read_matrix
from subsetsel.formats.read import ARRAY_SUFFIXES, check_suffix, read_columns
from subsetsel.report.manifest import Manifest
from subsetsel.support.clock import NO_CLOCK
from subsetsel.support.files import written_whole

if TYPE_CHECKING:
    from subsetsel.problem.tradeoff import Point
    from subsetsel.report.gallery import Looks
    from subsetsel.rows.base import BoolArray


def report(
    manifest: given.ManifestFile,
    data: given.DataOfPage = None,
    examples: given.Examples = None,
    image_shape: given.ImageShape = None,
    curve: given.Curve = False,
    label: given.LabelAgain = None,
    identity: given.IdentityAgain = None,
    features: given.Features = None,
    drop: given.Drop = None,
    weight: given.Weight = None,
    labels: given.Labels = None,
    keep_na: given.KeepNa = False,
    delimiter: given.Delimiter = None,
    decimal: given.Decimal = ".",
    encoding: given.Encoding = "utf-8",
    file_format: given.Format = None,
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
    from subsetsel.report.gallery import render_gallery

    record = Manifest.read(manifest)
    page = manifest.with_suffix(".html") if out is None else out
    to_stdout = is_standard(page, as_json)
    if not to_stdout and page.suffix.lower() not in {".html", ".htm"}:
        raise OptionError(f"--out must name an .html file, got {page}.")
    if data is None and (curve or examples is not None or image_shape is not None):
        raise OptionError("--curve, --examples and --image-shape need the examples: --data.")
    points: list[Point] = []
    gallery = ""
    if data is not None:
        text = {"delimiter": delimiter, "decimal": decimal, "encoding": encoding}
        reading = unusual(features=features, drop=drop, weight=weight, keep_na=keep_na, **text)
        how = reading_again(record, label, identity, labels, reading)
        known = read_data(file_of(data, file_format), how)
        mask = record.mask(known.ids)
        looks = _looks(known, examples, image_shape, how.text)
        if looks is not None:
            names = range(known.n) if known.ids is None else known.ids.tolist()
            gallery = render_gallery(looks, known.y, mask, names)
        points = _measure(record, known, mask, device) if curve else []
    write_page(page, record, points, gallery)
    if not to_stdout:
        print_result({"files": [str(page)], "points": points}, f"wrote {page}", as_json=as_json)


def write_page(path: Path, record: Manifest, points: Sequence[Point], gallery: str) -> None:
    """Write the page about a run to a file, or to standard output for ``-``."""
    from subsetsel.report.figures import pictures_of
    from subsetsel.report.page import render_page

    content = render_page(record, pictures=pictures_of(record, points), gallery=gallery)
    if path == STANDARD:
        sys.stdout.write(content)
        return
    with written_whole(path) as part:
        part.write_text(content, encoding="utf-8")


def _looks(data: Data, examples: Path | None, image_shape: str | None, text: Text) -> Looks | None:
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
        looks = Looks(texts=read_columns(examples, ["text"], text)[0])
    if looks.n != data.n:
        raise FileFormatError(f"{examples} shows {looks.n} examples, the data hold {data.n}.")
    return looks


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
