"""Whether float32 rows cost anything: the same question asked of S in float32 and in float64.

Both hold the same numbers; only the arithmetic of the solver differs. Stopped by the solver's own
work budget unless a time limit is given.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from compare_solvers import limit_threads


def main(arguments: list[str] | None = None) -> int:
    """Compare both types on each instance.

    Returns
    -------
    int
        1 if two sizes differ by more than one example.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", nargs="+", default=["digits/*"])
    parser.add_argument("--solver", default="anneal")
    parser.add_argument("--time-limit", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--cache-dir", type=Path)
    given = parser.parse_args(arguments)
    limit_threads(given.threads)
    import numpy as np
    from entrants import as_problem
    from instances import build, select

    import subsetsel

    worst = 0
    for name in select(given.instances):
        question = build(name, given.data_dir, given.cache_dir).question
        answers = [
            subsetsel.solve(
                as_problem(replace(question, S=question.S.astype(dtype, copy=False))),
                solver=given.solver,
                time_limit=given.time_limit,
                seed=given.seed,
                num_workers=given.threads,
            )
            for dtype in (np.float32, np.float64)
        ]
        single, double = answers
        worst = max(worst, abs(single.size - double.size))
        print(
            f"{name}: size {single.size:,} in float32, {double.size:,} in float64; norm "
            f"{single.norm:.6g}, {double.norm:.6g}; bound {single.bound}, {double.bound}; "
            f"{single.solve_time:.1f} s, {double.solve_time:.1f} s",
            flush=True,
        )
    return 1 if worst > 1 else 0


if __name__ == "__main__":
    sys.exit(main())
