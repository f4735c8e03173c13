"""Compare all solvers on named, seeded instances: same budget, same threads, checked answers.

``python bench/compare_solvers.py`` takes a few minutes; ``--smoke`` is what CI runs. Results are
written run by run, so a comparison that was interrupted goes on with the same ``--out``.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from presets import PRESETS, Group

if TYPE_CHECKING:
    from entrant import Entrant
    from report import Reference
    from rich.console import Console
    from store import Store

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


@dataclass(frozen=True)
class Job:
    """One run to be done."""

    instance: str
    solver: str
    seed: int
    time_limit: float


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line.

    Returns
    -------
    argparse.Namespace
    """
    about = "\n".join(f"  {name:9s} {preset.about}" for name, preset in PRESETS.items())
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"presets:\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--preset", choices=list(PRESETS), default="quick")
    parser.add_argument(
        "--smoke",
        action="store_const",
        dest="preset",
        const="smoke",
        help="the same as --preset smoke",
    )
    parser.add_argument("--instances", nargs="+", metavar="NAME", help="names or patterns")
    parser.add_argument("--solvers", nargs="+", metavar="NAME", help="names or patterns")
    parser.add_argument("--seeds", type=int, metavar="NUMBER", help="how many, from 0")
    parser.add_argument("--time-limit", type=float, nargs="+", metavar="SECONDS")
    parser.add_argument("--threads", type=int, default=1, help="for every solver alike (1)")
    parser.add_argument("--data-dir", type=Path, help="where the real data are")
    parser.add_argument("--cache-dir", type=Path, help="where influence matrices are kept")
    parser.add_argument("--out", type=Path, help="folder of the results; goes on if it has some")
    parser.add_argument("--update-best-known", action="store_true")
    parser.add_argument("--list", action="store_true", help="list instances and solvers")
    given = parser.parse_args(arguments)
    if given.threads < 1 or (given.seeds is not None and given.seeds < 1):
        parser.error("--threads and --seeds must be at least 1")
    if given.time_limit and min(given.time_limit) <= 0:
        parser.error("--time-limit must be positive")
    return given


def limit_threads(count: int) -> None:
    """Give every library the same number of threads; before any of them is imported."""
    for name in _THREAD_VARIABLES:
        os.environ[name] = str(count)


def plan(given: argparse.Namespace, entrants: dict[str, Entrant]) -> Iterator[Job]:
    """List the runs, instance by instance.

    Yields
    ------
    Job
    """
    from instances import select

    groups = [_overridden(group, given) for group in PRESETS[given.preset].groups]
    if given.instances:
        groups = [replace(groups[-1], instances=tuple(given.instances))]
    planned: set[Job] = set()
    for group in groups:
        for instance in select(group.instances):
            for limit in group.time_limits:
                for name in _chosen(group.solvers, entrants):
                    num_seeds = group.num_seeds if entrants[name].is_seeded else 1
                    for seed in range(num_seeds):
                        job = Job(instance, name, seed, limit)
                        if job not in planned:
                            planned.add(job)
                            yield job


def _overridden(group: Group, given: argparse.Namespace) -> Group:
    return Group(
        group.instances,
        tuple(given.time_limit or group.time_limits),
        given.seeds or group.num_seeds,
        tuple(given.solvers or group.solvers),
    )


def _chosen(patterns: tuple[str, ...], entrants: dict[str, Entrant]) -> list[str]:
    """Names of the entrants that are meant, in the order of the registry."""
    for pattern in patterns:
        if not fnmatch.filter(entrants, pattern):
            raise ValueError(f"no solver matches {pattern!r}; there are {', '.join(entrants)}.")
    return [name for name in entrants if any(fnmatch.fnmatch(name, p) for p in patterns)]


