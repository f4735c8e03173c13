"""Compare the plan of a run over shards with what is counted: rounds, bytes, peak memory.

``python bench/plan_check.py`` runs each case in a process of its own, out of core: shards of made
rows are made again in every round and never kept. Columns: predicted by `subsetsel.engine.plan`,
measured, and measured over predicted. Rounds and bytes are counted at the seam between driver and
workers; bytes between workers do not cross it, and are not in these numbers. No time is compared:
the rates are the user's own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recording import environment, limit_threads, new_parser, typed_command, write_json, write_table

from subsetsel.engine import plan_steps
from subsetsel.engine.plan import Machines, Step
from subsetsel.engine.plan_shards import base_bytes, plan_shards
from subsetsel.engine.plan_steps import Asked
from subsetsel.shards.table import Shards, _bytes_in
from subsetsel.shards.workers import Lazy, Serial

# Mean of the made rows, so that Eq. 3 prunes a part of them.
_MEAN = 0.3


@dataclass(frozen=True)
class Case:
    """What is run: ``kind`` is one of `KINDS`; d is the number of features of a head."""

    kind: str
    n: int
    d: int
    num_shards: int
    share: float = 0.4
    num_classes: int = 0


HEADS = ("head", "prune")
CASES = (
    Case("products", 40_000, 64, 8),
    *(Case("eq3", n, d, k, 0.2) for n, d, k in ((100_000, 64, 8), (400_000, 64, 32))),
    Case("eq3", 200_000, 128, 16, 0.02),
    *(Case("eq4", n, d, k) for n, d, k in ((100_000, 64, 8), (400_000, 64, 32))),
    Case("head", 60_000, 32, 6, num_classes=5),
    Case("head", 120_000, 64, 12, num_classes=10),
    Case("head", 12_000, 256, 4, num_classes=10),
    Case("prune", 60_000, 32, 6, num_classes=5),
)
SMOKE = (
    Case("products", 600, 4, 3),
    Case("eq3", 600, 4, 3, 0.2),
    Case("eq4", 600, 4, 3),
    Case("head", 600, 4, 3, num_classes=3),
)


class Counted:
    """Workers of this process, and what crosses the seam to them."""

    num_workers = 1

    def __init__(self) -> None:
        self._inner = Serial(most_kept=0)
        self.rounds, self.bytes = 0, 0

    def hold(self, load: Callable[..., Any], sources: Sequence[tuple[Any, ...]]) -> list[Lazy]:
        """See `subsetsel.shards.workers.Workers`."""
        self.bytes += self._sent(sources)
        return self._inner.hold(load, sources)

    def run(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `subsetsel.shards.workers.Workers`."""
        found = self._inner.run(function, arguments)
        self.rounds += 1
        self.bytes += self._sent(arguments) + sum(map(_bytes_in, found))
        return found

    @staticmethod
    def _sent(arguments: Sequence[tuple[Any, ...]]) -> int:
        """Count the bytes of arguments; a handle stands for what a worker has already."""
        return sum(
            _bytes_in(value) for one in arguments for value in one if not isinstance(value, Lazy)
        )

    @contextmanager
    def counting(self, name: str, into: dict[str, Any]) -> Iterator[None]:
        """Note the rounds and bytes of a block."""
        rounds, sent = self.rounds, self.bytes
        yield
        into[name] = {"rounds": self.rounds - rounds, "bytes": self.bytes - sent}


def made_rows(k: int, length: int, d: int, mean: float) -> Any:
    """Rows of shard k; of the same distribution in every shard."""
    from subsetsel.rows.dense import DenseRows

    rng = np.random.default_rng([7, k])
    rows = rng.standard_normal((length, d), dtype=np.float32) + np.float32(mean)
    return DenseRows(rows) if length else None


def made_examples(k: int, length: int, width: int, num_classes: int) -> tuple[Any, Any]:
    """Features and labels of shard k: overlapping classes."""
    rng = np.random.default_rng([7, k])
    y = rng.integers(0, num_classes, length)
    centres = np.random.default_rng(1).standard_normal((num_classes, width))
    return (rng.standard_normal((length, width)) + centres[y]).astype(np.float32), y


