"""Count the default solver: lines, functions and numbers chosen by hand, file by file.

``python bench/solver_size.py [CHECKOUT]`` reads the source and imports nothing. Counted are the
files of `solvers/` that `anneal.py` imports, directly or through others, and the descent and the
relaxation of `subsetsel/bounds/`. The columns:

- lines that are not empty, and all lines;
- functions and methods, nested ones too;
- constants: numbers that an UPPER_CASE name of a module or class is bound to, each entry of a tuple
  or dict for itself, an expression such as ``1 << 20`` once;
- options: numbers that are defaults of a class whose name ends in Options;
- in code: all other numbers but 0, 1, 2 and 0.5, of either sign.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

_PLAIN = frozenset({0, 1, 2, 0.5})
_BOUNDS = ("*relaxation*.py", "*descent*.py")
_PACKAGE = "subsetsel.solvers."


@dataclass(frozen=True)
class Size:
    """What is counted of one file, or of all."""

    filled: int
    lines: int
    functions: int
    constants: int
    options: int
    in_code: int

    def __add__(self, other: Size) -> Size:
        """Add column by column."""
        return Size(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


NOTHING = Size(0, 0, 0, 0, 0, 0)


def files_of(root: Path) -> list[Path]:
    """Find the files of the default solver in a checkout.

    Raises
    ------
    FileNotFoundError
        If it has no solvers/anneal.py.
    """
    folder = root / "solvers"
    found: list[Path] = []
    to_read = [folder / "anneal.py"]
    while to_read:
        path = to_read.pop()
        if path in found:
            continue
        found.append(path)
        named = (folder / f"{name}.py" for name in _siblings(ast.parse(path.read_text())))
        to_read += [other for other in named if other.is_file()]
    bounds = root / "subsetsel" / "bounds"
    return sorted(found) + sorted({path for rule in _BOUNDS for path in bounds.glob(rule)})


def _siblings(tree: ast.Module) -> Iterator[str]:
    """Names of the modules of `solvers/` that a file imports anywhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name.removeprefix(_PACKAGE) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level == 1 and module:
                yield module
            elif node.level == 1 or f"{module}." == _PACKAGE:
                yield from (name.name for name in node.names)
            elif module.startswith(_PACKAGE):
                yield module.removeprefix(_PACKAGE)


def size_of(source: str) -> Size:
    """Count one file."""
    tree = ast.parse(source)
    lines = source.splitlines()
    constants = list(_constants(tree.body))
    options: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            constants += _constants(node.body)
            if node.name.endswith("Options"):
                options += _defaults(node)
    counted = {id(part) for value in [*constants, *options] for part in ast.walk(value)}
    return Size(
        filled=sum(bool(line.strip()) for line in lines),
        lines=len(lines),
        functions=sum(
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(tree)
        ),
        constants=sum(_count(value) for value in constants),
        options=sum(_count(value) for value in options),
        in_code=sum(
            _is_number(node) and node.value not in _PLAIN
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and id(node) not in counted
        ),
    )


def _constants(body: Iterable[ast.stmt]) -> Iterator[ast.expr]:
    """Values that UPPER_CASE names are bound to."""
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            names = [name.id for name in targets if isinstance(name, ast.Name)]
            names += [
                name.id
                for several in targets
                if isinstance(several, ast.Tuple)
                for name in several.elts
                if isinstance(name, ast.Name)
            ]
            if names and all(name.isupper() for name in names):
                yield node.value


def _defaults(node: ast.ClassDef) -> Iterator[ast.expr]:
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and line.value is not None:
            yield line.value


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in {int, float}


def _count(value: ast.expr) -> int:
    """Count the numbers that were chosen: one for an expression, one for each entry of a list."""
    if isinstance(value, ast.Tuple | ast.List | ast.Set):
        return sum(_count(entry) for entry in value.elts)
    if isinstance(value, ast.Dict):
        return sum(_count(entry) for entry in value.values)
    if isinstance(value, ast.Call):
        return sum(_count(entry) for entry in [*value.args, *(k.value for k in value.keywords)])
    return int(any(_is_number(part) for part in ast.walk(value)))


def main(arguments: list[str] | None = None) -> int:
    """Print the table of a checkout.

    Returns
    -------
    int
        0, or 2 where the default solver is not found.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "root", nargs="?", type=Path, default=Path(__file__).resolve().parents[1], help="a checkout"
    )
    root: Path = parser.parse_args(arguments).root
    if not (root / "solvers" / "anneal.py").is_file():
        print(f"solver_size: {root} holds no solvers/anneal.py; give a checkout.", file=sys.stderr)
        return 2
    sizes = {path: size_of(path.read_text()) for path in files_of(root)}
    print(f"{'file':44s}" + "".join(f"{field.name:>10s}" for field in fields(Size)))
    for path, size in sizes.items():
        print(_line(str(path.relative_to(root)), size))
    print(_line(f"{len(sizes)} files", sum(sizes.values(), start=NOTHING)))
    return 0


def _line(name: str, size: Size) -> str:
    return f"{name:44s}" + "".join(f"{number:10,d}" for number in astuple(size))


if __name__ == "__main__":
    sys.exit(main())
