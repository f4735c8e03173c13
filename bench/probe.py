"""What a probe keeps: accuracy and movement of a softmax head trained on a few of the examples.

    python bench/probe.py --out FOLDER                        # three data sets, five seeds: hours
    python bench/probe.py --data sentences --seeds 1 --out FOLDER
    pip install apricot-select                                # for facility location, optional

Each method chooses 5, 12.5 and 30 % of 19,000 examples. The head (l2 = 1e-4) is refitted exactly on
what is kept: its accuracy on test examples, and how far it is from the head on everything.

A seed draws the examples, not only the methods' random numbers, since the former matter more.
Sentences have no official split: each seed divides all of them anew into 19,000 and 4,703 to test
on. Of Fashion-MNIST and CIFAR-10 (128 principal components) each seed draws 19,000 training
examples without repetition, and the official test part stays. All methods get the same examples, so
differences are taken seed by seed.

Seconds are those of the processor for all that a method does from features and labels to a choice:
head, S and search too; compiling apart. Set ``OMP_NUM_THREADS=1``: they then are those of a thread.
 Runs are written one by one; the same
command with the same ``--out`` goes on where it stopped, and does those of other code again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
import torch
from data import Features, present, sentence_features
from numpy.typing import NDArray
from probe_report import (
    DATA,
    EVERYTHING,
    FIRST_ORDER,
    METHODS,
    OURS,
    Run,
    append,
    draw,
    read_runs,
    table,
)
from recording import environment, new_parser, typed_command, write_json

import subsetsel
from subsetsel import scores

L2 = 1e-4
SHARES = (0.05, 0.125, 0.3)
NUM_TRAIN = 19_000

Mask = NDArray[np.bool_]


def at_random(features: Features, num_kept: int, seed: int, *, by_class: bool) -> Mask:
    """Keep at random: of all examples, or the same share of each class."""
    drawn = scores.random(len(features.train), seed)
    return _ranked(drawn, features, num_kept, by_class=by_class)


def by_herding(features: Features, num_kept: int, _seed: int) -> Mask:
    """Keep the same share of each class, so that its mean direction is matched greedily."""
    ranked = scores.herding(features.train, features.train_labels, num_ranked=num_kept)
    return _ranked(ranked, features, num_kept, by_class=True)


def _ranked(score: scores.Score, features: Features, num_kept: int, *, by_class: bool) -> Mask:
    balance: Any = {"labels": features.train_labels, "balanced": "proportional"} if by_class else {}
    return ~scores.select(score, num_kept=num_kept, **balance).mask


def by_facility_location(features: Features, num_kept: int, seed: int) -> Mask:
    """Keep what apricot's facility location keeps of all examples, by cosine similarity."""
    selection = import_module("apricot").FacilityLocationSelection
    chosen = selection(num_kept, metric="cosine", random_state=seed).fit(features.train).ranking
    kept = np.zeros(len(features.train), dtype=np.bool_)
    kept[chosen] = True
    return kept


def jointly(
    features: Features, num_kept: int, seed: int, *, hessian: Literal["all", "kept"]
) -> Mask:
    """Keep so that what is pruned has the smallest joint influence (Eq. 4)."""
    problem = subsetsel.Problem.from_features(
        features.train, features.train_labels, l2=L2, num_kept=num_kept, hessian=hessian
    )
    pruned: Mask = subsetsel.solve(problem, bound=False, seed=seed).mask
    return ~pruned


KEEP: dict[str, Callable[[Features, int, int], Mask]] = {
    "random": partial(at_random, by_class=False),
    "random, class-balanced": partial(at_random, by_class=True),
    "herding per class": by_herding,
    "facility location": by_facility_location,
    FIRST_ORDER: partial(jointly, hessian="all"),
    OURS: partial(jointly, hessian="kept"),
}
"""name -> (features, how many to keep, seed) -> mask of the kept."""

# The module and its package.
_NEEDS = {"facility location": ("apricot", "apricot-select")}


def missing(method: str) -> str:
    """Say which package a method lacks; empty if none."""
    if method not in _NEEDS or find_spec(_NEEDS[method][0]) is not None:
        return ""
    return f"needs {_NEEDS[method][1]}, not installed"


