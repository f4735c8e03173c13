"""How far a call runs past its time limit: every solver, every kind of call, several limits.

    python bench/overshoot.py                          # all of it, on a machine as it is
    python bench/overshoot.py --busy 2                 # beside two trainings of one thread each
    python bench/overshoot.py --calls prune-small --solvers cpsat exact --limits 2

Each call runs in a process of its own that has loaded the package before; what a solver loads or
compiles (`Solution.compile_time`) is taken off. A call that is ``--patience`` seconds late is
killed. "Late" is what goes beyond 5 % of the limit and half a second, for each point of a path.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from recording import (
    THREAD_VARIABLES,
    environment,
    limit_threads,
    new_parser,
    typed_command,
    write_json,
    write_table,
)

SOLVERS = ("anneal", "greedy", "relax", "cpsat", "exact")
# What the exact solvers hold, what fits CLARABEL, and what is large for the others.
_SHAPES = {"relax": (2000, 40), "cpsat": (300, 20), "exact": (300, 20)}
_LARGE = (20_000, 256)
_NUM_POINTS = 3
_START_PATIENCE = 180.0


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = new_parser(__doc__, "overshoot")
    parser.add_argument("--calls", nargs="+", choices=sorted(CALLS), default=list(CALLS))
    parser.add_argument("--solvers", nargs="+", default=SOLVERS)
    parser.add_argument("--limits", nargs="+", type=float, default=[0.5, 2.0, 10.0])
    parser.add_argument("--threads", type=int, default=1, help="of BLAS and OpenMP; 0 for theirs")
    parser.add_argument("--busy", type=int, default=0, help="processes that work beside the call")
    parser.add_argument("--busy-with", choices=["training", "products"], default="training")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds late until a kill")
    parser.add_argument("--label", default="idle", help="name of the files of the results")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    return parser.parse_args()


# --- the calls ----------------------------------------------------------------------------------


@cache
def influence(solver: str) -> Any:
    """Rows with a common drift, as many as are usual for the solver."""
    import numpy as np

    n, d = _SHAPES.get(solver, _LARGE)
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, d)) + 0.1 * rng.normal(size=d)


def labelled(n: int, num_features: int, num_classes: int) -> tuple[Any, Any]:
    """Features around a centre for each class, at random, and the classes."""
    import numpy as np

    rng = np.random.default_rng(0)
    labels = np.arange(n) % num_classes
    centres = rng.normal(size=(num_classes, num_features))
    return centres[labels] + rng.normal(size=(n, num_features)), labels


def solve_rows(solver: str, limit: float, **question: Any) -> Any:
    """Ask one question of S."""
    import subsetsel

    return subsetsel.solve(influence(solver), solver=solver, time_limit=limit, **question)


@cache
def epsilon_of(solver: str) -> float:
    """Give a fifth of ||S^T 1||, where Eq. 3 is neither empty nor trivial."""
    import numpy as np

    return 0.2 * float(np.linalg.norm(influence(solver).sum(axis=0)))


def solve_groups(solver: str, limit: float) -> Any:
    """Prune two fifths of S, with quotas of eight groups."""
    n = _SHAPES.get(solver, _LARGE)[0]
    limits = dict.fromkeys(range(8), (n // 40, n // 16))
    groups = [i % 8 for i in range(n)]
    size = 2 * n // 5
    return solve_rows(solver, limit, size=size, groups=groups, group_limits=limits)


def solve_rows_of_reals(solver: str, limit: float) -> Any:
    """Prune 150 of 500 under twelve constraints with real coefficients and narrow limits."""
    import numpy as np

    import subsetsel

    rng = np.random.default_rng(1)
    A, hidden = rng.normal(size=(12, 500)), np.arange(500) % 10 < 3
    constraints = [(row, row @ hidden - 1e-3, row @ hidden + 1e-3) for row in A]
    S = rng.normal(size=(500, 10)) + 0.1
    return subsetsel.solve(
        S, solver=solver, time_limit=limit, size=int(hidden.sum()), constraints=constraints
    )


def follow_path(solver: str, limit: float) -> Any:
    """Three sizes; the limit is that of each, and here shared out among them."""
    import subsetsel

    S = influence(solver)
    sizes = [len(S) * share // 10 for share in range(1, 2 * _NUM_POINTS, 2)]
    found = list(subsetsel.path(S, sizes=sizes, solver=solver, time_limit=limit / _NUM_POINTS))
    return replace(found[-1], compile_time=sum(point.compile_time for point in found))


def prune_labelled(solver: str, limit: float, shape: tuple[int, int, int]) -> Any:
    """Find the largest verified set, from features on."""
    import subsetsel

    X, y = labelled(*shape)
    return subsetsel.prune(X, y, l2=1e-2, rel_epsilon=0.05, solver=solver, time_limit=limit)[0]


CALLS: dict[str, Callable[[str, float], Any]] = {
    "eq3": lambda s, t: solve_rows(s, t, epsilon=epsilon_of(s)),
    "eq3-tight": lambda s, t: solve_rows(s, t, epsilon=epsilon_of(s), bound="tight"),
    "eq3-kept": lambda s, t: solve_rows(s, t, epsilon=epsilon_of(s), normalization="kept"),
    "eq4": lambda s, t: solve_rows(s, t, fraction=0.4),
    "groups": solve_groups,
    "reals": solve_rows_of_reals,
    "path": follow_path,
    "prune-small": lambda s, t: prune_labelled(s, t, (150, 6, 3)),
    "prune-classes": lambda s, t: prune_labelled(s, t, (900, 40, 300)),
    "prune-large": lambda s, t: prune_labelled(s, t, (20_000, 16, 26)),
}
# A solver that refuses so many examples outright has no time to keep.
_REFUSED = {
    ("prune-large", "relax"),
    ("prune-large", "cpsat"),
    ("prune-large", "exact"),
}


# --- the measured process -----------------------------------------------------------------------


def work(task: dict[str, Any]) -> None:
    """Be the measured process: load the package, then time one call for each limit."""
    import warnings

    import subsetsel
    import subsetsel.influence  # noqa: F401  with torch
    from subsetsel import path, prune, solve  # noqa: F401  they are imported on first use

    warnings.simplefilter("ignore")
    call = CALLS[task["call"]]
    epsilon_of(task["solver"])
    print("ready", flush=True)
    for limit in task["limits"]:
        started = time.perf_counter()
        try:
            found = call(task["solver"], limit)
        except subsetsel.SubsetselError as error:
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
            continue
        wall = time.perf_counter() - started
        # Each point of a path has a limit of its own, and half a second of its own.
        allowed = 0.05 * limit + 0.5 * (_NUM_POINTS if task["call"] == "path" else 1)
        over = wall - found.compile_time - limit
        answer = {
            "wall_time": round(wall, 3),
            "compile_time": round(found.compile_time, 3),
            "over": round(over, 3),
            "late": round(max(0.0, over - allowed), 3),
            "size": found.size,
            "status": found.status,
            "stopped_by": found.limit or "",
        }
        print(json.dumps(answer), flush=True)


def measure(given: argparse.Namespace, call: str, solver: str) -> Iterator[dict[str, Any]]:
    """Time one call of one solver for each limit; a new process after a kill."""
    left = list(given.limits)
    while left:
        task = {"call": call, "solver": solver, "limits": left}
        threads = dict.fromkeys(THREAD_VARIABLES, str(given.threads)) if given.threads else {}
        with start(["--task", json.dumps(task)], threads) as process:
            lines = read_lines(process)
            patience = _START_PATIENCE
            if next_line(lines, patience) != "ready\n":
                raise RuntimeError(f"the process of {call} with {solver} did not start.")
            while left:
                limit = left.pop(0)
                allowed = limit + given.patience
                text = next_line(lines, allowed)
                is_first = {"call": call, "solver": solver, "time_limit": limit}
                if not text:
                    lost = "killed" if text is None else "crashed"
                    over = given.patience if lost == "killed" else ""
                    yield {**is_first, "over": over, "late": over, "status": lost}
                    break
                yield {**is_first, **json.loads(text)}


@contextlib.contextmanager
def start(arguments: Sequence[str], variables: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run this script in a process of its own, which ends with the block."""
    with subprocess.Popen(
        [sys.executable, __file__, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_lines(process: subprocess.Popen[str]) -> queue.Queue[str]:
    """Collect what a process prints, so that waiting for it can end."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    return lines


def next_line(lines: queue.Queue[str], patience: float) -> str | None:
    """Wait for a line; None where none comes in time, an empty one where the process has ended."""
    try:
        return lines.get(timeout=patience)
    except queue.Empty:
        return None


def be_busy(what: str) -> None:
    """Use one core until killed: train a small network, or multiply matrices."""
    limit_threads(1)
    import numpy as np

    if what == "products":
        A = np.random.default_rng(0).normal(size=(400, 400))
        while True:
            A @ A
    import torch

    torch.set_num_threads(1)
    network = torch.nn.Sequential(
        torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10)
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    X, y = torch.randn(256, 64), torch.randint(10, (256,))
    while True:
        optimizer.zero_grad()
        torch.autograd.backward(torch.nn.functional.cross_entropy(network(X), y))
        optimizer.step()


# --- the table ----------------------------------------------------------------------------------

_COLUMNS = (
    *("call", "solver", "time_limit", "wall_time", "compile_time", "over", "late"),
    *("size", "status", "stopped_by", "load", "error"),
)


def completed(row: dict[str, Any]) -> dict[str, Any]:
    """Give a row all columns, in order."""
    row = {**row, "load": round(os.getloadavg()[0], 2)}
    return {name: row.get(name, "") for name in _COLUMNS}


def readable(row: dict[str, Any]) -> str:
    """Put a row into one line for the screen."""
    mark = "  LATE" if row["late"] else ""
    return (
        f"{row['call']:14s} {row['solver']:7s} {row['time_limit']:5g} s  over {row['over']!s:>8s}"
        f"  {row['status']:10s} {row['size']!s:>6s}  {row['stopped_by']:11s}"
        f" load {row['load']:5.2f}{mark}  {row['error'][:60]}"
    )


def main() -> int:
    """Measure, be the measured process, or keep a core busy."""
    given = parse_arguments()
    if given.task in {"training", "products"}:
        be_busy(given.task)
    if given.task:
        work(json.loads(given.task))
        return 0
    rows = []
    path = given.out / f"{given.label}.csv"
    about = environment(typed_command("overshoot.py"), given.threads)
    with contextlib.ExitStack() as stack:
        for _ in range(given.busy):
            stack.enter_context(start(["--task", given.busy_with], {}))
        for call in given.calls:
            for solver in given.solvers:
                if (call, solver) in _REFUSED:
                    continue
                for row in measure(given, call, solver):
                    rows.append(completed(row))
                    print(readable(rows[-1]), flush=True)
                    write_table(path, rows)
    write_json(path.with_suffix(".json"), about)
    num_late = sum(bool(row["late"]) for row in rows)
    worst = max((row["over"] for row in rows if row["over"] != ""), default=0.0)
    print(f"{num_late} of {len(rows)} calls were late; the worst ended {worst:g} s after its limit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
