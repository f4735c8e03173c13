"""The option `--kept`: what is kept, in the format it came in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

KeptRows = Annotated[
    Path | None,
    typer.Option(
        "--kept",
        help="Where to write what is kept: .txt for the list of ids (indices where there are "
        "none), or the format of the data, with all its columns.",
    ),
]
