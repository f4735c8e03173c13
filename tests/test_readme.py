"""The README: its example runs and prints what it says, its commands are the ones that are used."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from markdown_blocks import assert_same_output, blocks_of, run_python_blocks

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"

pytestmark = pytest.mark.skipif(not README.exists(), reason="the README is only in a checkout")


@pytest.mark.slow
def test_the_example_runs_and_prints_what_it_says() -> None:
    """The first thing a reader copies works."""
    results = run_python_blocks(README)
    assert results
    for printed, expected in results:
        assert expected is not None
        assert_same_output(printed, expected)


def test_the_example_is_on_the_first_screen() -> None:
    """Formula, code and printed output within 55 lines."""
    (block,) = blocks_of(README, "python")
    assert block.expected is not None
    assert block.line + block.code.count("\n") + block.expected.count("\n") + 4 <= 55


def test_make_targets_of_the_readme_are_in_the_makefile() -> None:
    """`make demo` and `make test` are what they are called."""
    makefile = (ROOT / "Makefile").read_text()
    lines = [line for block in blocks_of(README, "sh") for line in block.code.splitlines()]
    targets = {line.split()[1] for line in lines if line.startswith("make ")}
    assert targets >= {"demo", "test"}
    assert all(f"\n{target}: $(STAMP)" in makefile for target in targets)


def test_versions_agree() -> None:
    """One version, wherever it is written."""
    import subsetsel

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert subsetsel.__version__ == project["version"]
    citation = ROOT / "CITATION.cff"
    if citation.exists():
        assert f"\nversion: {project['version']}\n" in citation.read_text()


@pytest.mark.skipif(not (ROOT / "subsetsel").is_dir(), reason="needs the source tree")
def test_every_package_is_in_the_wheel() -> None:
    """The list in pyproject.toml is explicit, so a new folder has to be named there."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "subsetsel").rglob("__init__.py")
    }
    assert found | {"subsetsel.solvers"} == set(config["tool"]["setuptools"]["packages"])


def test_every_dependency_is_pinned() -> None:
    """What pyproject.toml asks for, constraints.txt fixes."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *config["project"]["dependencies"],
        *(name for group in config["dependency-groups"].values() for name in group),
        *(name for extra in config["project"]["optional-dependencies"].values() for name in extra),
    ]
    wanted = [name for name in wanted if isinstance(name, str) and "[" not in name]
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0] for line in pins if "==" in line}
    assert {re.split("[<>=]", name)[0] for name in wanted} <= pinned
    assert "torch==2.13.0" in pins
