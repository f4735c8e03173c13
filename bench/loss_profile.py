"""Which rows an answer of Eq. 3 loses its examples to: the large ones or the small ones.

    python bench/loss_profile.py
    python bench/loss_profile.py --instance fmnist-pca128/eps=2% --time-limit 40

Flipping row i at the relaxed optimum costs ||s_i||^2 / (2 lam) examples, beside its reduced cost,
with lam = epsilon / ||u||. For each threshold the rows whose flip costs more are held where the
answer has them, all others may lie between 0 and 1, and the relaxation is solved again: what it
falls short of the first one is lost to the large rows alone.

The last column asks what these rows would lose if nothing else had to be whole: they are annealed
alone, the others answering linearly, and what is found is evaluated by the same relaxation. It is
what one search reaches, so an upper limit on the least such loss.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
from entrants import as_problem
from instances import build
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

import subsetsel
from subsetsel.bounds.relaxation import Relaxation, relax
from subsetsel.report.environment import environment
from subsetsel.support.records import write_json

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Rows this near the margin are open.
_OPEN = 0.2
# Examples; how softly the smaller rows answer, and the temperatures of the annealing.
_SOFTNESS, _HOT, _COLD = 0.1, 2.0, 0.005


@numba.njit(cache=True)
def anneal_quadratic(
    Q: Array, h: Array, x: Array, num_proposals: int, rng: np.random.Generator
) -> Array:
    """Minimize x^T Q x / 2 - h . x over corners of the cube by single flips.

    Returns
    -------
    ndarray of shape (k,)
        The best corner met.
    """
    gradient, energy, least, best = Q @ x - h, 0.0, 0.0, x.copy()
    temperature, factor = _HOT, (_COLD / _HOT) ** (1.0 / num_proposals)
    for _ in range(num_proposals):
        temperature *= factor
        i = rng.integers(0, x.size)
        step = 1.0 - 2.0 * x[i]
        rise = step * gradient[i] + 0.5 * Q[i, i]
        if rise <= 0.0 or rng.random() < np.exp(-rise / temperature):
            x[i] += step
            energy += rise
            gradient += step * Q[i]
            if energy < least:
                least = energy
                best[:] = x
    return best


class Profile:
    """One instance with its relaxation and the cost of flipping each row."""

    def __init__(self, problem: Any) -> None:
        self.problem, self.S = problem, problem.rows.dense()
        self.relaxation: Relaxation = relax(problem)
        self.costs = self.relaxation.dual.reduced_costs
        length = float(np.linalg.norm(self.relaxation.dual.u))
        self.lam = problem.epsilon / length
        self.flips = problem.rows.squared_norms / (2 * self.lam)

    def loss(self, held: Mask, pruned: Mask) -> float:
        """Loss of the relaxation, in examples, when some rows are held where they are."""
        problem = subsetsel.Problem(
            self.S,
            epsilon=self.problem.epsilon,
            must_prune=np.flatnonzero(held & pruned),
            must_keep=np.flatnonzero(held & ~pruned),
        )
        return self.relaxation.value - relax(problem).value

    def above(self, threshold: float) -> tuple[Mask, Mask]:
        """Rows whose flip costs more than a threshold, and the open ones among them."""
        large = self.flips > threshold
        return large, large & (np.abs(self.costs) < _OPEN)

    def alone(self, threshold: float, seed: int, num_proposals: int) -> float:
        """Loss, in examples, of the open rows above the threshold if nothing else must be whole."""
        large, open_rows = self.above(threshold)
        small = ~large
        slope = 1 / (4 * _SOFTNESS * np.cosh(np.clip(self.costs / (2 * _SOFTNESS), -50, 50)) ** 2)
        small &= slope > 1e-6
        near = self.S[small].astype(np.float64) / np.sqrt(self.lam)
        metric = np.eye(near.shape[1]) + (near.T * slope[small]) @ near
        rows = self.S[open_rows].astype(np.float64) / np.sqrt(self.lam)
        Q = rows @ cho_solve(cho_factor(metric), rows.T)
        weights = self.relaxation.weights[open_rows]
        h = Q @ weights + self.costs[open_rows]
        start = (weights > 0.5).astype(np.float64)
        found = anneal_quadratic(Q, h, start, num_proposals, np.random.default_rng(seed))
        pruned = np.zeros(len(self.costs), dtype=np.bool_)
        pruned[open_rows] = found > 0.5
        return self.loss(open_rows, pruned)

    def level(
        self, threshold: float, pruned: Mask, num_seeds: int, num_proposals: int
    ) -> dict[str, Any]:
        """Measure one line of the table; annealed alone ``num_seeds`` times."""
        large, open_rows = self.above(threshold)
        return {
            "threshold": threshold,
            "rows": int(large.sum()),
            "open_rows": int(open_rows.sum()),
            "lost": self.loss(large, pruned),
            "lost_alone": [self.alone(threshold, k, num_proposals) for k in range(num_seeds)],
        }


def main() -> int:
    """Measure, print and write; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--instance", default="fmnist-pca128/eps=2%")
    parser.add_argument("--time-limit", type=float, default=40.0)
    parser.add_argument("--thresholds", type=float, nargs="+", default=[10, 3, 1, 0.3, 0.1])
    parser.add_argument("--alone", type=float, nargs="+", default=[10, 3], help="thresholds")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--proposals", type=int, default=20_000_000)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--cache-dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path("bench/results/loss-profile"))
    asked = parser.parse_args()
    question = build(asked.instance, asked.data_dir, asked.cache_dir).question
    problem = as_problem(replace(question, S=question.S.astype(np.float32, copy=False)))
    solution = subsetsel.solve(problem, time_limit=asked.time_limit, num_workers=1)
    profile = Profile(problem)
    total = profile.relaxation.value - solution.size
    print(f"{asked.instance}: {solution.size:,} found, {profile.relaxation.value:.1f} relaxed")
    print("flip costs more than | rows | open | lost to them | alone, each seed")
    levels = []
    for threshold in asked.thresholds:
        num_seeds = asked.seeds if threshold in asked.alone else 0
        level = profile.level(threshold, solution.mask, num_seeds, asked.proposals)
        levels.append(level)
        print(
            f"{threshold:g} | {level['rows']:,} | {level['open_rows']:,} | {level['lost']:.1f} | "
            + (", ".join(f"{loss:.1f}" for loss in level["lost_alone"]) or "-"),
            flush=True,
        )
    print(f"all rows: {total:.1f}")
    asked.out.mkdir(parents=True, exist_ok=True)
    about = {
        "command": f"python bench/loss_profile.py --instance {asked.instance} "
        f"--time-limit {asked.time_limit:g} --seeds {asked.seeds} --proposals {asked.proposals}",
        "date": time.strftime("%Y-%m-%d"),
        **environment(),
    }
    found = {"size": solution.size, "relaxed": profile.relaxation.value, "levels": levels}
    name = asked.instance.replace("/", "-").replace("=", "").replace("%", "-percent")
    write_json(asked.out / f"{name}.json", about | found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
