"""Compare two versions of the default solver on drawn instances, in one run on one machine.

``python bench/against.py --old main --set training --out FOLDER`` compares the working tree with
main. Each version runs in a process of its own with one thread, in turn, on the same S. Rows are
written run by run: the same command with the same ``--out`` goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recording import limit_threads, typed_command

if TYPE_CHECKING:
    from harness import Record
    from instances import Instance
    from store import Store
    from versions import Worker

_PEERS = ("greedy", "herding", "anneal-plain")
_ROOT = Path(__file__).resolve().parents[1]


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--old", required=True, metavar="REVISION_OR_FOLDER")
    add("--new", default=str(_ROOT), metavar="REVISION_OR_FOLDER", help="this checkout")
    add(
        "--set",
        nargs="+",
        default=["training"],
        help="training, test:SEED:COUNT, or names of instances",
    )
    add("--limit", type=float, default=10.0, metavar="SECONDS", help="of each run (10)")
    add("--seeds", type=int, default=1, metavar="NUMBER", help="of the solver, from 0 (1)")
    add("--peers", action="store_true", help=f"also {', '.join(_PEERS)}, once, of the old version")
    add(
        "--clock",
        choices=("wall", "processor"),
        default="wall",
        help="processor: the limit counts processor time, for machines with other work on them",
    )
    add("--jobs", type=int, default=1, help="instances at the same time (1)")
    add("--data-dir", type=Path, help="where the real data are")
    add("--cache-dir", type=Path, help="where influence matrices are kept")
    add("--out", type=Path, required=True, help="folder of the results; goes on if it has some")
    given = parser.parse_args(arguments)
    if given.limit <= 0 or given.seeds < 1 or given.jobs < 1:
        parser.error("--limit must be positive, --seeds and --jobs at least 1")
    return given


class Match:
    """The two versions, the folder of results, and who writes when."""

    def __init__(self, given: argparse.Namespace, store: Store) -> None:
        self.given = given
        self.store = store
        self.broken: list[str] = []
        self.is_over = False
        self._building = threading.Lock()
        self._writing = threading.Lock()

    def jobs(self, number: int) -> list[tuple[str, str, int]]:
        """List (label, entrant, seed) of one instance; who begins changes from run to run."""
        found = []
        for seed in range(self.given.seeds):
            pair = [("old", "anneal", seed), ("new", "anneal", seed)]
            found += pair if (number + seed) % 2 == 0 else pair[::-1]
        if self.given.peers:
            found += [(peer, peer, 0) for peer in _PEERS]
        return found

    def play(self, numbered: tuple[int, str], workers: dict[str, Worker]) -> None:
        """Do all runs of one instance that are not in the folder yet."""
        number, name = numbered
        limit = self.given.limit
        todo = [
            job for job in self.jobs(number) if (name, job[0], job[2], limit) not in self.store.done
        ]
        if not todo:
            return
        try:
            with self._building:
                instance = self._build(name)
        except Exception as error:  # the other instances are still worth their time
            self.broken.append(f"{name} cannot be built: {type(error).__name__}: {error}")
            print(self.broken[-1], flush=True)
            return
        with _on_disk(instance) as task:
            for label, entrant, seed in todo:
                if self.is_over:
                    return
                worker = workers["new" if label == "new" else "old"]
                record = self._run(worker, {**task, "entrant": entrant, "seed": seed}, instance)
                record.solver = label
                if self.is_over:
                    return
                with self._writing:
                    self.store.add(record)
                print(_told(record), flush=True)

    def _build(self, name: str) -> Instance:
        from instances import build

        return build(name, self.given.data_dir, self.given.cache_dir)

    def _run(self, worker: Worker, job: dict[str, Any], instance: Instance) -> Record:
        """Run a job; a worker that is lost is a row too."""
        from harness import Record
        from versions import WorkerLostError

        limit = self.given.limit
        try:
            answer = worker.ask({**job, "time_limit": limit}, patience=300 + 10 * limit)
            return Record(**answer)
        except WorkerLostError as error:
            question = instance.question
            n, d = question.S.shape
            return Record(
                instance.name,
                job["entrant"],
                job["seed"],
                limit,
                form=question.form,
                n=n,
                d=d,
                outcome="error",
                reason=str(error),
            )


@contextmanager
def _on_disk(instance: Instance) -> Iterator[dict[str, Any]]:
    """Put S where both versions read the same bytes, and say what else they are told."""
    import numpy as np

    question = instance.question
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "S.npy"
        np.save(path, question.S)
        yield {
            "name": instance.name,
            "path": str(path),
            "epsilon": question.epsilon,
            "size": question.size,
            "normalization": question.normalization,
            "facts": {
                "digest": instance.digest,
                "total_norm": instance.total_norm,
                "random_norm": instance.random_norm,
                "known": instance.known,
                "is_optimum": instance.is_optimum,
            },
        }


def _told(record: Record) -> str:
    value = "nothing" if record.value is None else f"{record.value:.6g}"
    return (
        f"{record.instance} {record.solver} seed {record.seed}: {record.outcome}, {value} in "
        f"{record.wall_time or 0:.1f} s ({record.cpu_time or 0:.1f} s of processor) "
        f"{record.reason}"
    )


def _play_all(match: Match, names: list[str], versions: dict[str, Any]) -> None:
    """Share the instances out among lanes; each has a worker of both versions."""
    from versions import Worker

    lanes: list[dict[str, Worker]] = []
    mine = threading.local()

    def enter() -> None:
        clock = match.given.clock
        mine.workers = {name: Worker(version, clock) for name, version in versions.items()}
        lanes.append(mine.workers)

    pool = ThreadPoolExecutor(match.given.jobs, initializer=enter)
    try:
        played = [
            pool.submit(lambda item: match.play(item, mine.workers), item)
            for item in enumerate(names)
        ]
        for one in played:
            one.result()
    finally:
        match.is_over = True
        pool.shutdown(wait=False, cancel_futures=True)
        for workers in lanes:
            for worker in workers.values():
                worker.stop()


def main(arguments: list[str] | None = None) -> int:
    """Run a comparison of two versions and print the verdict.

    Returns
    -------
    int
        0 if every answer passed the checks, 1 if not, 2 for a bad command, 130 after Ctrl-C.
    """
    given = parse_arguments(arguments)
    limit_threads(1)
    # NumPy and the libraries under it are loaded here, with one thread.
    from drawn import parse_set
    from harness import complaints
    from recording import environment
    from store import Store
    from verdict import summary
    from versions import snapshot

    try:
        names = parse_set(given.set)
        versions = {name: snapshot(name, getattr(given, name)) for name in ("old", "new")}
        store = Store(given.out)
        compared = {
            "clock": given.clock,
            **{name: f"{one.origin} {one.code}" for name, one in versions.items()},
        }
        _refuse_others(store, compared)
    except ValueError as error:
        print(f"against: {error}", file=sys.stderr)
        return 2
    about = environment(typed_command("against.py", arguments), threads=1)
    about["compared"] = compared
    warning = store.write_environment(about)
    print(warning or f"{len(names)} instances", flush=True)
    match = Match(given, store)
    try:
        _play_all(match, names, versions)
    except KeyboardInterrupt:
        print("interrupted; what is done is kept, go on with the same command")
        return 130
    mine = [r for r in store.records if r.instance in set(names) and r.time_limit == given.limit]
    text = summary(mine)
    (given.out / "summary.txt").write_text(text + "\n")
    bad = complaints(mine) + match.broken
    print(text, *bad, sep="\n")
    return 1 if bad else 0


def _refuse_others(store: Store, compared: dict[str, str]) -> None:
    """Keep rows of other versions, or of the other clock, out of one table."""
    import json

    path = store.folder / "env.json"
    for earlier in json.loads(path.read_text()) if path.exists() else []:
        for name, value in compared.items():
            if earlier.get("compared", {}).get(name) != value:
                raise ValueError(
                    f"{store.folder} has rows of another {name}; choose another --out."
                )


if __name__ == "__main__":
    sys.exit(main())
