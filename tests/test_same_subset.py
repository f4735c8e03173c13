"""The same seed gives the same subset in every process, however much memory happens to be free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from head_oracle import blobs

import subsetsel
from subsetsel import Problem
from subsetsel.errors import OutOfMemoryError
from subsetsel.influence import Head, fit_head, influence_rows
from subsetsel.influence.head.choose_inverse import choose_inverse
from subsetsel.problem.solution import Solution
from subsetsel.report.manifest import solution_record

N, D = 240, 63
X, Y = blobs(n=N, num_features=20, num_classes=4, seed=3)
# S in float32, and the Hessian with its factor.
S_BYTES, FACTOR_BYTES = 4 * N * D, 2 * 8 * D * D
PLENTY = 2**40


@dataclass(frozen=True)
class Case:
    """How S is held and searched on, and the memory at which that is chosen."""

    inverse: Any
    storage: Any
    planned: int
    tight: int
    search_width: int


CASES = {
    "held": Case("auto", "auto", 2**34, S_BYTES * 5 // 4, D),
    "written out for the search": Case("cholesky", "factored", 2**34, S_BYTES * 5 // 4, D),
    "projected": Case("cholesky", "factored", 2 * 4 * N * 16, 5 * N * 16, 16),
    "approximate": Case("cg", "auto", 2**34, S_BYTES * 5 // 4, D),
    "approximate, in chunks": Case("cg", "auto", 2 * 4 * N * 16, 5 * N * 16, 16),
}


def free(monkeypatch: pytest.MonkeyPatch, num_bytes: int) -> None:
    """Let the system have so much memory free, whoever asks."""
    monkeypatch.setattr("subsetsel.support.memory._system", lambda: iter([num_bytes]))


def plan(monkeypatch: pytest.MonkeyPatch, num_bytes: int) -> None:
    """Let choices count with so much memory."""
    monkeypatch.setattr("subsetsel.support.memory.DEFAULT_GIB", num_bytes / 2**30)


def fitted(inverse: Any) -> Head:
    """A head whose Hessian is ready."""
    head = fit_head(X, Y, l2=1e-2, device="cpu", inverse=inverse)
    assert head.inverse.is_exact == (inverse != "cg")
    return head


@pytest.mark.parametrize("question", [{"size": 90}, {"rel_epsilon": 0.05}], ids=["Eq. 4", "Eq. 3"])
@pytest.mark.parametrize("start", ["relax", "random"])
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_free_memory_changes_no_subset(
    case: Case, start: str, question: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that can just hold what is planned prunes the very examples of one with plenty.

    Mutation: `planned_memory` that gives what is free: fails.
    """
    head = fitted(case.inverse)
    plan(monkeypatch, case.planned)

    def answer(num_bytes: int) -> Any:
        free(monkeypatch, num_bytes)
        problem = Problem.from_head(head, storage=case.storage, **question)
        assert problem.rows.search_width == case.search_width
        found = subsetsel.solve(problem, seed=4, start=start, num_proposals=3000)
        assert 0 < found.size < N
        assert found.stats["storage"] == problem.rows.storage
        assert found.stats["search_width"] == case.search_width
        return found.mask.tobytes(), found.norm

    assert answer(case.tight) == answer(PLENTY)


def test_an_answer_tells_what_was_chosen(tmp_path: Path) -> None:
    """In the saved file, in a manifest, and of a verified answer as well."""
    problem = Problem.from_head(fitted("cg"), size=90)
    expected = {"storage": "factored", "search_width": D, "inverse": "cg"}
    found = subsetsel.solve(problem, num_proposals=500)
    assert found.stats.items() >= expected.items()
    found.save(tmp_path / "pruned.npz")
    assert Solution.load(tmp_path / "pruned.npz").stats.items() >= expected.items()
    assert solution_record(found)["stats"].items() >= expected.items()
    verified, _ = subsetsel.prune(X, Y, l2=1e-2, rel_epsilon=0.2, num_proposals=500, device="cpu")
    expected = {"storage": "dense", "search_width": D, "inverse": "cholesky"}
    assert verified.stats.items() >= expected.items()


def test_free_memory_changes_no_inverse(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Hessian that fits is factored in both processes."""
    for num_bytes in (FACTOR_BYTES, PLENTY):
        free(monkeypatch, num_bytes)
        assert fit_head(X, Y, l2=1e-2, device="cpu").inverse.is_exact


def test_a_choice_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """S, the matrix of a search and the factor: the size, what is free, the plan and the cure.

    Mutation: `require_memory` that refuses nothing: fails.
    """
    head = fitted("cholesky")
    factored = influence_rows(head, storage="factored")
    free(monkeypatch, S_BYTES - 1)
    holding = r"takes 59\.06 KiB, and 59\.06 KiB are free. 16\.0 GiB.*SUBSETSEL_MEMORY_GIB"
    with pytest.raises(OutOfMemoryError, match=f"S of 240 x 63 {holding}.*storage='factored'"):
        influence_rows(head)
    with pytest.raises(OutOfMemoryError, match=f"240 x 63 matrix .* {holding}.*[Ff]ewer"):
        factored.search_matrix()
    with pytest.raises(OutOfMemoryError, match=r"Hessian of 63 parameters.*62\.02 KiB.*'cg'"):
        choose_inverse("auto", D, head.objective_function.X.device)
