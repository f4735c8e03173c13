"""Report coverage of the core and the solvers, and fail below 95 % of lines or 90 % of branches."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOMS = ("support", "rows", "problem", "bounds", "engine", "guarantee")
CORE = ",".join(["subsetsel/*.py", *(f"subsetsel/{room}/*.py" for room in ROOMS), "solvers/*.py"])
FLOOR = {"lines": 95.0, "branches": 90.0}


def main() -> int:
    """Print the table and both shares."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "coverage.json")
        arguments = [f"--include={CORE}", "--ignore-errors"]
        run("report", "--show-missing", "--skip-covered", *arguments)
        run("json", "--quiet", "-o", str(path), *arguments)
        totals = json.loads(path.read_text())["totals"]
    shares = {
        "lines": 100 * totals["covered_lines"] / totals["num_statements"],
        "branches": 100 * totals["covered_branches"] / totals["num_branches"],
    }
    for name, share in shares.items():
        print(f"{name}: {share:.2f} % of the core and the solvers (at least {FLOOR[name]:g})")
    return any(share < FLOOR[name] for name, share in shares.items())


def run(*arguments: str) -> None:
    """Call coverage."""
    subprocess.run([sys.executable, "-m", "coverage", *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main())
