"""Make the pictures of the documentation: python docs/screenshots.py.

The terminal is drawn by rich from what the commands really print; the page about a run is looked at
by a real browser without a window: Chromium or Chrome, found on PATH (`apt-get install chromium`).
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.text import Text
from sklearn.datasets import load_digits

PICTURES = Path(__file__).parent / "pictures"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTH, HEIGHT, COLUMNS = 1150, 2180, 114

COMMANDS = (
    "subsetsel prune digits.npz --l2 1e-3 --rel-epsilon 0.05 --test test.npz --out pruned.npz",
    "subsetsel verify pruned.npz --data digits.npz",
    "subsetsel report pruned.manifest.json --data digits.npz --image-shape 8x8 --curve",
)


def main() -> None:
    """Run the commands in a folder of their own, and draw what they print and write."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        X, y = load_digits(return_X_y=True)
        np.savez(folder / "digits.npz", X=X[:1437] / 16, y=y[:1437])
        np.savez(folder / "test.npz", X=X[1437:] / 16, y=y[1437:])
        draw_terminal(COMMANDS, folder, PICTURES / "terminal.svg")
        photograph(folder / "pruned.manifest.html", PICTURES / "report.png")


def draw_terminal(commands: tuple[str, ...], folder: Path, target: Path) -> None:
    """Run commands and draw the terminal as SVG, without fonts from elsewhere."""
    # The command that belongs to this interpreter.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    for command in commands:
        done = subprocess.run(
            command.split(),
            cwd=folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")), highlight=False)
        console.print(Text(done.stdout))
    svg = console.export_svg(title="subsetsel")
    target.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S), encoding="utf-8")
    print(f"wrote {target}")


def photograph(page: Path, target: Path) -> None:
    """Let a browser without a window draw a page, and keep the picture small."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"no browser found (tried {', '.join(BROWSERS)}); apt-get install chromium")
    raw = page.with_suffix(".png")
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    subprocess.run(
        [
            *(browser, "--headless", *sandbox, "--disable-gpu", "--hide-scrollbars"),
            *(f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={raw}", page.as_uri()),
        ],
        check=True,
        capture_output=True,
    )
    with Image.open(raw) as image:
        image.convert("RGB").quantize(64).save(target, optimize=True)
    print(f"wrote {target}: {target.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
