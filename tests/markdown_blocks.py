"""Code blocks of Markdown pages: find them, run them, compare what they print."""

from __future__ import annotations

import io
import math
import re
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$\n?(?:^```text\n(.*?)^```$)?", re.M | re.S)
_NUMBER = re.compile(r"-?\d[\d,]*\.?\d*(?:e[+-]?\d+)?")

# Another processor rounds otherwise, a search then ends elsewhere: numbers differ a little.
TOLERANCE = 0.20


@dataclass(frozen=True)
class Block:
    """A block, the line it starts on, and the block of text right under it, if there is one."""

    code: str
    line: int
    expected: str | None


def blocks_of(page: Path, language: str) -> list[Block]:
    """All blocks of one language."""
    text = page.read_text()
    return [
        Block(match[2], text[: match.start()].count("\n") + 2, match[3])
        for match in _BLOCK.finditer(text)
        if match[1] == language
    ]


def run_python_blocks(page: Path) -> list[tuple[str, str | None]]:
    """Run the Python blocks in one namespace; return what each printed and should print."""
    from subsetsel.engine.registry import registered_solvers, unregister_solver

    module = ModuleType(f"page_{page.stem.replace('-', '_').lower()}")
    sys.modules[module.__name__] = module
    before = set(registered_solvers())
    results = []
    try:
        for block in blocks_of(page, "python"):
            stream = io.StringIO()
            # Blank lines in front make a traceback show the line of the page.
            source = "\n" * (block.line - 1) + block.code
            with redirect_stdout(stream):
                exec(compile(source, str(page), "exec"), module.__dict__)
            results.append((stream.getvalue(), block.expected))
    finally:
        for name in set(registered_solvers()) - before:
            unregister_solver(name)
        del sys.modules[module.__name__]
    return results


def assert_same_output(printed: str, expected: str) -> None:
    """Words equal, numbers equal within `TOLERANCE`."""
    assert _NUMBER.sub("#", printed).split() == _NUMBER.sub("#", expected).split(), printed
    for got, want in zip(_NUMBER.findall(printed), _NUMBER.findall(expected), strict=True):
        close = math.isclose(
            float(got.replace(",", "").rstrip(".")),
            float(want.replace(",", "").rstrip(".")),
            rel_tol=TOLERANCE,
        )
        assert close, f"printed {got} where the page says {want}:\n{printed}"
