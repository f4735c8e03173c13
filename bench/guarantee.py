r"""What the guarantee is worth: the largest verified subset of two versions, and random ones.

    python bench/guarantee.py                                         # all data sets, two epsilons
    python bench/guarantee.py --data digits cancer --rel-epsilon 0.02
    python bench/guarantee.py --old main --l2 1e-3 1e-4 1e-5 --rel-epsilon 0.01 --time-limit 60 \
        --clock processor --out FOLDER

For each data set `subsetsel.prune` finds the largest subset whose exact refit provably moves the
head by at most epsilon. With ``--old`` another version of the package does the same in the same
run, in turn, who begins changing from row to row. Each version has a process of its own with one
thread. Random subsets of the size that the working tree pruned are refitted beside it. The time,
and what the limit counts, is that of everything: training the head, S, the search and all refits;
compiling apart.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from data import SPLIT_DATA, Features, present
from heads import L2
from recording import (
    environment,
    limit_threads,
    new_parser,
    typed_command,
    write_json,
    write_table,
)
from versions import Worker, WorkerLostError, snapshot

import subsetsel

_ROOT = Path(__file__).resolve().parents[1]
# Rows with the same values of these say the same; the later one replaces the earlier one.
_KEY = ("data", "l2", "rel_epsilon", "version", "time_limit", "clock")
_HOUR = 3600.0


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Prune one data set, and refit random subsets of that size: what a worker answers.

    Parameters
    ----------
    job : dict
        ``path`` of the features, ``l2``, ``rel_epsilon``, ``time_limit``, ``num_random``.
    """
    with np.load(job["path"]) as held:
        features = Features(**held)
    test = (features.test, features.test_labels)
    started = time.perf_counter()
    solution, check = subsetsel.prune(
        features.train,
        features.train_labels,
        l2=job["l2"],
        rel_epsilon=job["rel_epsilon"],
        time_limit=job["time_limit"],
        test=test,
    )
    seconds = time.perf_counter() - started - solution.compile_time
    change, accuracy = refit_random(features, job["l2"], solution.size, job["num_random"])
    num_classes = len(np.unique(features.train_labels))
    return {
        "n": check.n,
        "d": (features.train.shape[1] + 1) * (num_classes - 1),
        "epsilon": solution.epsilon,
        "pruned": solution.size,
        "share": solution.size / check.n,
        "is_verified": check.is_verified,
        "change": check.change,
        "change_error": check.change_error,
        "predicted_kept": check.predicted_kept,
        "predicted_newton": check.predicted_newton,
        "predicted_searched": searched(solution.stats.get("curve", []), check),
        "curvature": check.curvature,
        "random_change": change,
        "random_over_change": change / check.change if check.change else float("nan"),
        "accuracy_all": check.full_accuracy,
        "accuracy_kept": check.accuracy,
        "accuracy_random": accuracy,
        "num_refits": len(solution.stats.get("curve", [])),
        "seconds": seconds,
        "compile_seconds": solution.compile_time,
        "date": time.strftime("%Y-%m-%d"),
    }


def searched(curve: list[dict[str, Any]], check: subsetsel.Verification) -> float:
    """Give what the searched rows predicted of the answer; NaN where the version is silent."""
    same = [point for point in curve if point["m"] == check.num_pruned]
    nearest = min(same, key=lambda point: abs(point["change"] - check.change), default={})
    value = nearest.get("predicted_searched")
    return float("nan") if value is None else float(value)


def refit_random(features: Features, l2: float, size: int, num_random: int) -> tuple[float, float]:
    """Refit after random subsets are pruned: the median change and the median test accuracy."""
    if not size or not num_random:
        return float("nan"), float("nan")
    problem = subsetsel.Problem.from_features(
        features.train, features.train_labels, l2=l2, size=size
    )
    test = (features.test, features.test_labels)
    rng = np.random.default_rng(0)
    checks = []
    for _ in range(num_random):
        mask = np.zeros(problem.n, dtype=np.bool_)
        mask[rng.choice(problem.n, size=size, replace=False)] = True
        checks.append(subsetsel.verify(problem, mask, test=test))
    changes, accuracies = ([getattr(c, name) for c in checks] for name in ("change", "accuracy"))
    return float(np.median(changes)), float(np.median(accuracies))


