"""Compare all solvers on named, seeded instances: same budget, same threads, checked answers.

``python bench/compare_solvers.py`` takes a few minutes; ``--smoke`` is what CI runs. Results are
written run by run, so a comparison that was interrupted goes on with the same ``--out``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from presets import PRESETS
from recording import limit_threads, typed_command


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    about = "\n".join(f"  {name:9s} {preset.about}" for name, preset in PRESETS.items())
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"presets:\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--preset", choices=list(PRESETS), default="quick")
    add("--smoke", action="store_const", dest="preset", const="smoke", help="--preset smoke")
    add("--instances", nargs="+", metavar="NAME", help="names or patterns")
    add("--solvers", nargs="+", metavar="NAME", help="names or patterns")
    add("--seeds", type=int, metavar="NUMBER", help="how many, from 0")
    add("--time-limit", type=float, nargs="+", metavar="SECONDS")
    add("--threads", type=int, default=1, help="for every solver alike (1)")
    add("--tight-bound", action="store_true", help="the second bound on Eq. 3 too, in the limit")
    add("--data-dir", type=Path, help="where the real data are")
    add("--cache-dir", type=Path, help="where influence matrices are kept")
    add("--out", type=Path, help="folder of the results; goes on if it has some")
    add("--plot", action="store_true", help="draw quality over time into quality.png")
    add("--update-best-known", action="store_true")
    add("--list", action="store_true", help="list instances and solvers")
    given = parser.parse_args(arguments)
    if given.threads < 1 or (given.seeds is not None and given.seeds < 1):
        parser.error("--threads and --seeds must be at least 1")
    if given.time_limit and min(given.time_limit) <= 0:
        parser.error("--time-limit must be positive")
    return given


def main(arguments: list[str] | None = None) -> int:
    """Run a comparison.

    Returns
    -------
    int
        0 if every answer passed the checks, 1 if not, 2 for a bad command, 130 after Ctrl-C.
    """
    given = parse_arguments(arguments)
    limit_threads(given.threads)
    # NumPy and the libraries under it are loaded here, with their number of threads set.
    from comparison import compare

    return compare(given, typed_command("compare_solvers.py", arguments))


if __name__ == "__main__":
    sys.exit(main())
