"""Runs a study of the map: says what it costs, does what is left, writes its table and picture."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from heads import default_cache_dir
from map_report import write_report
from map_study import Asked, Study, cells, cost
from recording import environment

from subsetsel.errors import OptionError
from subsetsel.experiments.runs import RunLog
from subsetsel.support.text import spoken_time

STUDIES = {
    "validity": "map_validity:Validity",
    "noise": "map_faults:Noise",
    "unequal": "map_faults:Unequal",
    "text": "map_text:Text",
    "pictures": "map_pictures:PretrainedPictures",
}
"""Name -> module and class; a module is loaded when its study is asked for."""


def run_study(given: argparse.Namespace, command: str, results: Path) -> None:
    """Do the trainings of a study that are not done yet."""
    _refuse_what_is_of_figures(given)
    # Trainings of small networks lose more than they gain by a second thread on a busy machine.
    torch.set_num_threads(given.threads or 1)
    module, _, name = STUDIES[given.figure].partition(":")
    kind: type[Study] = getattr(import_module(module), name)
    folder = given.out or results / f"map-{given.figure}"
    log = RunLog(folder, {"study": given.figure, **kind.settings})
    study = kind(log, given.data_dir, given.cache or default_cache_dir() / "map")
    asked = _asked(kind.asked, given)
    wanted = (one for one in cells(asked, kind.num_examples) if not study.leaves_out(one))
    todo = [cell for cell in wanted if cell.key not in log]
    print(f"{len(todo)} trainings to do; runs go to {folder}")
    expected = cost(study, todo)
    print(expected, flush=True)
    if given.dry_run:
        return
    if todo:
        started = time.perf_counter()
        about = environment(command, torch.get_num_threads()) | {"expected_s": expected.seconds}
        log.fill(todo, study.make, lambda line: print(line, flush=True), about)
        spent = time.perf_counter() - started
        print(f"took {spoken_time(spent)}; {spoken_time(expected.seconds)} had been expected")
    path = folder / "env.json"
    sittings = json.loads(path.read_text())["sittings"] if path.exists() else []
    print(write_report(study, folder, sittings))


def _refuse_what_is_of_figures(given: argparse.Namespace) -> None:
    plain = {"preset": "cpu", "networks": None, "iterations": None, "lr": None, "device": "auto"}
    for name, value in plain.items():
        if getattr(given, name) != value:
            raise OptionError(
                f"--{name} belongs to the figures; {given.figure} has a recipe of its own, on the "
                "processor, so leave it out."
            )


def _asked(whole: Asked, given: argparse.Namespace) -> Asked:
    """Take the part of a study that the command names."""
    changes: dict[str, Any] = {
        "cases": given.cases and tuple(given.cases.split(";")),
        "methods": given.methods and tuple(given.methods.split(";")),
        "num_kept": given.kept and tuple(int(k) for k in given.kept.split(",")),
        "seeds": given.seeds,
    }
    for name in ("cases", "methods"):
        unknown = [one for one in changes[name] or () if one not in getattr(whole, name)]
        if unknown:
            raise OptionError(
                f"--{name}: there is no {unknown[0]!r}; there are "
                f"{'; '.join(getattr(whole, name))}."
            )
    return replace(whole, **{name: value for name, value in changes.items() if value})