def shards_of(case: Case, workers: Counted) -> Shards:
    """Hold made rows, or examples for a head."""
    cuts = np.linspace(0, case.n, case.num_shards + 1).astype(int)
    lengths = np.diff(cuts).tolist()
    last = case.num_classes if case.kind in HEADS else _MEAN * (case.kind == "eq3")
    make = made_examples if case.kind in HEADS else made_rows
    held = workers.hold(make, [(k, length, case.d, last) for k, length in enumerate(lengths)])
    return Shards(workers, held, lengths)


def measure(case: Case) -> dict[str, Any]:
    """Run one case in this process: rounds and bytes of each step, and the peak of memory."""
    workers = Counted()
    found: dict[str, Any] = {}
    KINDS[case.kind](case, workers, shards_of(case, workers), found)
    found["peak"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found


def _rows(case: Case, shards: Shards) -> Any:
    from subsetsel.rows.sharded import ShardedRows

    return ShardedRows(shards, case.d, np.float32)


def _products(case: Case, workers: Counted, shards: Shards, found: dict[str, Any]) -> None:
    rows = _rows(case, shards)
    weights: NDArray[np.float64] = np.linspace(0.5, 1.0, case.n)
    with workers.counting("dot", found):
        rows.dot(np.ones(case.d))
    with workers.counting("sum", found):
        rows.sum(weights)
    with workers.counting("take", found):
        rows.take(np.arange(0, case.n, 7))
    with workers.counting("norms of the rows", found):
        _ = rows.squared_norms


def _solve(case: Case, workers: Counted, shards: Shards, found: dict[str, Any]) -> None:
    from subsetsel.engine.solve import solve
    from subsetsel.problem.problem import Problem

    rows = _rows(case, shards)
    with workers.counting("norms of the rows", found):
        norms = rows.squared_norms
    goal: dict[str, Any] = {"size": round(case.share * case.n)}
    if case.kind == "eq3":
        # The rows share a direction: this much of their sum can go.
        goal = {"epsilon": case.share * _MEAN * np.sqrt(case.d) * case.n}
    with workers.counting("search", found):
        solution = solve(Problem(rows, **goal))
    found["solution"] = {
        "size": solution.size,
        "norm_share": solution.norm / float(np.sqrt(norms.mean() * case.n * 0.24)),
        "gap": solution.gap,
        "num_steps": solution.stats.get("num_steps"),
        "num_passes": solution.stats.get("num_passes"),
    }


def _head(case: Case, workers: Counted, shards: Shards, found: dict[str, Any]) -> None:
    from subsetsel.engine.solve import solve
    from subsetsel.guarantee.verification import verify
    from subsetsel.problem.problem import Problem

    with workers.counting("head", found):
        problem = Problem.from_features(shards, None, l2=1e-2, size=round(case.share * case.n))
    with workers.counting("norms of the rows", found):
        _ = problem.rows.squared_norms
    with workers.counting("search", found):
        solution = solve(problem)
    with workers.counting("refit and error bar", found):
        check = verify(problem, solution)
    found["solution"] = {"size": solution.size, "change": check.change}


def _prune(case: Case, workers: Counted, shards: Shards, found: dict[str, Any]) -> None:
    from subsetsel.guarantee.prune import prune
    from subsetsel.problem.problem import Problem

    with workers.counting("all", found):
        problem = Problem.from_features(shards, None, l2=1e-2, rel_epsilon=0.01)
        solution, check = prune(problem)
    sizes = len(solution.stats["curve"])
    found["solution"] = {"size": solution.size, "change": check.change, "sizes": sizes}


KINDS = {"products": _products, "eq3": _solve, "eq4": _solve, "head": _head, "prune": _prune}


def asked_of(case: Case) -> Asked:
    """Say what a case asks, as the plan does."""
    goal = "epsilon" if case.kind in {"eq3", "prune"} else "size"
    if case.kind not in HEADS:
        return Asked(case.n, case.d, case.num_shards, goal, case.share, is_held=False)
    d = (case.num_classes - 1) * (case.d + 1)
    return Asked(
        *(case.n, d, case.num_shards, goal, case.share),
        num_features=case.d,
        num_classes=case.num_classes,
        is_held=False,
    )


def predicted(case: Case, num_steps: int | None = None) -> dict[str, Any]:
    """Take rounds and bytes of the same steps, and the peak, from the formulas.

    ``num_steps`` of the graded sample are those that were counted, where they are given.
    """
    asked = asked_of(case)
    if num_steps is not None:
        asked = replace(asked, num_steps=num_steps)
    plan = plan_shards(asked, Machines(cores=1))
    if case.kind == "products":
        steps = [plan_steps.dot(asked), plan_steps.weighted_sum(asked)]
        steps += [plan_steps.take(asked, -(-case.n // 7)), plan_steps.norms(asked)]
        return {step.name: _counts(step) for step in steps}
    if case.kind == "prune":
        parts = [_counts(step) for step in plan.steps[1:]]
        peak = plan.driver_bytes + plan.worker_bytes - base_bytes(asked)
        return {"all": {key: sum(part[key] for part in parts) for key in parts[0]}, "peak": peak}
    by_name = {step.name: step for step in plan.steps}
    groups = {
        "norms of the rows": ["norms of the rows"],
        "search": ["relaxation of Eq. 3", "core of Eq. 3", "Eq. 4", "bound of Eq. 4"],
        "head": ["classes and scale", "polish of the head", "Hessian and factor"],
        "refit and error bar": ["refit and error bar"],
    }
    found: dict[str, Any] = {}
    if case.kind not in HEADS:
        del groups["head"]
    for name, members in groups.items():
        parts = [_counts(by_name[one]) for one in members if one in by_name]
        if parts:
            found[name] = {key: sum(part[key] for part in parts) for key in parts[0]}
    # One process is the driver and a worker.
    return {**found, "peak": plan.driver_bytes + plan.worker_bytes - base_bytes(asked)}


def _counts(step: Step) -> dict[str, float]:
    return {"rounds": step.rounds, "bytes": step.bytes_sent}


def compare(case: Case, measured: dict[str, Any]) -> list[dict[str, Any]]:
    """Put what was predicted beside what was measured: one line a number."""
    num_steps = measured.get("solution", {}).get("num_steps") if case.kind == "eq3" else None
    lines = []
    if num_steps is not None:
        lines.append(
            _line(case, "steps of the sample", "steps", asked_of(case).num_steps, num_steps)
        )
    for step, expected in predicted(case, num_steps).items():
        pairs = {"peak bytes": expected} if step == "peak" else expected
        for count, value in pairs.items():
            real = measured["peak"] if step == "peak" else measured[step][count]
            lines.append(_line(case, step, count, value, real))
    return lines


def _line(case: Case, step: str, count: str, value: float, real: float) -> dict[str, Any]:
    return {
        **asdict(case),
        "step": step,
        "count": count,
        "predicted": round(value),
        "measured": real,
        "ratio": round(real / value, 3) if value else "",
    }


def run(case: Case) -> dict[str, Any]:
    """Measure a case in a process of its own, whose peak of memory is that of the case."""
    command = [sys.executable, __file__, "--one", json.dumps(asdict(case))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print and write."""
    parser = new_parser(__doc__, "plan-check")
    parser.add_argument("--smoke", action="store_true", help="tiny cases, in seconds")
    parser.add_argument("--kinds", nargs="+", choices=sorted(KINDS), default=sorted(KINDS))
    parser.add_argument("--one", help="a case as JSON: measure it in this process, print JSON")
    asked = parser.parse_args(arguments)
    if asked.one is not None:
        print(json.dumps(measure(Case(**json.loads(asked.one))), default=float))
        return 0
    lines: list[dict[str, Any]] = []
    solutions: list[dict[str, Any]] = []
    for case in SMOKE if asked.smoke else CASES:
        if case.kind not in asked.kinds:
            continue
        measured = run(case)
        own = compare(case, measured)
        lines += own
        solutions.append({**asdict(case), **measured.get("solution", {})})
        for line in own:
            print(*line.values(), sep="\t", flush=True)
        print(measured.get("solution", ""), flush=True)
    write_table(asked.out / "results.csv", lines)
    about = environment(typed_command("plan_check.py", arguments), 1)
    write_json(asked.out / "env.json", {**about, "solutions": solutions})
    return 0


if __name__ == "__main__":
    limit_threads(1)
    sys.path.insert(0, str(Path(__file__).parent))
    raise SystemExit(main())
