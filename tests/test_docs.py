"""Every block of code in docs/ runs, in order, and prints what the page says it prints."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from markdown_blocks import assert_same_output, blocks_of, run_python_blocks

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
TEXTS = [*PAGES, *ROOT.glob("*.md")]

pytestmark = pytest.mark.skipif(not PAGES, reason="the pages are only in a checkout")


# What pages import beyond the package itself, and those on which warnings of others are not ours.
NEEDS = {
    "networks.md": ("optuna",),
    "errors-of-train.md": ("optuna",),
    "replay.md": ("optuna",),
    "integrations.md": ("pandas", "pyarrow", "datasets", "lightning"),
    "text-embeddings.md": ("datasets",),
    "cluster.md": ("dask", "distributed"),
}
LOUD = {"integrations.md", "text-embeddings.md"}


def runnable(page: Path) -> Any:
    """A page, with what it takes to run it."""
    needs = NEEDS.get(page.name, ())
    missing = [name for name in needs if find_spec(name) is None]
    marks = [pytest.mark.filterwarnings("ignore")] if page.name in LOUD else []
    skip = pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")
    return pytest.param(page, marks=[*marks, skip], id=page.name)


@pytest.mark.slow
@pytest.mark.parametrize("page", [runnable(page) for page in PAGES])
def test_python_blocks_run_and_print_what_they_say(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One namespace a page, from top to bottom; files go to a folder of their own."""
    monkeypatch.chdir(tmp_path)
    for printed, expected in run_python_blocks(page):
        if expected is not None:
            assert_same_output(printed, expected)


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Relative links name files that exist."""
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert [name for name in targets if not (page.parent / name).exists()] == []


def exists(name: str) -> bool:
    """Whether a dotted name can be imported, or is an attribute of what can be."""
    parts = name.split(".")
    for i in range(len(parts), 0, -1):
        try:
            thing = import_module(".".join(parts[:i]))
        except ModuleNotFoundError:
            continue
        for part in parts[i:]:
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
        return True
    return False


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_names_of_the_package_exist(page: Path) -> None:
    """A dotted name on a page, or in the column *now* of the changelog, can be imported."""
    lines = page.read_text().splitlines()
    text = "\n".join(line.split("|")[2] if line.startswith("  | ") else line for line in lines)
    found = re.findall(r"(?<![/\w`.-])`?(subsetsel(?:\.[A-Za-z_]\w*)+)(?![\w/-])", text)
    assert [name for name in found if not exists(name)] == []
    for first, others in re.findall(r"`(subsetsel\.[\w.]+)`((?:, `\w+`)+)", text):
        names = [f"{first.rpartition('.')[0]}.{name}" for name in re.findall(r"\w+", others)]
        assert [name for name in names if not exists(name)] == []


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_documented_commands_exist(page: Path) -> None:
    """Each `subsetsel ...` line of a shell block names a command and options that there are."""
    import typer

    from subsetsel.cli.app import app

    root = typer.main.get_command(app)
    known = {
        name: {flag for option in command.params for flag in option.opts}
        for name, command in getattr(root, "commands").items()  # noqa: B009
    }
    top = {flag for option in root.params for flag in option.opts}
    for block in blocks_of(page, "sh"):
        for line in block.code.splitlines():
            words = shlex.split(line, comments=True)
            if not words or words[0] != "subsetsel":
                continue
            flags = {word for word in words if word.startswith("--")}
            if words[1].startswith("--"):
                assert flags <= top, line
            else:
                assert words[1] in known, line
                assert flags <= known[words[1]], line


def test_the_paragraph_on_solvers_names_every_one() -> None:
    """A solver that is registered is in the README's table."""
    from subsetsel.engine.registry import registered_solvers

    text = (ROOT / "README.md").read_text()
    own = [name for name, spec in registered_solvers().items() if "subsetsel." in spec.target]
    assert [name for name in own if f"`{name}`" not in text] == []


def test_every_fault_has_its_test() -> None:
    """The tests that docs/faults.md names are there."""
    names = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "faults.md").read_text())
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    assert names
    assert [name for name in names if f"def {name}(" not in tests] == []
