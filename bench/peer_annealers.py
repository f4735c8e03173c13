"""Other people's annealers: D-Wave's sampler on the Gram QUBO, and simanneal in plain Python.

Both are optional: ``pip install dwave-samplers simanneal``.
"""

from __future__ import annotations

import importlib
import random
import signal
from typing import Any

import numpy as np
from check import BoolArray, FloatArray, Question
from entrant import Budget, Claim, Entrant, Incumbent
from instances import Instance

# Dense Gram QUBO: dimod and the sampler hold about 40 bytes for each of the n^2 / 2 pairs.
_MAX_GRAM = 5_000


def refuses_groups(instance: Instance) -> str:
    """Say no to group limits, which no peer has; the answer is the reason or ""."""
    return "has no group limits" if instance.question.groups is not None else ""


def _refuses_gram(instance: Instance) -> str:
    if instance.question.normalization == "kept":
        return "its model has no normalization kept"
    if instance.question.n > _MAX_GRAM:
        gib = 20 * instance.question.n**2 / 2**30
        return f"n x n Gram matrix: at most n = {_MAX_GRAM:,} here (this one: {gib:.0f} GiB)"
    return refuses_groups(instance)


def _repair(question: Question, mask: BoolArray, gram: FloatArray) -> BoolArray:
    """Bring a sampled subset to the required size, or into the ball, by best single flips."""
    mask = mask.copy()
    products = gram @ mask
    squares = np.diag(gram)
    for _ in range(question.n):
        size = int(mask.sum())
        if question.size is not None:
            if size == question.size:
                break
            is_adding = size < question.size
        else:
            if max(0.0, float(mask @ products)) ** 0.5 <= question.radius(size):
                break
            is_adding = False
        change = squares + 2 * products if is_adding else squares - 2 * products
        index = int(np.argmin(np.where(mask != is_adding, change, np.inf)))
        mask[index] = is_adding
        products += gram[index] if is_adding else -gram[index]
    return mask


