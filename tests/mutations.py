"""Take out the guard against each fault, and see that its test fails: python tests/mutations.py.

Works on a copy of the tree. A test that still passes without its guard shows nothing; then the
script says so and exits with 1. Names of tests given as arguments choose among the rows of
``mutations.toml``. Tools that mutate every operator (mutmut, cosmic-ray) count survivors; they
cannot say which guard a test is about.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from pathlib import Path

# What takes long to load is loaded once, before the children that test one mutation each.
import numba  # noqa: F401
import pytest
import torch  # noqa: F401
import typer  # noqa: F401

ROOT = Path(__file__).parents[1]

# (test function, file of the guard, the guard, what stands in its place)
MUTATIONS: list[tuple[str, str, str, str]] = [
    (test, file, guard, instead)
    for file, rows in tomllib.loads(
        Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    ).items()
    for test, (guard, instead) in rows.items()
]


def main() -> int:
    """Try every row."""
    # Started in the background of a shell Ctrl-C is ignored, and so it would be in the tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    chosen = [row for row in MUTATIONS if not sys.argv[1:] or row[0].split()[0] in sys.argv[1:]]
    num_missed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder).resolve() / "tree"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "results"))
        # The folder solvers/ is mapped to subsetsel.solvers only once it is installed.
        (copy / "subsetsel" / "solvers").symlink_to(copy / "solvers")
        for test, file, guard, instead in chosen:
            started = time.monotonic()
            path = copy / file
            before = path.read_text()
            if before.count(guard) != 1:
                raise SystemExit(f"{file} does not hold the guard of {test} once:\n{guard}")
            path.write_text(before.replace(guard, instead))
            is_missed = _fails(copy, test)
            path.write_text(before)
            num_missed += is_missed
            seconds = time.monotonic() - started
            print(f"{'caught' if is_missed else 'SURVIVED':<9}{test} ({seconds:.0f} s)", flush=True)
    print(f"{num_missed} of {len(chosen)} guards have a test that fails without them")
    return num_missed < len(chosen)


def _fails(copy: Path, test: str) -> bool:
    """Run one test on the copy, in a child in which nothing of subsetsel is imported yet."""
    name = test.split()[0]
    (file,) = [p for p in (copy / "tests").glob("test_*.py") if f"def {name}(" in p.read_text()]
    child = os.fork()
    if child == 0:
        _run_test(copy, file, test)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in {0, 1}:
        raise SystemExit(f"{test} could not be run ({code}):\n{(copy / 'output').read_text()}")
    return code == 1


def _run_test(copy: Path, file: Path, test: str) -> None:
    code = 2
    try:
        os.chdir(copy)
        sys.path.insert(0, str(copy))
        os.environ["PYTHONPATH"] = str(copy)
        output = os.open(copy / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = int(pytest.main(["-qx", "-pno:cacheprovider", str(file), "-k", test]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
