"""Solvers as strings: looking up, loading, options, and what is missing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import subsetsel
from subsetsel import (
    OptionError,
    SolverNotInstalledError,
    SolverSpec,
    UnknownSolverError,
    available_solvers,
    register_solver,
    solve,
)
from subsetsel.engine.registry import get_spec, registered_solvers, unregister_solver

_S = np.random.default_rng(0).normal(size=(8, 2)) + 0.5


def test_default_solver_is_registered() -> None:
    """`anneal`, the default of `solve`, is known."""
    assert "anneal" in registered_solvers()


def test_every_spec_describes_itself() -> None:
    """Each registered solver has what tables and the core need."""
    for name, spec in registered_solvers().items():
        assert spec.name == name
        assert spec.summary
        assert spec.target.count(":") == 1
        assert spec.forms
        assert spec.forms <= {"max_size", "min_norm"}
        assert spec.normalizations <= {"full", "kept"}
        assert spec.supports <= {"constraints", "fixed", "max_size", "offset"}
        assert spec.proves in {"optimal", "bound", "nothing"}


def test_registered_solver_solves(exact: str) -> None:
    """A registered name works in `solve`, and is listed."""
    assert exact in available_solvers()
    assert solve(_S, size=3, solver=exact).status == "optimal"


def test_unregistered_solver_is_gone(registered: Any) -> None:
    """A name that was taken back is unknown."""
    register_solver(SolverSpec("short", "counting_solvers:CountingSolver", "for tests"))
    unregister_solver("short")
    with pytest.raises(UnknownSolverError):
        get_spec("short")


def test_name_cannot_be_taken_twice(exact: str) -> None:
    """Registering over a solver is refused, naming it."""
    with pytest.raises(OptionError, match=r"'counting' is registered already"):
        register_solver(SolverSpec(exact, "counting_solvers:CountingSolver", "again"))


def test_unknown_solver_lists_the_available(exact: str) -> None:
    """A name that does not exist is answered with those that do, and the closest."""
    with pytest.raises(UnknownSolverError) as error:
        solve(_S, size=3, solver="countin")
    assert "'countin'" in str(error.value)
    assert "Available: " in str(error.value)
    for name in available_solvers():
        assert name in str(error.value)
    assert "Did you mean 'counting'?" in str(error.value)


def test_unknown_solver_without_a_likeness() -> None:
    """Where nothing is close, nothing is suggested."""
    with pytest.raises(UnknownSolverError) as error:
        get_spec("zzzzzz")
    assert "Did you mean" not in str(error.value)


def test_missing_package_is_named(registered: Any) -> None:
    """A solver whose package is absent says which, and how to get it."""
    name = registered("absent", requires=("no_such_package_9", "numpy"))
    assert name not in available_solvers()
    assert name in registered_solvers()
    with pytest.raises(SolverNotInstalledError) as error:
        solve(_S, size=3, solver=name)
    assert "'absent' needs no_such_package_9" in str(error.value)
    assert "pip install no_such_package_9" in str(error.value)


def test_missing_package_is_an_import_error(registered: Any) -> None:
    """Callers who know nothing of subsetsel catch ImportError."""
    with pytest.raises(ImportError):
        get_spec(registered("absent", requires=("no_such_package_9",))).load()


def test_broken_package_is_loud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is there but cannot be imported is not passed over; the cause is chained."""
    (tmp_path / "broken_back_end.py").write_text("import no_such_library_9\n")
    monkeypatch.syspath_prepend(tmp_path)
    spec = SolverSpec("broken", "broken_back_end:Solver", "x", requires=("broken_back_end",))
    with pytest.raises(SolverNotInstalledError, match="no_such_library_9") as error:
        spec.load()
    assert isinstance(error.value.__cause__, ImportError)


def test_back_end_is_imported_on_first_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Registering imports nothing."""
    (tmp_path / "lazy_back_end.py").write_text("raise RuntimeError('imported too early')\n")
    monkeypatch.syspath_prepend(tmp_path)
    register_solver(SolverSpec("lazy", "lazy_back_end:Solver", "x"))
    try:
        assert "lazy" in available_solvers()
        assert "lazy_back_end" not in sys.modules
    finally:
        unregister_solver("lazy")


def test_own_option_is_passed(exact: str) -> None:
    """A solver's own option goes through `solve`."""
    assert solve(_S, size=3, solver=exact, max_n=12).status == "optimal"


def test_own_option_is_validated(exact: str) -> None:
    """The solver's own check speaks."""
    with pytest.raises(OptionError, match="max_n must be an integer >= 1, got 0"):
        solve(_S, size=3, solver=exact, max_n=0)


@pytest.mark.parametrize(
    ("option", "closest"),
    [("max_m", "max_n"), ("time_limits", "time_limit"), ("sed", "seed"), ("worker", None)],
)
def test_unknown_option_names_the_closest(exact: str, option: str, closest: str | None) -> None:
    """A mistyped option is answered with the closest name and the whole list."""
    options: dict[str, Any] = {option: 1}
    with pytest.raises(OptionError) as error:
        solve(_S, size=3, solver=exact, **options)
    assert f"solver 'counting' has no option {option!r}" in str(error.value)
    if closest is not None:
        assert f"did you mean {closest!r}?" in str(error.value)
    assert "Its own options: max_n." in str(error.value)
    assert "initial_guess" in str(error.value)


def test_named_variant(registered: Any) -> None:
    """`defaults` makes a named variant: the same class with other settings."""
    strict = registered("variant", defaults={"max_n": 0})
    with pytest.raises(OptionError, match="max_n"):
        solve(_S, size=3, solver=strict)
    assert solve(_S, size=3, solver=strict, max_n=9).status == "optimal"
    assert strict in available_solvers()


def test_supports_is_asked_before_the_solver_starts(registered: Any) -> None:
    """Each demand that a solver does not honour is refused, by the solver's and its own name."""
    name = registered("limited", "BrokenSolver", supports=frozenset[str]())
    for question, words in (
        ({"size": 3, "must_keep": [0]}, "must_prune or must_keep"),
        ({"size": 3, "constraints": [(np.ones(8), 0, 3)]}, "linear constraints or group limits"),
        ({"epsilon": 1.0, "max_size": 3}, "max_size"),
        ({"epsilon": 1.0, "offset": np.ones(2)}, "an offset"),
    ):
        with pytest.raises(OptionError, match=f"'limited' does not honour {words}"):
            solve(_S, solver=name, **question)


def test_no_demand_is_no_refusal(registered: Any) -> None:
    """A plain problem goes to a solver that supports nothing beside."""
    name = registered("limited", supports=frozenset[str]())
    assert solve(_S, size=3, solver=name).is_feasible
    assert solve(_S, epsilon=1.0, normalization="kept", solver=name).is_feasible


def test_public_names_exist() -> None:
    """Everything in `__all__` can be imported, and is sorted."""
    assert sorted(subsetsel.__all__) == list(subsetsel.__all__)
    for name in subsetsel.__all__:
        assert hasattr(subsetsel, name)