def dwave(instance: Instance, budget: Budget) -> Claim:
    """D-Wave's simulated annealing sampler on the Gram QUBO, as many rounds as time allows.

    Eq. 4: ||S^T w||^2 + P (sum w - m)^2, four weights P in turn. Eq. 3: ||S^T w||^2 - c sum w, the
    multiplier c moved up while the sample is feasible and down while it is not. Samples are
    repaired by single flips. The temperatures are given, as its own estimate takes longer than the
    sampling.
    """
    package: Any = importlib.import_module("dwave.samplers")
    question = instance.question
    best = Incumbent(question, budget)
    S = question.S.astype(np.float64)
    gram = S @ S.T
    multiplier = 2 * instance.total_norm**2 / question.n
    penalties = float(np.median(np.diag(gram))) * np.array([1.0, 0.3, 0.1, 0.03])
    factor = 2.0
    was_feasible: bool | None = None
    sampler = package.SimulatedAnnealingSampler()
    num_sweeps, num_rounds = 200, 0
    while best.remaining > 0:
        model = _qubo(question, gram, multiplier, penalties[num_rounds % len(penalties)])
        sample = sampler.sample(
            model,
            num_reads=1,
            num_sweeps=num_sweeps,
            beta_range=_betas(question, gram, multiplier),
            seed=budget.seed * 10_000 + num_rounds,
            interrupt_function=lambda: best.remaining <= 0,
        )
        raw = sample.record.sample[0].astype(np.bool_)
        order = np.asarray(sample.variables, dtype=np.int64)
        mask = np.zeros(question.n, dtype=np.bool_)
        mask[order[raw]] = True
        is_feasible = float(np.linalg.norm(S[mask].sum(axis=0))) <= question.radius(int(mask.sum()))
        if was_feasible is not None and is_feasible != was_feasible:
            factor = max(1.001, factor**0.5)
        multiplier *= factor if is_feasible else 1 / factor
        was_feasible = is_feasible
        mask = _repair(question, mask, gram)
        best.submit(mask, float(np.linalg.norm(S[mask].sum(axis=0))))
        num_rounds += 1
        num_sweeps = min(5_000, num_sweeps + num_sweeps // 4)
    return best.claim(num_iterations=num_rounds)


def _qubo(question: Question, gram: FloatArray, multiplier: float, penalty: float) -> Any:
    """Binary quadratic model: diagonal terms are linear since w^2 = w."""
    dimod: Any = importlib.import_module("dimod")
    linear = np.diag(gram).copy()
    quadratic = 2 * gram
    if question.size is None:
        linear -= multiplier
    else:
        linear += penalty * (1 - 2 * question.size)
        quadratic = quadratic + 2 * penalty
    rows, columns = np.triu_indices(question.n, k=1)
    return dimod.BinaryQuadraticModel.from_numpy_vectors(
        linear, (rows, columns, quadratic[rows, columns]), 0.0, "BINARY"
    )


def _betas(question: Question, gram: FloatArray, multiplier: float) -> tuple[float, float]:
    """First and last inverse temperature: the first accepts half of the most costly flips."""
    squares = np.diag(gram)
    hottest = float(np.abs(gram).sum(axis=1).max())
    if question.size is None:
        hottest += multiplier
    coldest = 0.02 * float(np.quantile(squares[squares > 0], 0.05))
    return float(np.log(2)) / hottest, 1 / coldest


class _State:
    """A subset and its sum, copied by simanneal at every proposal."""

    def __init__(self, mask: BoolArray, total: FloatArray) -> None:
        self.mask = mask
        self.total = total

    def copy(self) -> _State:
        """Copy both arrays."""
        return _State(self.mask.copy(), self.total.copy())


def simanneal(instance: Instance, budget: Budget) -> Claim:
    """Anneal with the general-purpose simanneal package, moves and energy in Python.

    Eq. 4: swaps, energy ||v||^2. Eq. 3: flips, energy -size + 2 n / ||S^T 1|| times the excess of
    the norm.
    """
    package: Any = importlib.import_module("simanneal")
    question = instance.question
    best = Incumbent(question, budget)
    S, n = question.S.astype(np.float64), question.n
    penalty = 2 * n / instance.total_norm
    state = random.getstate()
    handler = signal.getsignal(signal.SIGINT)
    random.seed(budget.seed)
    is_max = question.form == "max_size"

    class Walk(package.Annealer):  # type: ignore[misc]
        copy_strategy = "method"
        updates = 0

        def move(self) -> float | None:
            if best.remaining <= 0:
                self.user_exit = True
            mask, total = self.state.mask, self.state.total
            index = random.randrange(n)
            if is_max:
                total += -S[index] if mask[index] else S[index]
                mask[index] = not mask[index]
                return None
            other = random.randrange(n)
            while mask[other] == mask[index]:
                other = random.randrange(n)
            leaving, entering = (index, other) if mask[index] else (other, index)
            total += S[entering] - S[leaving]
            mask[leaving], mask[entering] = False, True
            return None

        def energy(self) -> float:
            norm = float(np.linalg.norm(self.state.total))
            if not is_max:
                best.submit(self.state.mask, norm)
                return norm * norm
            size = int(self.state.mask.sum())
            best.submit(self.state.mask, norm)
            return -size + penalty * max(0.0, norm - question.radius(size))

    rng = np.random.default_rng(budget.seed)
    mask = np.zeros(n, dtype=np.bool_)
    if question.size is not None:
        mask[rng.choice(n, size=question.size, replace=False)] = True
    try:
        walk = Walk(initial_state=_State(mask, S[mask].sum(axis=0)))
        signal.signal(signal.SIGINT, handler)
        squares = np.einsum("ij,ij->i", S, S)
        walk.Tmax, walk.Tmin = (
            (3.0, 0.1)
            if is_max
            else (0.1 * float(np.quantile(squares, 0.95)), 0.02 * float(np.quantile(squares, 0.05)))
        )
        num_steps = _anneal_in_time(walk, best)
    finally:
        random.setstate(state)
        signal.signal(signal.SIGINT, handler)
    return best.claim(num_iterations=num_steps)


def _anneal_in_time(walk: Any, best: Incumbent) -> int:
    """One cooling of the length that fits, from the speed of a short trial."""
    trial, before = 300, best.remaining
    hot, cold = walk.Tmax, walk.Tmin
    walk.steps, walk.Tmin = trial, hot
    walk.anneal()
    rate = trial / max(1e-6, before - best.remaining)
    walk.Tmin = cold
    walk.steps = max(1, int(0.9 * rate * best.remaining))
    walk.anneal()
    return int(trial + walk.steps)


ANNEALERS: dict[str, Entrant] = {
    "dwave": Entrant(
        "dwave",
        "dwave-samplers: annealing on the Gram QUBO",
        dwave,
        requires=("dwave.samplers", "dimod"),
        refuses=_refuses_gram,
    ),
    "simanneal": Entrant(
        "simanneal",
        "simanneal: general annealing in Python",
        simanneal,
        requires=("simanneal",),
        refuses=refuses_groups,
    ),
}
"""name -> Entrant."""
