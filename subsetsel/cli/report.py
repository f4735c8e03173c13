"""The command report: one page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from subsetsel.cli import options as given
from subsetsel.cli.console import print_text
from subsetsel.errors import OptionError
from subsetsel.formats import read_data
from subsetsel.report.files import written_whole
from subsetsel.report.manifest import Manifest


def report(
    manifest: Annotated[Path, typer.Argument(help="What --out left beside the subset (.json).")],
    data: Annotated[
        Path | None, typer.Option(help="The examples, to show kept and pruned of each class.")
    ] = None,
    label: given.Label = "y",
    identity: given.Identity = "id",
    out: Annotated[
        Path | None, typer.Option(help="The page; beside the manifest if left out.")
    ] = None,
) -> None:
    """Write one self-contained HTML page about a run.

    \b
    Examples:
      subsetsel report pruned.manifest.json
      subsetsel report pruned.manifest.json --data data.npz --out report.html
    """
    from subsetsel.report.page import render_page

    record = Manifest.read(manifest)
    page = manifest.with_suffix(".html") if out is None else out
    if page.suffix.lower() not in {".html", ".htm"}:
        raise OptionError(f"--out must name an .html file, got {page}.")
    figures = []
    if data is not None:
        from subsetsel.report.plots import draw_classes, new_figure

        examples = read_data(data, label=label, identity=identity)
        figure, (axes,) = new_figure(1, "Kept and pruned examples of each class")
        draw_classes(axes, examples.y, record.mask(examples.ids))
        figures.append(figure)
    with written_whole(page) as part:
        part.write_text(render_page(record, figures=figures), encoding="utf-8")
    print_text(f"wrote {page}")
