"""What importing loads, and what lies beside the user's script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    *("torch", "numba", "cvxpy", "ortools", "matplotlib", "sklearn", "scipy.optimize"),
    *("dask", "optuna", "pandas", "pyarrow"),
)


def run_python(code: str, folder: Path) -> str:
    """Run code in a fresh interpreter whose working folder is first on its path."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_by(code: str, folder: Path) -> set[str]:
    """Which of the heavy packages are loaded once the code has run."""
    out = run_python(f"{code}\nimport sys\nprint(*sys.modules)", folder)
    return set(out.splitlines()[-1].split()) & set(HEAVY)


def test_import_subsetsel_loads_no_heavy_package(tmp_path: Path) -> None:
    """A script that only reads a solution does not wait for torch."""
    assert loaded_by("import subsetsel", tmp_path) == set()


def test_scores_of_arrays_load_no_heavy_package(tmp_path: Path) -> None:
    """A ranking of arrays, and its choice, do not wait for torch."""
    code = "from subsetsel import scores; scores.random(9).select(size=3)"
    assert loaded_by(code, tmp_path) == set()


@pytest.mark.parametrize("arguments", [["--help"], ["prune", "--help"], ["solvers"]])
def test_the_command_line_starts_without_heavy_packages(
    arguments: list[str], tmp_path: Path
) -> None:
    """Help comes at once."""
    code = f"import sys; sys.argv = {['subsetsel', *arguments]!r}\n" + (
        "from subsetsel.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert stop.code == 0, stop.code"
    )
    assert loaded_by(code, tmp_path) == set()


@pytest.mark.parametrize("order", [("cvxpy", "ortools"), ("ortools", "cvxpy")])
def test_the_solver_libraries_bear_each_other(order: tuple[str, str], tmp_path: Path) -> None:
    """Both bring a copy of HiGHS; some versions break whichever is loaded second."""
    lines = {
        "cvxpy": "import cvxpy, highspy; highspy.Highs()",
        "ortools": "from ortools.sat.python import cp_model; cp_model.CpModel()",
    }
    assert run_python("\n".join([*(lines[name] for name in order), "print(1)"]), tmp_path) == "1\n"


def test_every_public_name_is_there() -> None:
    """``from subsetsel import *`` finds everything that ``__all__`` promises."""
    import subsetsel

    assert [name for name in subsetsel.__all__ if not hasattr(subsetsel, name)] == []


def test_a_users_own_solvers_file_does_no_harm(tmp_path: Path) -> None:
    """A script beside an unrelated solvers.py still finds the default solver."""
    (tmp_path / "solvers.py").write_text("raise RuntimeError('the wrong solvers')\n")
    code = (
        "from subsetsel.engine.registry import get_spec\n"
        "print(type(get_spec('anneal').load()).__module__)"
    )
    out = run_python(code, tmp_path)
    assert out.strip() == "subsetsel.solvers.anneal"


def test_the_folder_solvers_refuses_to_be_a_package_of_its_own(tmp_path: Path) -> None:
    """Two copies of every class are worse than an error that says which name to import."""
    root = Path(__file__).parents[1]
    if not (root / "solvers").is_dir():
        pytest.skip("the folder solvers/ is only in a checkout")
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r})\n"
        "try:\n    import solvers\nexcept ImportError as error:\n    print(error)"
    )
    assert "subsetsel.solvers" in run_python(code, tmp_path)