def draw_examples(name: str, features: Features, seed: int) -> Features:
    """Draw the examples of a seed: a new split of the sentences, a new sample of the others."""
    if name == "sentences":
        return sentence_features(seed=seed)
    size = min(NUM_TRAIN, len(features.train))
    chosen = np.random.default_rng(seed).choice(len(features.train), size=size, replace=False)
    return replace(
        features, train=features.train[chosen], train_labels=features.train_labels[chosen]
    )


def warm_up(features: Features, methods: list[str]) -> None:
    """Compile what the methods compile, on the first examples."""
    few = replace(features, train=features.train[:400], train_labels=features.train_labels[:400])
    for method in methods:
        KEEP[method](few, 200, 0)


def measure(
    name: str, seed: int, drawn: Features, jobs: list[tuple[float, str]], code: str
) -> Iterator[Run]:
    """Do the jobs of one seed, (share, method), one after the other."""
    test, n = (drawn.test, drawn.test_labels), len(drawn.train)
    started = time.process_time()
    problem = subsetsel.Problem.from_features(drawn.train, drawn.train_labels, l2=L2, size=1)
    head = problem.head
    assert head is not None
    whole = time.process_time() - started
    for share, method in jobs:
        num_kept = n if method == EVERYTHING else round(share * n)
        started = time.process_time()
        kept = np.ones(n, bool) if num_kept == n else KEEP[method](drawn, num_kept, seed)
        seconds = whole if method == EVERYTHING else time.process_time() - started
        check = subsetsel.verify(problem, ~kept, test=test)
        accuracy = check.accuracy
        assert accuracy is not None
        assert check.num_pruned == n - num_kept
        yield Run(
            data=name,
            seed=seed,
            share=share,
            method=method,
            l2=L2,
            n=n,
            num_kept=num_kept,
            accuracy=accuracy,
            change=check.change,
            theta_norm=head.theta_norm,
            seconds=seconds,
            code=code,
            date=time.strftime("%Y-%m-%d"),
        )


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = new_parser(__doc__, "probe")
    add = parser.add_argument
    add("--data", nargs="+", choices=DATA, default=list(DATA))
    add("--seeds", type=int, default=5, metavar="NUMBER", help="from 0 (5)")
    add("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Measure what is not in the folder yet, and print, draw and write all that is."""
    asked = parse_arguments(arguments)
    about = environment(typed_command("probe.py", arguments), torch.get_num_threads())
    path = asked.out / "results.csv"
    runs = read_runs(path, about["code"])
    absent = {method: missing(method) for method in asked.methods}
    for method, why in absent.items():
        if why:
            print(f"{method}: left out, {why}")
    methods = [method for method in asked.methods if not absent[method]]
    for run in measure_all(asked, methods, {run.key for run in runs}, about["code"]):
        append(path, [run])
        runs.append(run)
        print(
            f"{run.data} seed {run.seed} {run.share:.1%} {run.method:22}: {run.accuracy:.2%}, "
            f"moved by {run.change:.4g} of {run.theta_norm:.4g}, {run.seconds:.1f} s",
            flush=True,
        )
    if not runs:
        return 1
    write_json(asked.out / "env.json", about)
    text = table(runs)
    (asked.out / "summary.txt").write_text(text + "\n")
    draw(runs, asked.out / "probe.png")
    print(text)
    return 0


def measure_all(
    asked: argparse.Namespace, methods: list[str], done: set[tuple[Any, ...]], code: str
) -> Iterator[Run]:
    """Do what is not done: data set by data set, seed by seed."""
    wanted = [(1.0, EVERYTHING), *((share, method) for share in SHARES for method in methods)]
    todo = {
        (name, seed): [job for job in wanted if (name, seed, *job) not in done]
        for name in asked.data
        for seed in range(asked.seeds)
    }
    names = [name for name in asked.data if any(todo[name, s] for s in range(asked.seeds))]
    for name, features in present(names).items():
        warm_up(features, methods)
        for seed in range(asked.seeds):
            jobs = todo[name, seed]
            if jobs:
                yield from measure(name, seed, draw_examples(name, features, seed), jobs, code)


if __name__ == "__main__":
    raise SystemExit(main())
