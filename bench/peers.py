"""Other people's tools on the same instances, as a user would reach for them.

Each is optional: it is skipped with a reason where its package is missing or where it cannot hold
the instance. Installed with ``pip install dwave-samplers simanneal``; ortools comes with subsetsel.
"""

from __future__ import annotations

import datetime

import numpy as np
from entrant import Budget, Claim, Entrant, Incumbent
from instances import Instance
from peer_annealers import ANNEALERS, refuses_groups

# MathOpt stores every coefficient of v = S^T w as a Python-side term.
_MAX_TERMS = 2_000_000
# SCIP accepts a constraint that is broken by up to 1e-6.
_SCIP_SLACK = 1e-6


def herding(instance: Instance, budget: Budget) -> Claim:
    """Greedy herding in the space of S: always add the row that leaves the smallest norm.

    One order of picking answers both forms: its prefix of the required size, or its longest
    feasible prefix. Works on the kept side when that is the smaller one. When the time
    is over before all rows are picked, the rest are drawn at random.
    """
    question = instance.question
    best = Incumbent(question, budget)
    S, n = question.S, question.n
    from_kept = question.size is not None and question.size > n // 2
    count = n if question.size is None else min(question.size, n - question.size)
    squares = np.einsum("ij,ij->i", S, S, dtype=np.float64)
    total = S.sum(axis=0, dtype=np.float64)
    state = -total if from_kept else np.zeros(S.shape[1])
    gains = 0.5 * squares + S @ state.astype(S.dtype)
    picked = np.zeros(n, dtype=np.bool_)
    num_picked = 0
    while num_picked < count and best.remaining > 0:
        index = int(np.argmin(gains))
        picked[index] = True
        num_picked += 1
        state += S[index]
        gains += S @ S[index]
        gains[index] = np.inf
        if question.size is None:
            best.submit(picked, float(np.linalg.norm(state)))
    note = ""
    if question.size is not None:
        if num_picked < count:
            rng = np.random.default_rng(budget.seed)
            rest = rng.choice(np.flatnonzero(~picked), size=count - num_picked, replace=False)
            picked[rest] = True
            note = f"cut off after {num_picked:,} of {count:,} picks, the rest at random"
        mask = ~picked if from_kept else picked
        best.submit(mask, float(np.linalg.norm(mask.astype(S.dtype) @ S)))
    return best.claim(num_iterations=num_picked, note=note)


def _refuses_terms(instance: Instance) -> str:
    num_terms = int(np.prod(instance.question.S.shape))
    if num_terms > _MAX_TERMS:
        return f"n d = {num_terms:,} terms in its model: at most {_MAX_TERMS:,} here"
    return refuses_groups(instance)


def gscip(instance: Instance, budget: Budget) -> Claim:
    """SCIP through OR-Tools MathOpt: v = S^T w and one norm constraint, never the Gram matrix.

    The allowed norm is shrunk by SCIP's own tolerance, so that its answers are truly feasible; its
    dual bound belongs to that shrunk problem and is therefore not claimed.
    """
    from ortools.math_opt.python import mathopt

    question = instance.question
    best = Incumbent(question, budget)
    n, d = question.S.shape
    scale = float(np.sqrt(np.mean(np.einsum("ij,ij->i", question.S, question.S))))
    rows = question.S.astype(np.float64) / scale
    model = mathopt.Model()
    chosen = [model.add_binary_variable() for _ in range(n)]
    total = [model.add_variable() for _ in range(d)]
    for column in range(d):
        terms = mathopt.LinearSum(
            float(value) * variable for value, variable in zip(rows[:, column], chosen, strict=True)
        )
        model.add_linear_constraint(terms == total[column])
    square = mathopt.QuadraticSum(entry * entry for entry in total)
    count = mathopt.LinearSum(chosen)
    if question.epsilon is None:
        model.add_linear_constraint(count == question.size)
        model.minimize(square)
    else:
        allowed = question.epsilon / scale * (1 - _SCIP_SLACK)
        if question.normalization == "full":
            model.add_quadratic_constraint(square <= allowed**2)
        else:
            radius = model.add_variable(lb=0.0)
            model.add_linear_constraint(radius == allowed - (allowed / n) * count)
            model.add_quadratic_constraint(square - radius * radius <= 0)
        model.maximize(count)
    parameters = mathopt.SolveParameters(
        time_limit=datetime.timedelta(seconds=max(0.01, best.remaining)),
        threads=budget.num_workers,
        random_seed=budget.seed,
    )
    result = mathopt.solve(model, mathopt.SolverType.GSCIP, params=parameters)
    if result.has_primal_feasible_solution():
        mask = np.array(result.variable_values(chosen)) > 0.5
        best.submit(mask, float(np.linalg.norm(question.S[mask].sum(axis=0, dtype=np.float64))))
    return best.claim(note=f"SCIP says {result.termination.reason.name}")


PEERS: dict[str, Entrant] = {
    "herding": Entrant(
        "herding",
        "greedy herding in the space of S, as coreset packages do",
        herding,
        refuses=refuses_groups,
        is_seeded=False,
    ),
    **ANNEALERS,
    "gscip": Entrant(
        "gscip",
        "SCIP through OR-Tools MathOpt, exact",
        gscip,
        requires=("ortools",),
        refuses=_refuses_terms,
    ),
}
"""name -> Entrant."""
