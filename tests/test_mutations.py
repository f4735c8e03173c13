"""The table of guards that `make mutations` takes out is about guards and tests that are there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from mutations import MUTATIONS, ROOT

DOCSTRINGS = {
    node.name: ast.get_docstring(node) or ""
    for path in Path(__file__).parent.glob("test_*.py")
    for node in ast.parse(path.read_text(encoding="utf-8")).body
    if isinstance(node, ast.FunctionDef)
}


@pytest.mark.parametrize(("test", "file", "guard", "instead"), MUTATIONS)
def test_a_guard_is_there_and_its_test_names_the_mutation(
    test: str, file: str, guard: str, instead: str
) -> None:
    """A guard that was moved would no longer be taken out, and nobody would know."""
    assert (ROOT / file).read_text(encoding="utf-8").count(guard) == 1
    assert guard != instead
    assert "Mutation" in DOCSTRINGS[test.split()[0]]
