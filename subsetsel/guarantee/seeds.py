"""One example of each class that stays, in place of a constraint, where examples are many.

That every class keeps an example is one linear constraint per class. Starting points that respect
linear constraints come from an integer program, which takes minutes for tens of thousands of
examples; a handful of fixed examples among as many costs nothing that one could measure.
"""

from __future__ import annotations

import numpy as np

from subsetsel.problem.problem import Problem

# Up to this many examples the integer program is quick.
LARGE = 4000


def keep_seeds(problem: Problem) -> Problem:
    """Fix the example of smallest influence in each class as kept, and drop the class constraints.

    Parameters
    ----------
    problem : Problem
        With a head.

    Returns
    -------
    Problem
        The same one where examples are few, or where it has other linear constraints.
    """
    assert problem.head is not None
    labels = problem.head.labels
    classes, counts = np.unique(labels, return_counts=True)
    own = problem.constraints
    are_floors = (
        len(own) == len(classes)
        and own.matrix.nnz == problem.n
        and np.array_equal(own.upper, counts - 1)
        and not (own.lower > 0).any()
        and np.array_equal(own.activity(labels == classes[0])[1:], np.zeros(len(own) - 1))
    )
    if problem.n <= LARGE or not are_floors or problem.epsilon is None:
        return problem
    norms = np.where(problem.must_prune, np.inf, problem.rows.squared_norms)
    seeds = [int(np.argmin(np.where(labels == label, norms, np.inf))) for label in classes]
    if not np.isfinite(norms[seeds]).all():
        return problem
    must_keep = problem.must_keep.copy()
    must_keep[seeds] = True
    return Problem(
        problem.rows,
        epsilon=problem.epsilon,
        normalization=problem.normalization,
        max_size=problem.max_size if problem.is_capped else None,
        must_prune=problem.must_prune,
        must_keep=must_keep,
        head=problem.head,
    )
