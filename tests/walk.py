"""Follow one Problem through solve, call by call: python tests/walk.py [ROOT].

A step leads from a function of one file of the package to a function of another, and is counted
once, however many calls take it. What a solver, a bound or the rows do inside is not followed. A
step goes up if the file called is on a higher floor, as house.py counts floors.
"""

from __future__ import annotations

import ast
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import house
import numpy as np

Place = tuple[str, str]

# Rooms whose inside is not followed; before the rooms there were, the bounds lay in four files.
LEAVES = {"solvers", "rows", "bounds", "relaxation", "semidefinite", "strengthening"}


class Finder:
    """Finds the package and its solvers below a root, before any installed copy."""

    def __init__(self, root: Path) -> None:
        self._folders = {
            house.PACKAGE: root / house.PACKAGE,
            f"{house.PACKAGE}.solvers": root / "solvers",
        }

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Spec of one of the two packages; what lies in them is found through their folders."""
        folder = self._folders.get(name)
        if folder is None:
            return None
        return spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )


class Steps:
    """Notes each first call from one file of the package to another."""

    def __init__(self, root: Path) -> None:
        self._modules = {
            str(root / module.path): module
            for module in house.modules_of(root).values()
            if module.room not in {"tests", "bench"}
        }
        self.found: dict[tuple[Place, Place], None] = {}

    def __call__(self, frame: FrameType, event: str, arg: object) -> None:
        """Take one event of ``sys.setprofile``."""
        if event != "call" or frame.f_code.co_filename not in self._modules:
            return
        callers = []
        caller = frame.f_back
        while caller is not None:
            if caller.f_code.co_filename in self._modules:
                callers.append(caller.f_code)
            caller = caller.f_back
        if not callers or any(self._module(code).room in LEAVES for code in callers):
            return
        source, target = self._place(callers[0]), self._place(frame.f_code)
        if source[0] != target[0]:
            self.found.setdefault((source, target))

    def _module(self, code: CodeType) -> house.Module:
        return self._modules[code.co_filename]

    def _place(self, code: CodeType) -> Place:
        return self._module(code).name, code.co_qualname


def walk(root: Path) -> list[tuple[Place, Place]]:
    """Steps of one ``solve``: Eq. 3 with the default solver on a made S of 300 x 8."""
    sys.meta_path.insert(0, Finder(root))
    import subsetsel

    rows = np.random.default_rng(0).normal(size=(300, 8))
    problem = subsetsel.Problem(rows, epsilon=2.0)
    subsetsel.solve(problem, max_iterations=10_000)  # what is imported and compiled is no step
    steps = Steps(root)
    threading.setprofile(steps)
    sys.setprofile(steps)
    try:
        subsetsel.solve(subsetsel.Problem(rows, epsilon=2.0), max_iterations=10_000)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return list(steps.found)


def properties_of(modules: Iterable[house.Module]) -> set[Place]:
    """Module and name of every property: a step to one reads an attribute."""
    return {
        (module.name, f"{node.name}.{each.name}")
        for module in modules
        for node in ast.walk(ast.parse(module.source))
        if isinstance(node, ast.ClassDef)
        for each in node.body
        if isinstance(each, ast.FunctionDef)
        and any("property" in ast.unparse(decorator) for decorator in each.decorator_list)
    }


def main() -> int:
    """Print each step, how many go up or read an attribute, and the files visited most."""
    root = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else Path(__file__).parents[1]
    counted = house.count(root)
    properties = properties_of(counted.modules.values())
    floors = {name: counted.floors.get(each.room, 0) for name, each in counted.modules.items()}
    steps = walk(root)
    up = {step for step in steps if floors[step[0][0]] < floors[step[1][0]]}
    reads = {step for step in steps if step[1] in properties}
    for step in steps:
        (source, caller), (target, called) = step
        mark = "up" if step in up else "reads" if step in reads else ""
        print(f"{mark:5} {source}: {caller} -> {target}: {called}".replace("subsetsel.", ""))
    print(f"steps {len(steps)}; up {len(up)}, reading an attribute {len(reads)}")
    visits = Counter(step[1][0] for step in steps if step not in reads)
    print("calls into:", ", ".join(f"{name} {count}" for name, count in visits.most_common(6)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
