"""The heads of ``shards.py``: their data on disk, and what training, pruning and a refit take."""

from __future__ import annotations

import glob
import time
from pathlib import Path
from typing import Any

import numpy as np
from data import find_folder

import subsetsel
from subsetsel.experiments.images import load_idx

_CLASSES, _L2, _FASHION_SHARDS = 10, 1e-3, 6


def made_head(n: int, h: int, shard_bytes: int, folder: Path) -> dict[str, Any]:
    """Write features and labels of ten classes that overlap, a shard at a time."""
    rows = max(1, shard_bytes // (4 * h))
    place = folder / f"head-{n}x{h}-{rows}"
    place.mkdir(parents=True, exist_ok=True)
    centres = np.random.default_rng(0).normal(size=(_CLASSES, h)) * (2.0 / np.sqrt(h))
    labels = []
    for number, start in enumerate(range(0, n, rows)):
        rng = np.random.default_rng([1, number])
        codes = rng.integers(_CLASSES, size=min(rows, n - start))
        X = centres[codes] + rng.normal(size=(len(codes), h)) * np.exp(
            0.5 * rng.normal(size=(len(codes), 1))
        )
        np.save(place / f"X-{number:04d}.npy", X.astype(np.float32))
        labels.append(codes)
    np.save(place / "y.npy", np.concatenate(labels))
    return {
        "instance": f"head-{n}x{h}",
        "shards": len(labels),
        "pattern": str(place / "X-*.npy"),
        "labels": str(place / "y.npy"),
        "way": "shards",
        "is_head": True,
    }


def fashion_head(data_dir: Path | None, folder: Path) -> dict[str, Any]:
    """Write the 784 pixels of Fashion-MNIST in six files."""
    images = load_idx(find_folder("fashion-mnist", data_dir))
    place = folder / "head-fmnist"
    place.mkdir(parents=True, exist_ok=True)
    X = images.train.reshape(len(images.train), -1).astype(np.float32) / 255
    for number, part in enumerate(np.array_split(X, _FASHION_SHARDS)):
        np.save(place / f"X-{number:04d}.npy", part)
    np.save(place / "y.npy", images.train_labels)
    return {
        "instance": "head-fmnist-784",
        "shards": _FASHION_SHARDS,
        "pattern": str(place / "X-*.npy"),
        "labels": str(place / "y.npy"),
        "is_head": True,
    }


def prune_head(task: dict[str, Any], engine: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Train a head, prune two fifths of its examples, and refit."""
    started = time.perf_counter()
    X, y = task["pattern"], np.load(task["labels"])
    if task["way"] == "whole":
        X = np.concatenate([np.load(path) for path in sorted(glob.glob(X))])
    problem = subsetsel.Problem.from_features(X, y, l2=_L2, fraction=0.4, engine=engine)
    trained = time.perf_counter()
    solution = subsetsel.solve(problem)
    solved = time.perf_counter()
    check = subsetsel.verify(problem, solution)
    drawn = np.zeros(problem.n, dtype=np.bool_)
    drawn[np.random.default_rng(0).choice(problem.n, solution.size, replace=False)] = True
    measured = {
        "train_time": trained - started,
        "solve_time": solved - trained,
        "verify_time": time.perf_counter() - solved,
        "compile_time": solution.compile_time,
        "norm_of_random": problem.norm(drawn),
        "change": check.change,
        "change_error": check.change_error,
        "predicted_kept": check.predicted_kept,
    }
    return problem, solution, measured
