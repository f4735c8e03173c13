"""Overshoot of the time limit, latency of Ctrl-C, and peak memory, each in a process of its own.

``python bench/resources.py overshoot|interrupt|memory --instances NAME... --solvers NAME...``
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
_SAMPLE_SECONDS = 0.02


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line.

    Returns
    -------
    argparse.Namespace
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["overshoot", "interrupt", "memory"])
    parser.add_argument("--instances", nargs="+", default=["powerlaw-100000x256/eps=20%"])
    parser.add_argument("--solvers", nargs="+", default=["anneal"])
    parser.add_argument("--time-limit", type=float, nargs="+", default=[2.0, 5.0])
    parser.add_argument("--repeats", type=int, default=3, help="of an interrupt")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memmap", action="store_true", help="leave S on disk (memory)")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--cache-dir", type=Path)
    parser.add_argument("--out", type=Path, help="append the lines to this .jsonl file")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def prepare(given: argparse.Namespace, name: str, folder: Path) -> dict[str, Any]:
    """Write S to a file and state the question, so that the measured process only loads it.

    Returns
    -------
    dict
    """
    import numpy as np
    from instances import build

    question = build(name, given.data_dir, given.cache_dir).question
    path = folder / "S.npy"
    np.save(path, question.S)
    return {
        "path": str(path),
        "epsilon": question.epsilon,
        "size": question.size,
        "normalization": question.normalization,
        "bytes": question.S.nbytes,
        "num_workers": given.threads,
        "memmap": given.memmap,
    }


def measure(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Run every task and collect one line for each.

    Returns
    -------
    list of dict
    """
    lines = []
    # One limit is enough where the run is cut off by a signal or only its memory counts.
    limits = given.time_limit if given.what == "overshoot" else given.time_limit[-1:]
    repeats = given.repeats if given.what == "interrupt" else 1
    for name in given.instances:
        with tempfile.TemporaryDirectory() as folder:
            task = prepare(given, name, Path(folder))
            for solver in given.solvers:
                for limit in limits:
                    for repeat in range(repeats):
                        asked = {**task, "solver": solver, "time_limit": limit, "seed": repeat}
                        line = {"what": given.what, "instance": name, **_run(given, asked)}
                        print(_readable(line), flush=True)
                        lines.append(line)
    return lines


def _run(given: argparse.Namespace, task: dict[str, Any]) -> dict[str, Any]:
    """Start the measured process; send it Ctrl-C if that is what is asked."""
    is_interrupt = given.what == "interrupt"
    asked = {**task, "time_limit": None if is_interrupt else task["time_limit"]}
    environment = {**os.environ, **dict.fromkeys(_THREADS, str(given.threads))}
    process = subprocess.Popen(
        [sys.executable, __file__, given.what, "--task", json.dumps(asked)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    process.stdout.readline()
    sent = time.monotonic()
    if is_interrupt:
        time.sleep(task["time_limit"])
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
    last = process.stdout.readline()
    if process.wait() != 0 or not last:
        raise RuntimeError(f"the measured process ended with {process.returncode}.")
    answer: dict[str, Any] = json.loads(last)
    if is_interrupt:
        answer["latency"] = answer.pop("returned_at") - sent
        answer["after"] = task["time_limit"]
    return {"solver": task["solver"], "threads": given.threads, **answer}


def _readable(line: dict[str, Any]) -> str:
    return "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in line.items()
        if value is not None
    )


class MemoryWatch(threading.Thread):
    """Samples the resident memory of this process (Linux).

    Attributes
    ----------
    peak : dict
        ``"VmRSS"`` everything, ``"RssAnon"`` without mapped files; bytes.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = resident()
        self._is_done = threading.Event()

    def run(self) -> None:
        """Sample until `stop`."""
        while not self._is_done.wait(_SAMPLE_SECONDS):
            now = resident()
            self.peak = {name: max(now[name], self.peak[name]) for name in now}

    def stop(self) -> dict[str, int]:
        """End the sampling.

        Returns
        -------
        dict
            The peaks.
        """
        self._is_done.set()
        self.join()
        return self.peak


def resident() -> dict[str, int]:
    """Resident memory of this process now.

    Returns
    -------
    dict
        ``"VmRSS"`` and ``"RssAnon"`` in bytes.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    pairs = (line.split(":") for line in lines if line.startswith(("VmRSS", "RssAnon")))
    return {name: 1024 * int(value.split()[0]) for name, value in pairs}


def work(what: str, task: dict[str, Any]) -> dict[str, Any]:
    """Be the measured process: warm up, load S, solve.

    Returns
    -------
    dict
    """
    import numpy as np
    from entrants import own_entrants, warm_up

    import subsetsel

    entrant = own_entrants()[task["solver"]]
    warm_up(entrant)
    before = resident() if what == "memory" else {}
    watch = MemoryWatch()
    S = np.load(task["path"], mmap_mode="r" if task["memmap"] else None)
    options: dict[str, Any] = entrant.run.keywords  # type: ignore[attr-defined]
    if what == "memory":
        watch.start()
    problem = subsetsel.Problem(
        S, epsilon=task["epsilon"], size=task["size"], normalization=task["normalization"]
    )
    print("started", flush=True)
    started = time.perf_counter()
    solution = subsetsel.solve(
        problem,
        solver=options["solver"],
        time_limit=task["time_limit"],
        seed=task["seed"],
        num_workers=task["num_workers"],
        **(options.get("options") or {}),
    )
    wall_time = time.perf_counter() - started - solution.compile_time
    answer = {
        "wall_time": wall_time,
        "status": solution.status,
        "limit": solution.limit,
        "size": solution.size,
        "norm": solution.norm,
    }
    if what == "interrupt":
        return {**answer, "returned_at": time.monotonic()}
    answer["time_limit"] = task["time_limit"]
    if what == "overshoot":
        return {**answer, "overshoot": wall_time / task["time_limit"] - 1}
    peak = watch.stop()
    return {
        **answer,
        "memmap": task["memmap"],
        "mib_of_S": task["bytes"] / 2**20,
        "peak_over_S": (peak["VmRSS"] - before["VmRSS"]) / task["bytes"],
        "anonymous_over_S": (peak["RssAnon"] - before["RssAnon"]) / task["bytes"],
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure.

    Returns
    -------
    int
    """
    given = parse_arguments(arguments)
    if given.task:
        print(json.dumps(work(given.what, json.loads(given.task))), flush=True)
        return 0
    lines = measure(given)
    if given.out:
        with given.out.open("a") as stream:
            stream.writelines(json.dumps(line) + "\n" for line in lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
