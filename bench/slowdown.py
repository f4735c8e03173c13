"""How much slower a call is with default settings than with the best number of threads.

Each job runs alone, beside one, two and three trainings of a small network (one thread each), and
where fewer cores are allowed than there are: pinned to one core with two threads asked for, and in
a control group with the time of one core (Linux, as root). Each time it runs with default settings,
with one thread and with two:

    python bench/slowdown.py                  # under ten minutes on two cores
    python bench/slowdown.py --old FOLDER     # and the same with another checkout

``--old`` names a copy of another version, such as ``git archive 37567e8 | tar x -C FOLDER`` makes.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import slowdown_jobs
from recording import THREAD_VARIABLES, new_parser, typed_command, write_json, write_table

HERE = Path(__file__).resolve().parent
BESIDE = {"alone": 0, "beside 1": 1, "beside 2": 2, "beside 3": 3}
CONDITIONS = (*BESIDE, "pinned", "quota")
SETTINGS: dict[str, int | None] = {"default": None, "1 thread": 1, "2 threads": 2}
_CGROUP = Path("/sys/fs/cgroup")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for, write the table, print it."""
    parser = new_parser(__doc__, "slowdown")
    add = parser.add_argument
    add("--old", type=Path, help="a checkout of another version, measured beside this one")
    add("--jobs", nargs="+", choices=list(slowdown_jobs.JOBS), default=list(slowdown_jobs.JOBS))
    add("--conditions", nargs="+", choices=CONDITIONS, default=list(CONDITIONS))
    add("--limit", type=float, default=60.0, help="seconds after which a job is given up (60)")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        versions = {"new": installed(HERE.parent, Path(folder) / "new")}
        if given.old:
            versions["old"] = installed(given.old, Path(folder) / "old")
        rows = []
        for condition in given.conditions:
            for row in measure(condition, versions, given.jobs, given.limit):
                rows.append(row)
                print(*row.values(), sep="  ", flush=True)
    if not rows:
        parser.error("none of these conditions can be made here")
    given.out.mkdir(parents=True, exist_ok=True)
    write_table(given.out / "slowdown.csv", rows)
    about = _environment(typed_command("slowdown.py", arguments))
    write_json(given.out / "env.json", about)
    text = as_table(rows, about, given.limit)
    (given.out / "slowdown.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def installed(checkout: Path, folder: Path) -> Path:
    """Make a folder that holds a checkout's package as it looks once it is installed."""
    shutil.copytree(checkout / "subsetsel", folder / "subsetsel")
    shutil.copytree(checkout / "solvers", folder / "subsetsel" / "solvers")
    return folder


def measure(
    condition: str, versions: dict[str, Path], jobs: list[str], limit: float
) -> Iterator[dict[str, Any]]:
    """Run all jobs under one condition; nothing where that cannot be made here."""
    with ExitStack() as stack:
        prefix: list[str] = []
        for _ in range(BESIDE.get(condition, 0)):
            stack.enter_context(training())
        if condition == "pinned":
            if shutil.which("taskset") is None:
                return
            prefix = ["taskset", "-c", "0"]
        if condition == "quota":
            group = stack.enter_context(group_of_one_core())
            if group is None:
                return
            prefix = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]
        for version, folder in versions.items():
            for setting, count in SETTINGS.items():
                # Under a pin the libraries see one core: there default means two, forced up.
                threads = 2 if condition == "pinned" and count is None else count
                if condition == "pinned" and setting == "2 threads":
                    continue
                found = run_jobs(
                    [*prefix, *slowdown_jobs.command("jobs")], folder, threads, jobs, limit
                )
                for job, seconds in found.items():
                    yield {
                        "version": version,
                        "condition": condition,
                        "job": job,
                        "setting": setting,
                        "seconds": seconds,
                    }


