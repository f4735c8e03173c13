"""What single steps of a large head cost, and what a whole run would: nothing is fitted.

    python bench/large_head_steps.py --classes 200 --features 2048 --examples 100000
    python bench/large_head_steps.py --classes 200 --features 512 --reference large-100x512.json

Each step that the fit, the solves and the search of `influence_speed.py large` are made of is taken
once, in the memory the whole run would take. With --reference, the JSON file of a run that was made
to the end, its times are scaled by how much dearer each step is here (the steps of the reference's
size are taken too): an estimate that supposes as many steps. Seconds are processor seconds of all
threads, which a shared machine changes less than wall-clock.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from influence_speed import L2, about_run, planted
from stopwatch import Record, peak_memory

from subsetsel.influence import Head
from subsetsel.influence.head.iterative import IterativeInverse
from subsetsel.influence.head.losses import SoftmaxObjective
from subsetsel.influence.head.objective import Setting
from subsetsel.influence.head.rows import influence_rows

_COLUMNS = 8
# Rows of one chunk of the search, see solvers/_chunk_search.py.
_CHUNK_BYTES, _MAX_CHUNK, _NUM_PASSES = 256 * 2**20, 1024, 6


def measure(num_examples: int, num_features: int, num_classes: int, note: Any) -> dict[str, float]:
    """Take each step once.

    Returns
    -------
    dict
        Step -> processor seconds; ``chunk`` is one pass of the search over all chunks.
    """
    times: dict[str, float] = {}

    def take(name: str, function: Callable[[], Any]) -> Any:
        started = time.process_time()
        result = function()
        times[name] = time.process_time() - started
        note(f"{name}_cpu_time", times[name])
        note(f"{name}_peak_gib", peak_memory())
        return result

    X, y = planted(num_examples, num_features, num_classes)
    setting = Setting(l2=L2, num_classes=num_classes)
    on = SoftmaxObjective.from_arrays(X, y, setting=setting, device=torch.device("cpu"))
    del X
    rng = np.random.default_rng(0)
    theta = torch.as_tensor(rng.standard_normal((num_classes, on.q)) / on.q**0.5)
    theta -= theta.mean(dim=0)
    take("gradient", lambda: on.value_and_gradient(theta))
    inverse = take("preconditioner", lambda: IterativeInverse(on, theta))
    columns = torch.as_tensor(rng.standard_normal((on.d, _COLUMNS)))
    take("product", lambda: inverse.multiply(columns))
    times["product"] /= _COLUMNS
    take("precondition", lambda: inverse.guess.solve(columns))
    head = Head(np.arange(num_classes), y, L2, (theta / on.scale).numpy(), 0.0, 0.0, on)
    # The head would make its own; this one is as good.
    head.__dict__["inverse"] = inverse
    # Its diagonal costs solves of its own, which a whole run counts as products.
    guess: Any = inverse.guess
    guess.row_lengths = lambda *_: inverse.guess.inverse_values
    rows: Any = influence_rows(head, storage="factored")
    proxy = take("proxy", lambda: rows.proxy)
    take("proxy_norms", lambda: proxy.squared_norms)
    size = int(np.clip(_CHUNK_BYTES // (4 * proxy.d), 64, _MAX_CHUNK))
    chosen = np.sort(rng.permutation(on.n)[:size])
    part = take("chunk_rows", lambda: proxy.take(chosen))
    take("chunk_gram", lambda: part @ part.T)
    num_chunks = -(-on.n // size)
    times["search_pass"] = num_chunks * (times["chunk_rows"] + times["chunk_gram"])
    note("search_pass_cpu_time", times["search_pass"])
    return times


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--reference", type=Path, help="a run made to the end, to scale")
    parser.add_argument("--out", type=Path, help="a JSON file for the numbers")
    options = parser.parse_args()
    record = Record()
    for name in ("examples", "features", "classes"):
        record.note(name, getattr(options, name))
    here = measure(options.examples, options.features, options.classes, record.note)
    if options.reference:
        known = json.loads(options.reference.read_text())
        there = measure(
            known["examples"],
            known["features"],
            known["classes"],
            lambda name, value: record.note(f"reference_{name}", value),
        )
        polish = known["polish_cpu_time"] * here["product"] / there["product"]
        search = _NUM_PASSES * there["search_pass"]
        solves = known["solve_cpu_time"] - search
        solve = _NUM_PASSES * here["search_pass"] + solves * here["product"] / there["product"]
        record.note("estimated_polish_cpu_time", polish)
        record.note("estimated_solve_cpu_time", solve)
        record.note("estimated_cpu_time", polish + solve)
    if options.out:
        about = about_run("large head, step by step")
        options.out.write_text(json.dumps(about | record.values, indent=1) + "\n")


if __name__ == "__main__":
    main()
