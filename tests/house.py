"""Count the house: rooms, floors, arrows, circles, lines. python tests/house.py [ROOT] [--check].

A room is a folder of the package; a module that lies loose in ``subsetsel/`` is a room of its own,
and ``solvers/`` is the room ``solvers``. An arrow leads from a room to one that it imports from.
Imports are read from the source (lazy ones and those under ``TYPE_CHECKING`` too); nothing is run.
``errors`` is the ground: it has floor 0, and neither it nor the arrows to it are counted.
"""

from __future__ import annotations

import argparse
import ast
import io
import sys
import tokenize
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "subsetsel"
GROUND = "errors"
MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 60
MAX_POSITIONAL = 6

Graph = Mapping[str, set[str]]


@dataclass(frozen=True)
class Module:
    """One file of Python: its name, where it lies, and what is written in it."""

    name: str
    path: Path
    source: str

    @property
    def room(self) -> str:
        """The first folder or file below the package, ``bench`` or ``tests``."""
        first, *rest = self.name.split(".")
        if first != PACKAGE:
            return first
        return rest[0] if rest else "__init__"

    @property
    def num_lines(self) -> int:
        """Lines of the file, blank ones and comments included."""
        return self.source.count("\n")


def modules_of(root: Path) -> dict[str, Module]:
    """Every module of package, solvers, bench and tests, by its dotted name."""
    found = {}
    for folder, prefix in (
        (PACKAGE, PACKAGE),
        ("solvers", f"{PACKAGE}.solvers"),
        ("bench", "bench"),
        ("tests", "tests"),
    ):
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            name = ".".join([prefix, *(part for part in parts if part != "__init__")])
            found[name] = Module(name, path.relative_to(root), path.read_text(encoding="utf-8"))
    return found


def imports_of(module: Module, modules: Mapping[str, Module]) -> set[str]:
    """Names of the modules that one imports; a script of ``bench`` sees its neighbours."""
    found = set()
    for name in _names_imported(module):
        neighbour = f"{module.room}.{name}"
        target = neighbour if neighbour.rsplit(".", 1)[0] in modules else name
        while target and target not in modules:
            target = target.rpartition(".")[0]
        if target and target != module.name:
            found.add(target)
    return found


