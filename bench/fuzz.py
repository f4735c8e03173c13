"""Coverage-guided fuzzing of `solve` with atheris (libFuzzer for Python).

    pip install atheris
    python bench/fuzz.py --runs 100000

The bytes of an input become a matrix of any doubles, a question and a solver. The question is
answered correctly, refused with one of subsetsel's own errors, or a finding. Findings are
collected, one for each line of code, and the search goes on; the exit status is 1 if there is any.

It stays beside hypothesis because it found five defects that hypothesis had not: with their guards
taken out, 6,000 examples of hypothesis over any doubles see one of the two guards missing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# Sizes at which thousands of inputs a minute are tried.
_MAX_N, _MAX_D = 7, 3


def answer(content: bytes) -> None:
    """Solve the problem of an input and compute everything that the answer claims again."""
    import subsetsel

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


def problem_of(content: bytes) -> tuple[Any, dict[str, Any], str]:
    """Read a matrix of any doubles, a question and the name of a solver out of bytes."""
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


def watched(num_runs: int) -> Callable[[bytes], None]:
    """Count the inputs, collect the findings, and print both after the last input."""
    from subsetsel.errors import SubsetselError

    tally: Counter[str] = Counter()
    findings: dict[tuple[str, str, int | None], str] = {}

    def run(content: bytes) -> None:
        tally["inputs"] += 1
        try:
            answer(content)
            tally["answered"] += 1
        except SubsetselError:
            tally["refused"] += 1
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = type(error).__name__, last.filename, last.lineno
            if place not in findings:
                findings[place] = f"{place[0]} at {place[1]}:{place[2]}: {error}"[:300]
                print(f"FINDING {findings[place]}\n  input {content!r}", flush=True)
        if tally["inputs"] == num_runs:
            print(json.dumps({**tally, "findings": list(findings.values())}), flush=True)
            os._exit(bool(findings))

    return run


def seeds() -> list[bytes]:
    """Make valid inputs from which the search begins: one for each combination of the flags."""
    rng = np.random.default_rng(0)
    goal = np.float64(1.0).tobytes()
    return [bytes([6, 2, flags, 4]) + goal + rng.normal(size=21).tobytes() for flags in range(64)]


def main() -> None:
    """Fuzz `solve`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    try:
        import atheris
    except ImportError:
        sys.exit("bench/fuzz.py needs atheris; pip install atheris (Linux, Python 3.11 to 3.13).")
    with atheris.instrument_imports(include=["subsetsel"]):
        import subsetsel.engine.solve  # noqa: F401
    folder = Path(tempfile.mkdtemp(prefix="subsetsel-fuzz-"))
    for number, content in enumerate(seeds()):
        (folder / f"seed-{number}").write_bytes(content)
    # Compiles the kernels before the clock of the first input runs.
    answer(seeds()[0])
    # The runs are counted by `watched`, so that the summary is printed by this script.
    options = [f"-seed={given.seed}", "-timeout=60", "-rss_limit_mb=8192", "-max_len=8192"]
    atheris.Setup([sys.argv[0], *options, "-runs=-1", str(folder)], watched(given.runs))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
