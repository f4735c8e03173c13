"""Time a newcomer's path: fresh clone to a verified pruning of one's own file, in three commands.

python bench/newcomer.py

Clones this repository into a folder of its own, writes an .npz there as a user might bring it
(1,437 of scikit-learn's digits), and runs the three commands of the README with nothing compiled
and nothing cached but pip's downloads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

ROOT = Path(__file__).parents[1]
COMMANDS = (
    f"{sys.executable} -m venv .venv",
    ".venv/bin/pip install --quiet -c constraints.txt .",
    ".venv/bin/subsetsel prune data.npz --l2 1e-3 --rel-epsilon 0.05 --out pruned.npz",
)


def main() -> None:
    """Run the path and print what it took."""
    with tempfile.TemporaryDirectory() as name:
        clone = Path(name, "subsetsel")
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        X, y = load_digits(return_X_y=True)
        np.savez(clone / "data.npz", X=X[:1437] / 16, y=y[:1437])
        kept = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA")}
        base = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
        in_all = 0.0
        for command in COMMANDS:
            words = command.split()
            if words[0] == sys.executable and base.exists():
                words[0] = str(base)
            begin = time.perf_counter()
            subprocess.run(words, cwd=clone, env=kept, check=True, stdout=subprocess.DEVNULL)
            took = time.perf_counter() - begin
            in_all += took
            print(f"{took:6.1f} s  {command.replace(sys.executable, 'python3')}", flush=True)
        manifest = json.loads((clone / "pruned.manifest.json").read_text())
        check = manifest["verification"]
        print(
            f"{in_all:6.1f} s  in all; {check['num_pruned']} of {check['n']} pruned, verified: "
            f"{check['is_verified']}"
        )


if __name__ == "__main__":
    main()