@contextmanager
def on_disk(features: Features) -> Iterator[str]:
    """Put features where both versions read the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npz"
        np.savez(path, **asdict(features))
        yield str(path)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = new_parser(__doc__, "guarantee")
    add = parser.add_argument
    add("--data", nargs="+", choices=sorted(SPLIT_DATA), default=list(SPLIT_DATA))
    add("--l2", type=float, nargs="+", default=[L2], help=f"weight decays ({L2:g})")
    add("--rel-epsilon", type=float, nargs="+", default=[0.01, 0.05], help="(0.01 0.05)")
    add("--num-random", type=int, default=5, help="random subsets (5)")
    add("--old", metavar="REVISION_OR_FOLDER", help="a version to compare with")
    add("--new", default=str(_ROOT), metavar="REVISION_OR_FOLDER", help="this checkout")
    add("--time-limit", type=float, metavar="SECONDS", help="of each search; without: none")
    add(
        "--clock",
        choices=("wall", "processor"),
        default="wall",
        help="processor: limit and seconds count processor time, for machines with other work",
    )
    return parser.parse_args(arguments)


def ask_all(
    asked: argparse.Namespace, found: dict[str, Features], workers: dict[str, Worker]
) -> Iterator[dict[str, Any]]:
    """Let every version answer every question: the rows, one after the other."""
    number = 0
    for name, features in found.items():
        with on_disk(features) as path:
            for l2 in asked.l2:
                for rel_epsilon in asked.rel_epsilon:
                    number += 1
                    for version in sorted(workers, reverse=number % 2 == 0):
                        try:
                            yield ask(asked, workers[version], (name, path, l2, rel_epsilon))
                        except WorkerLostError as error:
                            print(f"{name} l2 {l2:g} {rel_epsilon:.1%} {version}: {error}")


def ask(
    asked: argparse.Namespace, worker: Worker, question: tuple[str, str, float, float]
) -> dict[str, Any]:
    """Let one version answer one question."""
    name, path, l2, rel_epsilon = question
    is_new = worker.version.name == "new"
    job = {
        "entrant": "prune",
        "path": path,
        "l2": l2,
        "rel_epsilon": rel_epsilon,
        "time_limit": asked.time_limit,
        "num_random": asked.num_random if is_new else 0,
    }
    answer = worker.ask(job, patience=_HOUR + 10 * (asked.time_limit or 0))
    return {
        "data": name,
        "l2": l2,
        "rel_epsilon": rel_epsilon,
        "version": worker.version.name,
        "time_limit": asked.time_limit,
        "clock": asked.clock,
        "code": worker.version.code,
        **answer,
    }


def told(row: dict[str, Any]) -> str:
    """One line for one row."""
    random = row["random_change"]
    beside = f"; random {random:.4g} ({row['random_over_change']:.1f} times)"
    return (
        f"{row['data']} l2 {row['l2']:g} {row['rel_epsilon']:.1%} {row['version']}: "
        f"{row['pruned']:,} of {row['n']:,} pruned ({row['share']:.1%}), change "
        f"{row['change']:.4g} + {row['change_error']:.1g} <= {row['epsilon'] or np.nan:.4g}, "
        f"predicted {row['predicted_kept']:.4g} to first order, {row['predicted_newton']:.4g} "
        f"Newton, {row['predicted_searched']:.4g} searched; {row['num_refits']} refits, "
        f"{row['seconds']:.0f} s; accuracy {row['accuracy_kept'] or np.nan:.2%} (all "
        f"{row['accuracy_all'] or np.nan:.2%}){beside if random == random else ''}"
    )


def summary(rows: list[dict[str, Any]]) -> str:
    """Set old beside new, one line for each question, and name the questions where new has less."""
    pairs: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        question = f"{row['data']:14} {row['l2']:g} {row['rel_epsilon']:.1%}"
        pairs.setdefault(question, {})[row["version"]] = row
    lines, fewer = [], []
    for question, pair in pairs.items():
        if len(pair) < 2:
            continue
        old, new = pair["old"], pair["new"]
        lines.append(
            f"{question:28} old {old['share']:7.2%} in {old['seconds']:6.1f} s   new "
            f"{new['share']:7.2%} in {new['seconds']:6.1f} s   {new['pruned'] - old['pruned']:+,}"
        )
        if new["pruned"] < old["pruned"]:
            fewer.append(question)
    if lines:
        lines.append(f"new verifies fewer: {'; '.join(fewer) or 'nowhere'}")
    return "\n".join(lines)


def write(rows: list[dict[str, Any]], folder: Path) -> None:
    """Replace the rows of the table that were measured again, and keep its other rows.

    Raises
    ------
    ValueError
        If the table has other columns.
    """
    table = folder / "results.csv"
    old: list[dict[str, Any]] = []
    if table.exists():
        with table.open(newline="") as stream:
            old = list(csv.DictReader(stream))
    if old and list(old[0]) != list(rows[0]):
        raise ValueError(f"{table} has other columns; choose another --out.")
    new = {_key(row) for row in rows}
    write_table(table, [*(row for row in old if _key(row) not in new), *rows])


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    """Give what the row is about, as it reads in the file."""
    return tuple("" if row[name] is None else str(row[name]) for name in _KEY)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print and write; the exit status is 1 if a set is missing or not verified."""
    asked = parse_arguments(arguments)
    limit_threads(1)
    given = {name: getattr(asked, name) for name in ("old", "new") if getattr(asked, name)}
    try:
        versions = {name: snapshot(name, where) for name, where in given.items()}
    except ValueError as error:
        print(f"guarantee: {error}", file=sys.stderr)
        return 2
    about = environment(typed_command("guarantee.py", arguments), threads=1)
    about["compared"] = {name: f"{one.origin} {one.code}" for name, one in versions.items()}
    workers = {name: Worker(one, asked.clock) for name, one in versions.items()}
    found = present(asked.data)
    rows: list[dict[str, Any]] = []
    try:
        for row in ask_all(asked, found, workers):
            rows.append(row)
            write(rows, asked.out)
            write_json(asked.out / "env.json", about)
            print(told(row), flush=True)
    finally:
        for worker in workers.values():
            worker.stop()
    print(summary(rows))
    num_questions = len(found) * len(asked.l2) * len(asked.rel_epsilon)
    is_whole = len(rows) == num_questions * len(workers)
    return 0 if rows and is_whole and all(row["is_verified"] for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