def _names_imported(module: Module) -> Iterator[str]:
    """Absolute names, each as long as it could be: ``from a import b`` gives ``a.b``."""
    package = module.name.split(".")
    if module.path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(module.source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def circles_of(graph: Graph) -> list[list[str]]:
    """Strongly connected components with more than one member (Tarjan, without recursion)."""
    return sorted(sorted(group) for group in _components(graph) if len(group) > 1)


def _components(graph: Graph) -> list[set[str]]:
    """Strongly connected components, those that others lead to first."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    open_nodes: list[str] = []
    found: list[set[str]] = []
    for start in sorted(graph):
        if start in order:
            continue
        order[start] = low[start] = len(order)
        open_nodes.append(start)
        walk = [(start, iter(sorted(graph[start])))]
        while walk:
            node, targets = walk[-1]
            for target in targets:
                if target not in order:
                    order[target] = low[target] = len(order)
                    open_nodes.append(target)
                    walk.append((target, iter(sorted(graph[target]))))
                    break
                if target in open_nodes:
                    low[node] = min(low[node], order[target])
            else:
                walk.pop()
                if walk:
                    low[walk[-1][0]] = min(low[walk[-1][0]], low[node])
                if low[node] == order[node]:
                    cut = open_nodes.index(node)
                    found.append(set(open_nodes[cut:]))
                    del open_nodes[cut:]
    return found


def floors_of(graph: Graph) -> dict[str, int]:
    """Longest path from a room down to one that imports nothing; a circle is on one floor."""
    floors: dict[str, int] = {}
    for group in _components(graph):
        below = {target for node in group for target in graph[node]} - group
        floor = 1 + max((floors[target] for target in below), default=0)
        floors.update(dict.fromkeys(group, floor))
    return floors


def layers_of(root: Path) -> list[set[str]]:
    """The floors that pyproject.toml prescribes to import-linter, the top one first."""
    path = root / "pyproject.toml"
    config = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    contracts = config.get("tool", {}).get("importlinter", {}).get("contracts", [])
    return [
        {room.strip(" ()").rpartition(".")[2] for room in layer.replace("|", ":").split(":")}
        for contract in contracts
        if contract["type"] == "layers"
        for layer in contract["layers"]
    ]


def long_functions_of(module: Module, limit: int = MAX_FUNCTION_LINES) -> list[tuple[str, int]]:
    """Functions with more lines of code than the limit, and how many; docstrings do not count."""
    code = _lines_of_code(module.source)
    found = []
    for node in ast.walk(ast.parse(module.source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        lines = code & set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        if ast.get_docstring(node) is not None:
            text = node.body[0]
            lines -= set(range(text.lineno, (text.end_lineno or text.lineno) + 1))
        if len(lines) > limit:
            found.append((node.name, len(lines)))
    return found


def _lines_of_code(source: str) -> set[int]:
    """Numbers of the lines that hold more than a comment."""
    blank = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in blank and token.string:
            lines.update(range(token.start[0], token.end[0] + 1))
    return lines


def long_calls_of(module: Module) -> list[tuple[int, str, int]]:
    """Calls by more positional arguments than six: line, what is called, how many."""
    return [
        (node.lineno, ast.unparse(node.func), len(node.args))
        for node in ast.walk(ast.parse(module.source))
        if isinstance(node, ast.Call) and len(node.args) > MAX_POSITIONAL
    ]


@dataclass(frozen=True)
class House:
    """What was counted below one root."""

    modules: Mapping[str, Module]
    files: Graph
    rooms: Graph
    floors: Mapping[str, int]
    climbing: list[tuple[str, str]]
    num_arrows_to_ground: int
    circles_of_files: list[list[str]]
    circles_of_rooms: list[list[str]]
    long_files: list[tuple[str, int]]
    long_functions: list[tuple[str, str, int]]
    long_calls: list[tuple[str, int, str, int]]

    @property
    def is_in_order(self) -> bool:
        """No circle, no arrow up, no long file, no long function; long calls are only listed."""
        return not (
            self.climbing
            or self.circles_of_files
            or self.circles_of_rooms
            or self.long_files
            or self.long_functions
        )


def count(root: Path) -> House:
    """Count the house below a root; tests are counted in lines alone."""
    modules = modules_of(root)
    housed = {name: module for name, module in modules.items() if module.room != "tests"}
    files = {name: imports_of(module, housed) for name, module in housed.items()}
    rooms: dict[str, set[str]] = {module.room: set() for module in housed.values()}
    pairs = {
        (housed[name].room, housed[target].room): (name, target)
        for name, targets in files.items()
        for target in targets
    }
    for source, target in pairs:
        if source != target and target != GROUND:
            rooms[source].add(target)
    floors = {room: floor for room, floor in floors_of(rooms).items() if room != GROUND}
    circles = circles_of(rooms)
    ranks = {room: -rank for rank, layer in enumerate(layers_of(root)) for room in layer}
    if not ranks:  # nothing is prescribed: an arrow that closes a circle climbs
        ranks = floors
    climbing = [
        pairs[source, target]
        for source in sorted(rooms)
        for target in sorted(rooms[source])
        if source in ranks and target in ranks and ranks[source] <= ranks[target]
    ]
    return House(
        modules,
        files,
        rooms,
        floors,
        climbing,
        sum(target == GROUND and source != target for source, target in pairs),
        circles_of(files),
        circles,
        [(str(m.path), m.num_lines) for m in housed.values() if m.num_lines > MAX_FILE_LINES],
        [(str(m.path), *found) for m in modules.values() for found in long_functions_of(m)],
        [
            (str(m.path), *found)
            for m in housed.values()
            if not m.name.endswith("_kernels")
            for found in long_calls_of(m)
        ],
    )


def report(house: House) -> Iterator[str]:
    """Lines of the table, the totals, and whatever is not in order."""
    lines: dict[str, int] = defaultdict(int)
    num_files: dict[str, int] = defaultdict(int)
    for module in house.modules.values():
        lines[module.room] += module.num_lines
        num_files[module.room] += 1
    yield f"{'floor':>5}  {'room':20} {'files':>5} {'lines':>7}  imports from"
    for room in sorted(lines, key=lambda room: (house.floors.get(room, 0), room), reverse=True):
        floor = str(house.floors.get(room, "" if room == "tests" else 0))
        below = ", ".join(sorted(house.rooms.get(room, ())))
        yield f"{floor:>5}  {room:20} {num_files[room]:5} {lines[room]:7,}  {below}".rstrip()
    package = sum(lines.values()) - lines["bench"] - lines["tests"]
    yield ""
    rooms = len(house.floors)
    floors = max(house.floors.values(), default=0)
    yield (
        f"rooms {rooms}, floors {floors}, arrows {sum(map(len, house.rooms.values()))}"
        f" (and {house.num_arrows_to_ground} to {GROUND}, the ground)"
    )
    yield f"lines: package {package:,}, bench {lines['bench']:,}, tests {lines['tests']:,}"
    climbing = [f"{source} -> {target}" for source, target in house.climbing]
    yield from _listed("arrows that climb", climbing)
    yield from _listed("circles between rooms", map(" - ".join, house.circles_of_rooms))
    yield from _listed("circles between files", map(" - ".join, house.circles_of_files))
    yield from _listed(
        f"files above {MAX_FILE_LINES} lines", (f"{path}: {n}" for path, n in house.long_files)
    )
    yield from _listed(
        f"functions above {MAX_FUNCTION_LINES} lines of code",
        (f"{path}: {name}, {n}" for path, name, n in house.long_functions),
    )
    yield from _listed(
        f"calls by more than {MAX_POSITIONAL} positional arguments, kernels' own left out",
        (f"{path}:{line}: {name}, {n}" for path, line, name, n in house.long_calls),
    )


def _listed(title: str, found: Iterable[str]) -> Iterator[str]:
    """A count, and one line for each that was found."""
    lines = list(found)
    yield f"{title}: {len(lines)}"
    yield from (f"    {line}" for line in lines)


def main() -> int:
    """Print the count; with ``--check``, fail where something is not in order."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--check", action="store_true", help="exit with 1 if not in order")
    options = parser.parse_args()
    house = count(options.root)
    print("\n".join(report(house)))
    return int(options.check and not house.is_in_order)


if __name__ == "__main__":
    sys.exit(main())