class Comparison:
    """Works off the runs, one after another.

    Parameters
    ----------
    given : argparse.Namespace
    entrants : dict
    store : Store
    console : Console
    """

    def __init__(
        self,
        given: argparse.Namespace,
        entrants: dict[str, Entrant],
        store: Store,
        console: Console,
    ) -> None:
        self.given = given
        self.entrants = entrants
        self.store = store
        self.console = console
        self._warmed: set[str] = set()
        self._missing: set[str] = set()
        self.broken: list[str] = []

    def run(self, jobs: list[Job]) -> None:
        """Do what is not done yet.

        Raises
        ------
        KeyboardInterrupt
            On Ctrl-C; what was finished before is kept.
        """
        done = self.store.done
        todo = [
            job for job in jobs if (job.instance, job.solver, job.seed, job.time_limit) not in done
        ]
        seconds = sum(job.time_limit for job in todo)
        self.console.print(
            f"{len(todo)} runs to do, {len(jobs) - len(todo)} done before; at most "
            f"{seconds / 60:.0f} min of solving, {self.given.threads} thread(s) each"
        )
        for number, job in enumerate(todo, start=1):
            self._run_job(job, f"[{number}/{len(todo)}]")

    def _run_job(self, job: Job, counter: str) -> None:
        from data import DataMissingError
        from entrant import Budget
        from harness import run_once
        from instances import APPROXIMATE, build
        from store import best_value, read_best_known

        if job.instance in self._missing:
            return
        try:
            instance = build(job.instance, self.given.data_dir, self.given.cache_dir)
        except DataMissingError as error:
            self._missing.add(job.instance)
            self.console.print(f"{counter} {job.instance} skipped: {error}")
            return
        except Exception as error:  # the other instances are still worth their time
            self._missing.add(job.instance)
            self.broken.append(f"{job.instance} cannot be built: {type(error).__name__}: {error}")
            self.console.print(f"{counter} {self.broken[-1]}", markup=False)
            return
        self._warm_up(job.solver)
        # A subset of nearly the same S is no argument against a bound.
        is_exact = not instance.digest.startswith(APPROXIMATE)
        best = best_value(job.instance, self.store.records, read_best_known() if is_exact else {})
        budget = Budget(job.time_limit, job.seed, self.given.threads)
        record = run_once(self.entrants[job.solver], instance, budget, best)
        self.store.add(record)
        value = "nothing" if record.value is None else f"{record.value:.6g}"
        detail = record.reason if record.outcome != "ok" else f"{value} in {record.wall_time:.2f} s"
        self.console.print(
            f"{counter} {job.instance} {job.solver} seed {job.seed} {job.time_limit:g} s: "
            f"{record.outcome}, {detail}",
            highlight=False,
            markup=False,
        )

    def _warm_up(self, name: str) -> None:
        from entrants import warm_up

        entrant = self.entrants[name]
        if name in self._warmed or entrant.missing:
            return
        self._warmed.add(name)
        self.console.print(f"{name}: loaded and compiled in {warm_up(entrant):.1f} s", style="dim")


def references_of(store: Store) -> dict[str, Reference]:
    """Find what each instance's runs are measured against.

    Returns
    -------
    dict
        instance -> Reference, where any value is known.
    """
    from report import Reference
    from store import best_value, read_best_known

    best_known = read_best_known()
    found = {}
    for record in store.records:
        best = best_value(record.instance, store.records, best_known)
        if best is not None:
            found[record.instance] = Reference(best, record.random_norm or 1.0)
    return found


def conclude(given: argparse.Namespace, store: Store, console: Console, broken: list[str]) -> int:
    """Print the tables, draw the plot, and judge.

    Returns
    -------
    int
        1 if any check failed, any solver crashed or did nothing but refuse, or any instance is
        broken.
    """
    from harness import complaints
    from report import plot_quality, show_instances, show_summary
    from store import update_best_known

    references = references_of(store)
    show_instances(console, store.records, references)
    show_summary(console, store.records, references)
    if plot_quality(store.records, references, store.folder / "quality.png"):
        console.print(f"plot: {store.folder / 'quality.png'}")
    console.print(f"results: {store.folder / 'results.csv'}, traces.jsonl, env.json")
    if given.update_best_known:
        changed = update_best_known(store.records)
        console.print(f"best known values improved: {', '.join(changed) or 'none'}")
    bad = complaints(store.records) + broken
    for line in bad:
        console.print(line, style="bold red", markup=False)
    return 1 if bad else 0


def list_everything(console: Console, entrants: dict[str, Entrant]) -> None:
    """Print the listed instances and all entrants."""
    from instances import listed_names

    console.print("\n".join(listed_names()), highlight=False)
    console.print("and any <family>-<n>x<d>[-s<seed>]/<goal>; see bench/README.md\n")
    for name, entrant in entrants.items():
        console.print(f"{name:13s} {entrant.summary} {entrant.missing}", highlight=False)


def _command(arguments: list[str] | None) -> str:
    """Give the command as others can repeat it: without the folders of this machine."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for number, word in enumerate(words[:-1]):
        if word in {"--out", "--data-dir", "--cache-dir"}:
            words[number + 1] = "..."
    return " ".join(["python bench/compare_solvers.py", *words])


def main(arguments: list[str] | None = None) -> int:
    """Run a comparison.

    Returns
    -------
    int
        0 if every answer passed the checks, 1 if not, 2 for a bad command, 130 after Ctrl-C.
    """
    given = parse_arguments(arguments)
    limit_threads(given.threads)
    from entrants import all_entrants
    from harness import environment
    from rich.console import Console
    from store import Store

    console = Console(soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 160)
    entrants = all_entrants()
    if given.list:
        list_everything(console, entrants)
        return 0
    try:
        jobs = list(plan(given, entrants))
    except ValueError as error:
        print(f"compare_solvers: {error}", file=sys.stderr)
        return 2
    stamp = time.strftime("%Y%m%d-%H%M%S")
    default = Path(tempfile.gettempdir()) / "subsetsel-bench" / f"{given.preset}-{stamp}"
    store = Store(given.out or default)
    warning = store.write_environment(environment(_command(arguments), given.threads))
    if warning:
        console.print(f"warning: {warning}", style="yellow")
    comparison = Comparison(given, entrants, store, console)
    try:
        comparison.run(jobs)
    except KeyboardInterrupt:
        console.print("\ninterrupted; what is done is kept, go on with --out " + str(store.folder))
        conclude(given, store, console, comparison.broken)
        return 130
    return conclude(given, store, console, comparison.broken)


if __name__ == "__main__":
    sys.exit(main())