@contextmanager
def training() -> Iterator[None]:
    """Train a small network with one thread in a process of its own."""
    with subprocess.Popen(
        slowdown_jobs.command("train"),
        env=_variables(1),
        stdout=subprocess.PIPE,
        # Linux shares its cores out by sessions: each is a user's of its own, as the jobs are.
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


@contextmanager
def group_of_one_core() -> Iterator[Path | None]:
    """Make a control group with the time of one core; None where that is not allowed."""
    is_old = (_CGROUP / "cpu" / "cpu.cfs_quota_us").exists()
    group = (_CGROUP / "cpu" if is_old else _CGROUP) / f"slowdown-{os.getpid()}"
    try:
        group.mkdir()
        if is_old:
            (group / "cpu.cfs_quota_us").write_text("100000")
        else:
            (group / "cpu.max").write_text("100000 100000")
    except OSError:
        yield None
        return
    try:
        yield group
    finally:
        time.sleep(0.5)
        with suppress(OSError):
            group.rmdir()


def run_jobs(
    command: list[str], folder: Path, threads: int | None, jobs: list[str], limit: float
) -> dict[str, float | None]:
    """Seconds of each job, one after the other in one process; None for one that was given up."""
    found: dict[str, float | None] = {}
    while len(found) < len(jobs):
        left = jobs[len(found) :]
        environment = {**_variables(threads), "PYTHONPATH": str(folder)}
        with subprocess.Popen(
            [*command, *left],
            env=environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                for job in ["", *left]:
                    # The first line says that imports and compilation are done.
                    line = _read_line(process, limit if job else 180.0)
                    if job:
                        found[job] = json.loads(line) if line else None
                    if not line:
                        break
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            if not found:
                raise RuntimeError(f"the jobs {left} did not begin: {command}")
    return found


def _read_line(process: subprocess.Popen[bytes], limit: float) -> bytes:
    """Wait for a line; nothing comes back after the limit, or where the process has ended."""
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        return process.stdout.readline() if selector.select(limit) else b""


def _variables(threads: int | None) -> dict[str, str]:
    """Give the environment with a number of threads for all libraries, or without any."""
    plain = {name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES}
    return plain if threads is None else {**plain, **dict.fromkeys(THREAD_VARIABLES, str(threads))}


def _environment(command: str) -> dict[str, Any]:
    from recording import environment

    return environment(command, os.cpu_count() or 1)


def as_table(rows: Sequence[dict[str, Any]], about: dict[str, Any], limit: float) -> str:
    """Write seconds as a table, with default settings over the best number of threads."""
    given_up = f"> {limit:g}"
    lines = [
        f"Seconds. {about['cpu']}, {about['cores']} cores, {about['date']}, "
        f"commit {about['commit'][:7]}.",
        "",
        f"| job | condition | version | {' | '.join(SETTINGS)} | default / best |",
        "|---|---|---|" + "--:|" * (len(SETTINGS) + 1),
    ]
    cells: dict[tuple[str, str, str], dict[str, float | None]] = {}
    for row in rows:
        key = (row["job"], row["condition"], row["version"])
        cells.setdefault(key, {})[row["setting"]] = row["seconds"]
    for (job, condition, version), seconds in sorted(cells.items(), key=_order):
        shown = [_show(seconds[s], given_up) if s in seconds else "" for s in SETTINGS]
        known = [value for value in seconds.values() if value is not None]
        default = seconds.get("default")
        best = min(known, default=limit)
        ratio = f"> {limit / best:.1f}" if default is None else f"{default / best:.2f}"
        lines.append(f"| {job} | {condition} | {version} | {' | '.join(shown)} | {ratio} |")
    return "\n".join(lines) + "\n"


def _order(item: tuple[tuple[str, str, str], Any]) -> tuple[int, int, str]:
    job, condition, version = item[0]
    return list(slowdown_jobs.JOBS).index(job), CONDITIONS.index(condition), version


def _show(value: float | None, given_up: str) -> str:
    return given_up if value is None else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
