"""What networks learn from what is kept: `select_for_training` beside fixed rules.

    python bench/select_training.py fmnist     # LeNet on Fashion-MNIST from scratch: two hours
    python bench/select_training.py cifar      # a strided network on CIFAR-10: 40 minutes
    python bench/select_training.py convnet    # a ConvNet with augmentation, that one asked first
    python bench/select_training.py warm       # LeNet goes on from what it learned of everything
    python bench/select_training.py made       # a task in which nothing can be gained: minutes

A search sees training pictures only: its own scorer, its own part set aside. What it found is then
judged on seeds that took no part in it: a fresh scorer and fresh initial parameters for each, every
method chosen from all training pictures, trained once, and judged on the official test half at the
last step. The methods of a seed share scorer and parameters, so differences are taken seed by seed.

Times are of one core (``OMP_NUM_THREADS=1``), which others may use too. Every run is written as
soon as it ends; the same command with the same ``--out`` goes on where it stopped. A folder belongs
to one process; what two wrote with ``--search 0`` and ``--search 1`` is joined by appending one
``runs.jsonl`` to the other.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from data import find_folder
from heads import default_cache_dir
from recording import environment, new_parser, typed_command
from select_made import made_run
from select_networks import FromScratch, NearTheta
from select_report import write_report
from select_settings import REFEREE, SEARCH, SETTINGS, Cell, Setting, search_of

from subsetsel.experiments.load import load_images
from subsetsel.experiments.runs import Record, RunLog


def cells(setting: Setting, only: int | None = None) -> Iterator[Cell]:
    """List what is to be done: the first searches with the seeds that they serve, and so on."""
    for number in range(max(1, setting.num_searches)) if only is None else (only,):
        if setting.num_searches and REFEREE in setting.methods:
            yield from (Cell(num_kept, SEARCH, number) for num_kept in setting.num_kept)
        for seed in setting.seeds:
            if search_of(setting, seed) == number:
                for num_kept in setting.num_kept:
                    yield from (Cell(num_kept, method, seed) for method in setting.methods)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = new_parser(__doc__, "select")
    add = parser.add_argument
    add("setting", choices=list(SETTINGS))
    add("--num-kept", nargs="+", type=int, metavar="NUMBER", help="these alone")
    add("--seeds", nargs="*", type=int, metavar="NUMBER", help="these alone; none: only searches")
    add("--search", type=int, metavar="NUMBER", help="with the seeds that it serves, alone")
    add("--methods", nargs="+", metavar="NAME", help="these alone; may name what is not default")
    add("--iterations", type=int, metavar="NUMBER", help="steps of each training")
    add("--lr", type=float, metavar="RATE")
    add("--data-dir", type=Path)
    add("--cache-dir", type=Path, default=default_cache_dir())
    add("--report", action="store_true", help="write the table of what is there, measure nothing")
    return parser.parse_args(arguments)


def asked_setting(asked: argparse.Namespace) -> Setting:
    """Change a setting as the command says."""
    setting = SETTINGS[asked.setting]
    recipe: dict[str, Any] = {"iterations": asked.iterations, "lr": asked.lr}
    recipe = {name: value for name, value in recipe.items() if value is not None}
    return replace(setting, recipe=replace(setting.recipe, **recipe))


def todo_of(setting: Setting, asked: argparse.Namespace, log: RunLog) -> list[Cell]:
    """List the cells that were asked for and are not done."""
    wanted = setting if asked.methods is None else replace(setting, methods=tuple(asked.methods))
    return [
        cell
        for cell in cells(wanted, asked.search)
        if cell.key not in log
        and (cell.method == SEARCH or asked.seeds is None or cell.seed in asked.seeds)
        and (asked.num_kept is None or cell.num_kept in asked.num_kept)
    ]


def main(arguments: list[str] | None = None) -> int:
    """Measure what is not in the folder yet, and write the table of all that is."""
    asked = parse_arguments(arguments)
    setting = asked_setting(asked)
    folder = asked.out / setting.name
    about = {"setting": setting.name, "recipe": asdict(setting.recipe)}
    log = RunLog(folder, about)
    todo = [] if asked.report else todo_of(setting, asked, log)
    if todo:
        torch.set_num_threads(1)
        command = typed_command("select_training.py", arguments)

        def found(num_kept: int, number: int) -> Record:
            key = Cell(num_kept, SEARCH, number).key
            return next(record for record in log.records if record["key"] == key)

        about = environment(command, torch.get_num_threads())
        make = maker(setting, asked, found)
        log.fill(todo, make, lambda line: print(line, flush=True), about)
    print(write_report(setting, folder))
    return 0


def maker(
    setting: Setting, asked: argparse.Namespace, found: Callable[[int, int], Record]
) -> Callable[[Cell], Record]:
    """Load the pictures, if there are any, and say what does a cell."""
    if not setting.data:
        return lambda cell: {"key": cell.key, **asdict(cell), **made_run(cell.num_kept, cell.seed)}
    images = load_images(find_folder(setting.data, asked.data_dir))
    kind = FromScratch if setting.first_recipe is None else NearTheta
    return kind(setting, images, asked.cache_dir, found).make


if __name__ == "__main__":
    raise SystemExit(main())
