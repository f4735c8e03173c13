"""How long S takes: polish, Hessian and S on real and on large heads, against pyDVL.

    python bench/influence_speed.py fmnist --pydvl
    python bench/influence_speed.py features --features 512 --examples 50000
    python bench/influence_speed.py large --classes 100 --features 512 --examples 50000
    python bench/influence_speed.py resnet50 --device cuda
    python bench/influence_speed.py verify --classes 300 --features 40 --examples 900

Each run prints one table and, with --out, writes the same numbers as JSON with the environment.
Times are wall-clock seconds, and beside them processor seconds of all threads, which show whether
the machine was shared; memory is the largest resident size of the process so far, and what torch
took of the GPU. SUBSETSEL_MEMORY_GIB sets the memory the package believes it may use.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data import fashion_features
from numpy.typing import NDArray
from pydvl_peer import compare_with_pydvl, time_pydvl
from recording import Stopwatch, environment, typed_command, write_json

import subsetsel
from subsetsel.experiments.zoo import build_network
from subsetsel.influence import Head, features_from_model, fit_head, influence_rows
from subsetsel.rows import Rows

L2 = 1e-3
_NUM_RANDOM = 3
_NUM_CHECKED = 4

Array = NDArray[Any]


def planted(num_examples: int, num_features: int, num_classes: int, seed: int = 0) -> Any:
    """Random features with a decaying spectrum and labels drawn from a planted head."""
    rng = np.random.default_rng(seed)
    scale = 1.0 / np.arange(1, num_features + 1)
    scale *= 4.0 / np.linalg.norm(scale)
    X = rng.standard_normal((num_examples, num_features), dtype=np.float32)
    X *= scale.astype(np.float32)
    theta = rng.standard_normal((num_features, num_classes), dtype=np.float32)
    y = np.empty(num_examples, dtype=np.int64)
    for start in range(0, num_examples, 4096):
        rows = slice(start, start + 4096)
        logits = X[rows] @ theta
        y[rows] = (2 * logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return X, y


def measure_head(
    X: Array, y: Array, watch: Stopwatch, num_classes: int | None, options: argparse.Namespace
) -> Head:
    """Fit a head and prepare what solves with its Hessian."""
    watch.note("features", X.shape[1])
    with watch.timed("polish"):
        head = fit_head(
            X,
            y,
            l2=L2,
            num_classes=num_classes,
            device=options.device,
            inverse=options.inverse,
        )
    watch.note("gradient_norm", head.gradient_norm)
    with watch.timed("hessian"):
        solver = head.inverse
    watch.note("inverse", type(solver).__name__)
    watch.note("d", head.objective_function.d)
    return head


def measure_dense(head: Head, watch: Stopwatch) -> Array:
    """Compute S in float32 and check S H = G / n on a few rows."""
    with watch.timed("S"):
        S = influence_rows(head, ridge="excluded", dtype=np.float32, storage="dense").dense()
    assert S is not None
    watch.note("S_hessian_residual", hessian_residual(head, S))
    return S


def hessian_residual(head: Head, S: Array) -> float:
    """Largest relative residual of S H = G / n over a few rows, by products with H."""
    on, theta = head.objective_function, head.to_scaled(head.theta)
    chosen = torch.linspace(0, on.n - 1, _NUM_CHECKED).long()
    worst = 0.0
    for index in chosen:
        row = slice(int(index), int(index) + 1)
        gradient = (on.residuals(theta, row) @ on.basis).T @ on.X[row].dense() / on.total
        solved = torch.as_tensor(S[row].astype(np.float64), device=theta.device)
        scaled = solved.reshape(-1, on.q) * on.scale
        found = on.multiply(theta, scaled.reshape(-1, 1)).reshape(gradient.shape)
        worst = max(worst, float((found - gradient).norm() / gradient.norm()))
    return worst


def measure_large(head: Head, watch: Stopwatch, seed: int, time_limit: float | None) -> None:
    """Prune 40 % of a head whose S cannot be held, and compare with random subsets."""
    rows = influence_rows(head, storage="factored")
    watch.note("S_dense_gib", rows.nbytes / 2**30)
    size = int(0.4 * head.n)
    with watch.timed("solve"):
        solution = subsetsel.solve(
            subsetsel.Problem(rows, size=size), seed=seed, time_limit=time_limit
        )
    rng = np.random.default_rng(seed)
    masks = [solution.mask, *(rng.permutation(head.n) < size for _ in range(_NUM_RANDOM))]
    with watch.timed("true_norms"):
        norms = [float(np.linalg.norm(rows.sum(mask))) for mask in masks]
    watch.note("norm", norms[0])
    watch.note("random_norm", float(np.mean(norms[1:])))
    watch.note("share_of_random", norms[0] / float(np.mean(norms[1:])))
    watch.note("sum_hessian_residual", sum_residual(head, rows, solution.mask))


def sum_residual(head: Head, rows: Rows, mask: Array) -> float:
    """Relative residual of H (S^T w) = G^T w / n, by an independent product with H."""
    on = head.objective_function
    theta = head.to_scaled(head.theta)
    total = torch.as_tensor(rows.sum(mask), device=theta.device).reshape(-1, on.q) * on.scale
    found = on.multiply(theta, total.reshape(-1, 1)).reshape(total.shape)
    part = on.restrict(mask)
    gradient = part.value_and_gradient(theta)[1] * part.total / on.total
    expected = on.basis.T @ gradient
    return float((found - expected).norm() / expected.norm())


def run_fmnist(options: argparse.Namespace, watch: Stopwatch) -> None:
    """Fashion-MNIST on 128 principal components."""
    features = fashion_features(options.data_dir)
    X, y = features.train, features.train_labels
    head = measure_head(X, y, watch, None, options)
    S = measure_dense(head, watch)
    if options.pydvl:
        compare_with_pydvl(head, S, X, y, watch)


def run_features(options: argparse.Namespace, watch: Stopwatch) -> None:
    """Random features of a given width, dense S."""
    X, y = planted(options.examples, options.features, options.classes)
    head = measure_head(X, y, watch, options.classes, options)
    S = measure_dense(head, watch)
    if options.pydvl_examples:
        time_pydvl(head, X, y, watch, options.pydvl_examples)
    elif options.pydvl:
        compare_with_pydvl(head, S, X, y, watch)


def run_large(options: argparse.Namespace, watch: Stopwatch) -> None:
    """Prune on a head whose S is never written out."""
    X, y = planted(options.examples, options.features, options.classes)
    head = measure_head(X, y, watch, options.classes, options)
    measure_large(head, watch, options.seed, options.time_limit)


def run_verify(options: argparse.Namespace, watch: Stopwatch) -> None:
    """Ask a question from features, and verify one random subset of a fifth.

    With fewer than 50 examples per class each class is a cloud of its own, so that all occur.
    """
    n, num_features = options.examples, options.features
    rng = np.random.default_rng(options.seed)
    if n >= 50 * options.classes:
        X, y = planted(n, num_features, options.classes, options.seed)
    else:
        y = np.arange(n) % options.classes
        X = rng.standard_normal((options.classes, num_features))[y]
        X += rng.standard_normal((n, num_features))
        X *= 4 / np.linalg.norm(X, axis=1).mean()
    pruned = np.sort(rng.permutation(n)[: n // 5])
    with watch.timed("from_features"):
        problem = subsetsel.Problem.from_features(
            X, y, l2=L2, num_classes=options.classes, size=len(pruned), device=options.device
        )
    with watch.timed("verify"):
        check = subsetsel.verify(problem, np.isin(np.arange(n), pruned))
    assert problem.head is not None
    watch.note("inverse", type(problem.head.inverse).__name__)
    watch.note("storage", type(problem.rows).__name__)
    for name in ("change", "change_error", "predicted_newton", "curvature"):
        watch.note(name, getattr(check, name))


def run_resnet50(options: argparse.Namespace, watch: Stopwatch) -> None:
    """Features of a ResNet-50 for 32 x 32 pictures, and its head solved exactly.

    Pictures, weights and labels are random: time does not depend on them. Labels are planted on
    the features, so that the head is neither separable nor pure noise.
    """
    network = build_network("resnet50", (3, 32, 32), options.classes, options.seed)
    pictures = RandomPictures(options.examples, options.seed)
    with watch.timed("features"):
        found = features_from_model(
            network, pictures, device=options.device, precision=options.precision, batch_size=1000
        )
    X = found.X - found.X.mean(axis=0)
    X /= X.std() * np.sqrt(X.shape[1])
    rng = np.random.default_rng(options.seed)
    logits = X @ rng.standard_normal((X.shape[1], options.classes), dtype=np.float32)
    y = (2 * logits / logits.std() + rng.gumbel(size=logits.shape)).argmax(axis=1)
    head = measure_head(X, y, watch, options.classes, options)
    measure_dense(head, watch)


class RandomPictures(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Pictures of noise, made when they are asked for."""

    def __init__(self, num: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._few = torch.randn((1024, 3, 32, 32), generator=generator)
        self._num = num

    def __len__(self) -> int:
        return self._num

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """One of a thousand pictures, at a brightness of its own."""
        if not 0 <= index < self._num:
            raise IndexError(index)
        return self._few[index % 1024] * (1 + index / self._num), 0


RUNS: dict[str, Callable[[argparse.Namespace, Stopwatch], None]] = {
    "fmnist": run_fmnist,
    "features": run_features,
    "large": run_large,
    "resnet50": run_resnet50,
    "verify": run_verify,
}


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", choices=RUNS)
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--inverse", choices=("auto", "cholesky", "cg"), default="auto")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--time-limit", type=float, help="seconds for the search of a large head")
    parser.add_argument("--pydvl", action="store_true", help="compare with pyDVL's DirectInfluence")
    parser.add_argument("--pydvl-examples", type=int, help="time pyDVL on so many only")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--out", type=Path, help="a JSON file for the numbers")
    options = parser.parse_args()
    watch = Stopwatch()
    for name in ("examples", "classes") if options.run != "fmnist" else ():
        watch.note(name, getattr(options, name))
    watch.note("threads", torch.get_num_threads())
    RUNS[options.run](options, watch)
    if options.out:
        about = environment(typed_command("influence_speed.py"), torch.get_num_threads())
        gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
        about |= {"run": options.run, "gpu": gpu, "BLAS kernel": blas_kernels()}
        write_json(options.out, about | watch.values)


def blas_kernels() -> dict[str, str]:
    """Name the kernels that multiply matrices for NumPy and for torch."""
    found = {"torch": torch.backends.cpu.get_cpu_capability()}
    if "mkl" in torch.__config__.show().lower():
        found["torch"] = f"MKL, {found['torch']}"
    try:
        from threadpoolctl import threadpool_info
    except ModuleNotFoundError:
        return found
    for library in threadpool_info():
        if library["user_api"] == "blas":
            name = Path(library["filepath"]).name.split("-")[0]
            found[name] = f"{library['internal_api']} {library['version']}, " + str(
                library.get("architecture")
            )
    return found


if __name__ == "__main__":
    main()
