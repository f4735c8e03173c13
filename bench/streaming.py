"""What an earlier answer saves when examples arrive or are withdrawn.

    python bench/streaming.py                          # tabular26, 2 % arrive, 1 % are withdrawn
    python bench/streaming.py --data fmnist-pca128

The first part of the examples is pruned from scratch. Then the rest arrives, and later some of all
examples, pruned or kept, are withdrawn at random. After each change `subsetsel.prune` answers
twice: from the earlier answer and from scratch. Training the head and computing S are the same for
both and timed apart. Times are CPU seconds, so that a shared machine hardly disturbs them.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from data import SPLIT_DATA, Features
from heads import L2
from numpy.typing import NDArray
from recording import environment, new_parser, typed_command, write_json

import subsetsel

Mask = NDArray[np.bool_]


def train_head(
    features: Features, chosen: NDArray[np.int64], rel_epsilon: float
) -> tuple[subsetsel.Problem, float]:
    """Train the head on some of the examples; the second value is the time in CPU seconds."""
    started = time.process_time()
    problem = subsetsel.Problem.from_features(
        features.train[chosen], features.train_labels[chosen], l2=L2, rel_epsilon=rel_epsilon
    )
    return problem, time.process_time() - started


def search(
    problem: subsetsel.Problem, name: str, guess: Mask | None
) -> tuple[Mask, dict[str, Any]]:
    """Prune from an earlier answer or from scratch: the subset, and what it cost and gave."""
    started = time.process_time()
    solution, check = subsetsel.prune(problem, initial_guess=guess)
    row = {
        "step": name,
        "from": "scratch" if guess is None else "the earlier answer",
        "n": problem.n,
        "pruned": solution.size,
        "share": solution.size / problem.n,
        "is_verified": check.is_verified,
        "change": check.change,
        "epsilon": solution.epsilon,
        "num_refits": len(solution.stats["curve"]),
        "num_iterations": solution.num_iterations,
        "cpu_seconds": time.process_time() - started,
    }
    print(
        f"{name:20} from {row['from']:18}: {solution.size:,} of {problem.n:,} "
        f"({row['share']:.2%}), {row['num_refits']} refits, {row['cpu_seconds']:.1f} s CPU",
        flush=True,
    )
    return solution.mask, row


def main() -> int:
    """Measure, print and write; the exit status is 1 if a set was not verified."""
    parser = new_parser(__doc__, "streaming")
    parser.add_argument("--data", choices=sorted(SPLIT_DATA), default="tabular26")
    parser.add_argument("--rel-epsilon", type=float, default=0.01)
    parser.add_argument("--arriving", type=float, default=0.02, help="share of all examples")
    parser.add_argument("--withdrawn", type=float, default=0.01, help="share of all examples")
    asked = parser.parse_args()
    features = SPLIT_DATA[asked.data]()
    n = len(features.train)
    order = np.random.default_rng(0).permutation(n)
    first = order[: n - round(asked.arriving * n)]
    num_withdrawn = round(asked.withdrawn * n)
    stays = np.ones(n, dtype=np.bool_)
    stays[np.random.default_rng(1).choice(n, size=num_withdrawn, replace=False)] = False

    problem, seconds = train_head(features, first, asked.rel_epsilon)
    print(f"head and S: {seconds:.1f} s CPU, the same for every step but for its n")
    old, row = search(problem, "at first", None)
    rows = [row]
    problem, _ = train_head(features, order, asked.rel_epsilon)
    new, row = search(problem, "some arrive", old)
    rows += [row, search(problem, "some arrive", None)[1]]
    problem, _ = train_head(features, order[stays], asked.rel_epsilon)
    rows += [search(problem, "some are withdrawn", guess)[1] for guess in (new[stays], None)]
    about = environment(typed_command("streaming.py"), torch.get_num_threads())
    content = about | {"problem_cpu_seconds": seconds, "steps": rows}
    write_json(asked.out / f"{asked.data}.json", content)
    return 0 if all(row["is_verified"] for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
