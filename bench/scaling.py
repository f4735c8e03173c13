"""How cost per proposal and quality change with n and with time.

Power-law spectrum, log-normal row norms and a common drift (family ``mixed``) throughout; Eq. 3 at
20 % of ||S^T 1|| and Eq. 4 at 40 % of n. Prints a Markdown table for the documentation.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from compare_solvers import limit_threads

if TYPE_CHECKING:
    from harness import Record

_COLUMNS = (
    "n",
    "goal",
    "seconds allowed",
    "seconds used",
    "value",
    "gap to bound",
    "norm / random",
    "proposals",
    "ns per proposal",
)


def measure(
    given: argparse.Namespace, n: int, goal: str, time_limit: float
) -> tuple[Record, list[str]]:
    """Solve one instance once.

    Returns
    -------
    record : Record
    cells : list of str
        One line of the table.
    """
    from entrant import Budget
    from entrants import own_entrants
    from harness import run_once
    from instances import build

    instance = build(f"mixed-{n}x{given.d}/{goal}")
    entrant = own_entrants()[given.solver]
    record = run_once(entrant, instance, Budget(time_limit, given.seed, given.threads))
    count, seconds = record.num_iterations or 0, record.wall_time or 0.0
    cells = [
        f"{n:,}",
        goal,
        f"{time_limit:g}",
        f"{seconds:.2f}",
        "-" if record.value is None else f"{record.value:.6g}",
        "-" if record.gap is None else f"{record.gap:.4%}",
        "-" if record.norm_over_random is None else f"{record.norm_over_random:.4%}",
        f"{count:,}",
        f"{1e9 * seconds / count:.0f}" if count else "-",
    ]
    return record, cells


def main(arguments: list[str] | None = None) -> int:
    """Measure and print.

    Returns
    -------
    int
        1 if a check failed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, nargs="+", default=[5_000, 20_000, 80_000, 320_000])
    parser.add_argument("--d", type=int, default=256)
    parser.add_argument("--goals", nargs="+", default=["eps=20%", "size=40%"])
    parser.add_argument("--time-limit", type=float, nargs="+", default=[10.0])
    parser.add_argument("--solver", default="anneal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the table to this .csv file too")
    given = parser.parse_args(arguments)
    limit_threads(given.threads)
    from entrants import own_entrants, warm_up

    warm_up(own_entrants()[given.solver])
    print(f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}", flush=True)
    lines, is_good = [], True
    for n in given.n:
        for goal in given.goals:
            for limit in given.time_limit:
                record, cells = measure(given, n, goal, limit)
                is_good &= record.outcome == "ok"
                lines.append(cells)
                print(f"| {' | '.join(cells)} |", flush=True)
                if record.outcome != "ok":
                    print(f"{record.outcome}: {record.reason}", file=sys.stderr)
    if given.out:
        with given.out.open("w", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows([_COLUMNS, *lines])
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
