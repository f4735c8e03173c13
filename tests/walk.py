"""Follow one Problem through solve, call by call: python tests/walk.py [ROOT].

A step leads from one file of the package to another that it calls, and is counted once, however
many calls take it. It goes up if the file called is on a higher floor, as house.py counts floors.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import house
import numpy as np

Place = tuple[str, str]


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
        self._files = {str(root / m.path): name for name, m in house.modules_of(root).items()}
        self.found: dict[tuple[Place, Place], None] = {}

    def __call__(self, frame: FrameType, event: str, arg: object) -> None:
        """Take one event of ``sys.setprofile``."""
        if event != "call" or (called := self._place(frame.f_code)) is None:
            return
        caller = frame.f_back
        while caller is not None:
            place = self._place(caller.f_code)
            if place is not None:
                if place[0] != called[0]:
                    self.found.setdefault((place, called))
                return
            caller = caller.f_back

    def _place(self, code: CodeType) -> Place | None:
        name = self._files.get(code.co_filename)
        return None if name is None or name.startswith("tests") else (name, code.co_qualname)


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


def main() -> int:
    """Print each step with its first call, how many go up, and which files are visited most."""
    root = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else Path(__file__).parents[1]
    counted = house.count(root)
    calls = walk(root)
    steps: dict[tuple[str, str], str] = {}
    for (source, caller), (target, called) in calls:
        steps.setdefault((source, target), f"{source}: {caller} -> {target}: {called}")
    num_up = 0
    for pair, line in steps.items():
        floors = [counted.floors.get(counted.modules[name].room, 0) for name in pair]
        goes_up = floors[0] < floors[1]
        num_up += goes_up
        print(f"{'up' if goes_up else '':2} {line.replace('subsetsel.', '')}")
    visits = Counter(target for _, target in steps)
    print(f"steps {len(steps)}, of them up {num_up}; pairs of functions {len(calls)}")
    print("visits:", ", ".join(f"{name} {count}" for name, count in visits.most_common(6)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
