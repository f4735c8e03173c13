"""The process of one version in `against` and `guarantee`: does the jobs that it is sent.

Jobs and answers are pickled on standard input and output. An answer is the checked record of the
run: `check` is the benchmark's own and comes from no version of the package. That of the job
"prune" is a row of `guarantee`.
"""

from __future__ import annotations

import os
import pickle
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

if sys.argv[1:] == ["processor"]:
    # One thread works: what the machine gives to others then counts for nobody.
    time.perf_counter = time.process_time

import numpy as np
import subsetsel.solvers
from check import Question
from entrant import Budget, Entrant
from entrants import all_entrants, warm_up
from guarantee import measure
from harness import run_once
from instances import Instance, build

import subsetsel

# Large enough for a core and its Gram matrix to be compiled, in both forms.
_WARM_UP = ("mixed-3000x24/eps=5%", "mixed-3000x24/size=40%", "gaussian-500x200/eps=20%")


class Desk:
    """Holds the last S and the entrants that are warm."""

    def __init__(self) -> None:
        self._entrants = all_entrants()
        self._warmed: set[str] = set()
        self._path = ""
        self._S = np.zeros((0, 0), dtype=np.float32)

    def answer(self, job: dict[str, Any]) -> dict[str, Any]:
        """Prune a data set, or run one entrant on one instance."""
        return self._prune(job) if job["entrant"] == "prune" else self._run(job)

    def _prune(self, job: dict[str, Any]) -> dict[str, Any]:
        if "prune" not in self._warmed:
            self._warmed.add("prune")
            X = np.random.default_rng(0).normal(size=(300, 8))
            subsetsel.prune(X, X[:, :3].argmax(axis=1), l2=1e-2, rel_epsilon=0.05)
        return measure(job)

    def _run(self, job: dict[str, Any]) -> dict[str, Any]:
        entrant = self._entrants[job["entrant"]]
        self._warm(entrant)
        if job["path"] != self._path:
            self._path, self._S = job["path"], np.load(job["path"])
        question = Question(self._S, job["epsilon"], job["size"], job["normalization"])
        instance = Instance(job["name"], question, **job["facts"])
        record = asdict(run_once(entrant, instance, Budget(job["time_limit"], job["seed"])))
        record["trace"] = []
        return record

    def _warm(self, entrant: Entrant) -> None:
        if entrant.name in self._warmed:
            return
        self._warmed.add(entrant.name)
        warm_up(entrant)
        for name in _WARM_UP:
            run_once(entrant, build(name), Budget(1.0))


def main() -> None:
    """Answer jobs until the input ends."""
    answers: BinaryIO = os.fdopen(os.dup(1), "wb")
    # What a solver prints must not come between the answers.
    os.dup2(2, 1)
    folder = Path(os.environ["PYTHONPATH"])
    for module in (subsetsel, subsetsel.solvers):
        if folder not in Path(module.__file__ or "").parents:
            raise SystemExit(f"{module.__name__} comes from {module.__file__}, not from {folder}")
    desk = Desk()
    while True:
        try:
            job = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(desk.answer(job), answers)
        answers.flush()


if __name__ == "__main__":
    main()
