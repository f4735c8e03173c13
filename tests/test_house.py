"""The script that counts the house finds what is out of order."""

from __future__ import annotations

from pathlib import Path

import house
import pytest

LAYERS = """
[[tool.importlinter.contracts]]
name = "floors"
type = "layers"
layers = ["cli", "engine", "rows"]
containers = ["subsetsel"]
"""


def write_tree(root: Path, files: dict[str, str]) -> house.House:
    """Write files below a root, count them."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return house.count(root)


def test_floors_are_longest_paths(tmp_path: Path) -> None:
    """A room lies one floor above the highest one that it imports from; errors is the ground."""
    counted = write_tree(
        tmp_path,
        {
            "subsetsel/errors.py": "",
            "subsetsel/rows/base.py": "from subsetsel.errors import ProblemError\n",
            "subsetsel/engine/__init__.py": "",
            "subsetsel/engine/run.py": "from ..rows import base\n",
            "subsetsel/cli.py": "import subsetsel.rows.base\nimport subsetsel.engine.run\n",
            "bench/data.py": "from subsetsel.engine import run\n",
        },
    )
    assert counted.floors == {"rows": 1, "engine": 2, "cli": 3, "bench": 3}
    assert counted.rooms["cli"] == {"rows", "engine"}
    assert counted.is_in_order


def test_a_circle_between_files_is_found_through_a_lazy_import(tmp_path: Path) -> None:
    """An import inside a function, or for types alone, closes a circle like any other."""
    counted = write_tree(
        tmp_path,
        {
            "solvers/greedy.py": "from subsetsel.solvers import _insertion\n",
            "solvers/_insertion.py": "def insert():\n    import subsetsel.solvers.greedy\n",
        },
    )
    (circle,) = counted.circles_of_files
    assert circle == ["subsetsel.solvers._insertion", "subsetsel.solvers.greedy"]
    assert counted.circles_of_rooms == []
    assert not counted.is_in_order


def test_rooms_of_one_circle_share_a_floor(tmp_path: Path) -> None:
    """Where two rooms import from each other, both are named and both arrows climb."""
    counted = write_tree(
        tmp_path,
        {
            "subsetsel/rows/base.py": "import subsetsel.engine.run\n",
            "subsetsel/engine/run.py": "import subsetsel.rows.dense\n",
            "subsetsel/rows/dense.py": "",
        },
    )
    assert counted.circles_of_rooms == [["engine", "rows"]]
    assert counted.floors == {"rows": 1, "engine": 1}
    assert len(counted.climbing) == 2


def test_an_arrow_against_the_layers_of_pyproject_climbs(tmp_path: Path) -> None:
    """What the contract of import-linter forbids is found without import-linter."""
    counted = write_tree(
        tmp_path,
        {
            "pyproject.toml": LAYERS,
            "subsetsel/rows/base.py": "import subsetsel.cli.app\n",
            "subsetsel/cli/app.py": "",
        },
    )
    assert counted.climbing == [("subsetsel.rows.base", "subsetsel.cli.app")]


def test_long_files_and_functions_are_found(tmp_path: Path) -> None:
    """Docstrings, comments and empty lines of a function are not counted as code."""
    body = '    """Say\n    much.\n    """\n' + "    # why\n\n" * 50 + "    x = 1\n" * 59
    counted = write_tree(
        tmp_path,
        {
            "subsetsel/rows/base.py": f"def short():\n{body}\n\ndef long():\n{body}    y = 2\n",
            "tests/test_rows.py": "\n" * 999,
        },
    )
    path = str(Path("subsetsel/rows/base.py"))
    assert counted.long_files == []
    assert counted.long_functions == [(path, "long", 61)]
    (tmp_path / path).write_text("\n" * 351)
    assert house.count(tmp_path).long_files == [(path, 351)]


def test_calls_by_many_positional_arguments_are_listed(tmp_path: Path) -> None:
    """Named arguments do not count, and a kernel may call another as it likes."""
    text = "f(1, 2, 3, 4, 5, 6, g=7)\nf(1, 2, 3, 4, 5, 6, 7)\n"
    counted = write_tree(tmp_path, {"solvers/greedy.py": text, "solvers/_greedy_kernels.py": text})
    assert counted.long_calls == [(str(Path("solvers/greedy.py")), 2, "f", 7)]
    assert counted.is_in_order


def test_the_table_has_a_line_for_each_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command prints room, floor, files, lines and what it imports from, and fails if asked."""
    write_tree(
        tmp_path, {"subsetsel/rows/base.py": "x = 1\n" * 400, "tests/test_rows.py": "x = 1\n"}
    )
    monkeypatch.setattr("sys.argv", ["house.py", str(tmp_path), "--check"])
    assert house.main() == 1
    out = capsys.readouterr().out
    assert "    1  rows                     1     400\n" in out
    assert "lines: package 400, bench 0, tests 1\n" in out
    assert "files above 350 lines: 1\n" in out
