"""Coverage-guided fuzzing of the readers and of `solve` with atheris (libFuzzer for Python).

    pip install atheris
    python bench/fuzz.py npz --runs 100000

Each input is read whole, refused with one of subsetsel's own errors, or a finding. Findings are
collected, one for each place, and the search goes on; exit code 1 if there is any.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

Target = Callable[[bytes], None]

FILES = ("npy", "npz", "csv", "safetensors", "parquet", "solution", "manifest", "certificate")
X = np.arange(12.0).reshape(6, 2)
Y = np.array([0, 1, 0, 1, 0, 1])
# Bytes that solvers may use for one matrix, so that thousands of inputs a minute are tried.
_MAX_N, _MAX_D = 7, 3


def file_target(kind: str, folder: Path) -> Target:
    """Write the input to a file and read it with everything that reads its kind."""
    from subsetsel.cli.settings import Plan
    from subsetsel.formats import read_data, read_matrix, read_solution
    from subsetsel.guarantee.certificate import recheck_certificate
    from subsetsel.report.manifest import Manifest

    suffix = {"solution": "npz", "manifest": "json", "certificate": "json"}.get(kind, kind)
    path = folder / f"input.{suffix}"
    if kind == "certificate":
        # The arrays lie beside the JSON that is fuzzed.
        make_certificate(folder / "file.json")

    def read(content: bytes) -> None:
        path.write_bytes(content)
        if kind == "manifest":
            manifest = Manifest.read(path)
            for use in (manifest.mask, lambda: Plan.of_manifest(manifest)):
                guarded(use)
        elif kind == "certificate":
            recheck_certificate(path, X, Y)
        elif kind == "solution":
            assert read_solution(path).n > 0
        elif kind == "npy":
            read_matrix(path)
        else:
            for read_one in (read_matrix, read_data, read_solution):
                guarded(partial(read_one, path))

    return read


def solve_target() -> Target:
    """Make a problem of the input and believe nothing of the answer."""
    import subsetsel

    def solve(content: bytes) -> None:
        S, question, solver = problem_of(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = subsetsel.solve(S, solver=solver, max_iterations=200, **question)
        total = S[found.mask].astype(np.longdouble).sum(axis=0)
        norm = float(np.sqrt((total * total).sum()))
        assert abs(norm - found.norm) <= 1e-9 * norm + 1e-12 * float(np.abs(S).max()), "norm"
        if found.is_feasible and "epsilon" in question:
            is_kept = question["normalization"] == "kept"
            share = (len(S) - found.size) / len(S) if is_kept else 1.0
            assert norm <= question["epsilon"] * share * (1 + 1e-8), "radius"
            assert found.bound is None or found.size <= found.bound, "bound"
        if found.is_feasible and "size" in question:
            assert found.size == question["size"], "size"

    return solve


def problem_of(content: bytes) -> tuple[Any, dict[str, Any], str]:
    """Read a matrix of any doubles at all, a question and a solver out of bytes."""
    head = content[:4].ljust(4, b"\0")
    n, d = 1 + head[0] % _MAX_N, 1 + head[1] % _MAX_D
    body = content[12 : 12 + 8 * n * d].ljust(8 * n * d, b"\0")
    S = np.frombuffer(body, dtype=np.float64).reshape(n, d)
    if head[2] & 1:
        with np.errstate(over="ignore", invalid="ignore"):
            S = S.astype(np.float32)
    goal = float(np.frombuffer(content[4:12].ljust(8, b"\0"), dtype=np.float64)[0])
    question: dict[str, Any] = {"epsilon": goal}
    if head[2] & 2:
        question = {"size": int(head[3]) - 1}
    else:
        question["normalization"] = "kept" if head[2] & 4 else "full"
    if head[2] & 8:
        question["must_prune"] = [head[3] % 9]
    if head[2] & 16:
        question["must_keep"] = [head[3] // 9 % 9]
    return S, question, "anneal" if head[2] & 32 else "greedy"


def guarded(work: Callable[[], Any]) -> None:
    """Do something that may be refused."""
    from subsetsel.errors import SubsetselError

    try:
        work()
    except (SubsetselError, FileNotFoundError):
        TALLY["refused"] += 1
    else:
        TALLY["accepted"] += 1


TALLY: Counter[str] = Counter()
FOUND: dict[str, str] = {}


def watched(target: Target, num_runs: int) -> Target:
    """Count inputs, collect what must not happen, and say so at the end."""

    def run(content: bytes) -> None:
        TALLY["inputs"] += 1
        try:
            guarded(lambda: target(content))
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{type(error).__name__} at {last.filename}:{last.lineno}: {error}"[:300]
            key = f"{type(error).__name__}{last.filename}{last.lineno}"
            if key not in FOUND:
                FOUND[key] = place
                print(f"FINDING {place}\n  input {content[:400]!r}", flush=True)
        if TALLY["inputs"] == num_runs:
            print(json.dumps({**TALLY, "findings": list(FOUND.values())}), flush=True)
            os._exit(bool(FOUND))

    return run


def seeds(kind: str) -> list[bytes]:
    """Make valid inputs from which the search begins."""
    stream = io.BytesIO()
    if kind == "npy":
        np.save(stream, X)
    elif kind == "npz":
        np.savez(stream, X=X, y=Y, ids=np.array(list("abcdef")))
    elif kind == "csv":
        stream.write(b"id,u,v,y\n" + b"".join(b"%d,1.5,2,%d\n" % (i, i % 2) for i in range(4)))
    elif kind == "solve":
        rng = np.random.default_rng(0)
        shapes = [bytes([6, 2, flags, 4]) for flags in range(64)]
        return [
            shape + np.float64(1.0).tobytes() + rng.normal(size=21).tobytes() for shape in shapes
        ]
    else:
        return [file_of(kind)]
    return [stream.getvalue()]


def file_of(kind: str) -> bytes:
    """Make what this package or its users write."""
    from subsetsel.problem.solution import Solution
    from subsetsel.report.manifest import Manifest

    solution = Solution(mask=Y == 1, norm=1.0, status="feasible", target_size=3)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"file.{ {'solution': 'npz'}.get(kind, kind) }")
        if kind == "solution":
            solution.save(path)
        elif kind == "manifest":
            plan = {"goal": {"size": 3}, "l2": 0.1, "device": "cpu", "label": "y", "id": "id"}
            settings = {**plan, "search": {"solver": "anneal"}}
            Manifest.of(solution, command="prune", settings=settings, inputs={}).write(path)
        elif kind == "certificate":
            path = path.with_suffix(".json")
            make_certificate(path)
        elif kind == "safetensors":
            from safetensors.numpy import save_file

            save_file({"X": X, "y": Y}, path)
        else:
            import pyarrow
            import pyarrow.parquet

            columns = {"u": X[:, 0], "v": X[:, 1], "y": Y}
            pyarrow.parquet.write_table(pyarrow.table(columns), path)
        return path.read_bytes()


def make_certificate(path: Path) -> None:
    """Write a true certificate, its arrays beside it."""
    from subsetsel.guarantee.certificate import write_certificate
    from subsetsel.problem.problem import Problem
    from subsetsel.problem.solution import Solution

    solution = Solution(mask=Y == 1, norm=1.0, status="feasible", target_size=3)
    write_certificate(path, Problem.from_features(X, Y, l2=0.1, size=3), solution, X, Y)


def main() -> None:
    """Fuzz one target."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=[*FILES, "solve"])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    try:
        import atheris
    except ImportError:
        sys.exit("bench/fuzz.py needs atheris; pip install atheris (Linux, Python 3.11 to 3.13).")
    with atheris.instrument_imports(include=["subsetsel", "zipfile", "numpy.lib.format"]):
        import subsetsel.engine.solve  # noqa: F401
    corpus = Path(tempfile.mkdtemp(prefix="subsetsel-fuzz-"))
    for number, content in enumerate(seeds(given.target)):
        (corpus / f"seed-{number}").write_bytes(content)
    work = Path(tempfile.mkdtemp(prefix="subsetsel-fuzz-"))
    if given.target == "solve":
        target = solve_target()
        target(seeds("solve")[0])
    else:
        target = file_target(given.target, work)
    options = [f"-seed={given.seed}", "-timeout=60", "-rss_limit_mb=8192", "-max_len=8192"]
    # Counted by `watched`, so that the summary is ours.
    atheris.Setup([sys.argv[0], *options, "-runs=-1", str(corpus)], watched(target, given.runs))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
