"""A comparison of solvers: which runs are to be done, doing them, and the verdict."""

from __future__ import annotations

import argparse
import fnmatch
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from data import DataMissingError
from entrant import Budget, Entrant
from entrants import all_entrants, warm_up
from harness import Record, complaints, run_once
from instances import APPROXIMATE, Instance, build, listed_names, select
from presets import PRESETS, Group
from recording import environment
from report import Reference, plot_quality, show_instances, show_summary
from rich.console import Console
from store import Store, best_value, read_best_known, update_best_known


@dataclass(frozen=True)
class Job:
    """One run to be done."""

    instance: str
    solver: str
    seed: int
    time_limit: float


def plan(given: argparse.Namespace, entrants: dict[str, Entrant]) -> Iterator[Job]:
    """List the runs, instance by instance."""
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
    """Does the runs, one after another, and collects the instances that cannot be built."""

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
        """Do what is not done yet; after Ctrl-C the finished runs are on disk."""
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
        instance = self._build(job.instance, counter)
        if instance is None:
            return
        self._warm_up(job.solver)
        # A subset of nearly the same S is no argument against a bound.
        is_exact = not instance.digest.startswith(APPROXIMATE)
        best = best_value(job.instance, self.store.records, read_best_known() if is_exact else {})
        budget = Budget(job.time_limit, job.seed, self.given.threads, self.given.tight_bound)
        record = run_once(self.entrants[job.solver], instance, budget, best)
        self.store.add(record)
        self._say(
            f"{counter} {job.instance} {job.solver} seed {job.seed} {job.time_limit:g} s: "
            f"{record.outcome}, {_detail(record)}"
        )

    def _build(self, name: str, counter: str) -> Instance | None:
        if name in self._missing:
            return None
        try:
            return build(name, self.given.data_dir, self.given.cache_dir)
        except DataMissingError as error:
            self._say(f"{counter} {name} skipped: {error}")
        except Exception as error:  # the other instances are still worth their time
            self.broken.append(f"{name} cannot be built: {type(error).__name__}: {error}")
            self._say(f"{counter} {self.broken[-1]}")
        self._missing.add(name)
        return None

    def _warm_up(self, name: str) -> None:
        entrant = self.entrants[name]
        if name in self._warmed or entrant.missing:
            return
        self._warmed.add(name)
        self.console.print(f"{name}: loaded and compiled in {warm_up(entrant):.1f} s", style="dim")

    def _say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False)


def _detail(record: Record) -> str:
    if record.outcome != "ok":
        return record.reason
    value = "nothing" if record.value is None else f"{record.value:.6g}"
    return f"{value} in {record.wall_time:.2f} s"


def references_of(store: Store) -> dict[str, Reference]:
    """Find what each instance's runs are measured against, where any value is known."""
    best_known = read_best_known()
    found = {}
    for record in store.records:
        best = best_value(record.instance, store.records, best_known)
        if best is not None:
            found[record.instance] = Reference(best, record.random_norm or 1.0)
    return found


def conclude(given: argparse.Namespace, store: Store, console: Console, broken: list[str]) -> int:
    """Print the tables, draw the plot where it is asked for, and judge.

    Returns
    -------
    int
        1 if any check failed, any solver crashed or did nothing but refuse, or any instance is
        broken.
    """
    references = references_of(store)
    show_instances(console, store.records, references)
    show_summary(console, store.records, references)
    if given.plot and plot_quality(store.records, references, store.folder / "quality.png"):
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
    console.print("\n".join(listed_names()), highlight=False)
    console.print("and any <family>-<n>x<d>[-s<seed>]/<goal>; see bench/README.md\n")
    for name, entrant in entrants.items():
        console.print(f"{name:13s} {entrant.summary} {entrant.missing}", highlight=False)


def compare(given: argparse.Namespace, command: str) -> int:
    """Do what the command line asks for and return the exit status."""
    is_terminal = sys.stdout.isatty()
    console = Console(soft_wrap=not is_terminal, width=None if is_terminal else 160)
    entrants = all_entrants()
    if given.list:
        list_everything(console, entrants)
        return 0
    stamp = time.strftime("%Y%m%d-%H%M%S")
    default = Path(tempfile.gettempdir()) / "subsetsel-bench" / f"{given.preset}-{stamp}"
    try:
        jobs = list(plan(given, entrants))
        store = Store(given.out or default)
    except ValueError as error:
        print(f"compare_solvers: {error}", file=sys.stderr)
        return 2
    warning = store.write_environment(environment(command, given.threads))
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
