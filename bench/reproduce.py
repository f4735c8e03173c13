"""The paper's figures and Table 1, each by one command, at three sizes.

    python bench/reproduce.py fig1 --preset cpu --dry-run     # say what it would cost, and stop
    python bench/reproduce.py fig1 --preset cpu
    python bench/reproduce.py fmnist-lenet --seeds 10
    python bench/reproduce.py table1 --preset cpu --archs 24

and the map of where joint influence helps a network, one study each:

    python bench/reproduce.py validity    # from staying at theta-hat to starting from scratch
    python bench/reproduce.py noise       # wrong labels
    python bench/reproduce.py unequal     # a rare class
    python bench/reproduce.py text        # a sentence encoder, fine-tuned
    python bench/reproduce.py pictures    # a network of ImageNet, fine-tuned

Each finished run is written to --out: a command that was stopped does what is left, and one with
more seeds or methods adds to what is there. Each method is compared with random over the seeds that
both have. ``docs/experiments.md`` has the presets and their cost.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from data import find_folder
from heads import default_cache_dir
from map_run import STUDIES, run_study
from recording import environment, typed_command

from subsetsel.errors import OptionError, SubsetselError
from subsetsel.experiments.compare import Comparison
from subsetsel.experiments.load import load_images
from subsetsel.experiments.networks import first_networks
from subsetsel.experiments.plan import Plan
from subsetsel.experiments.presets import PLANS
from subsetsel.experiments.search_report import write_search_report
from subsetsel.experiments.tables import draw_budgets, draw_curves, write_table
from subsetsel.influence.device import feature_device

RESULTS = Path(__file__).with_name("results")
FOLDERS = {"fashion-mnist": "fashion-mnist", "cifar-10": "cifar-10-batches-bin"}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    figures = sorted({figure for figure, _ in PLANS})
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("figure", choices=[*figures, "fig2", *STUDIES])
    parser.add_argument("--preset", choices=["paper", "gpu", "cpu"], default="cpu")
    parser.add_argument("--seeds", type=seeds, help="how many (0, 1, ...), or which: 10-19 or 3,5")
    parser.add_argument("--methods", help="names with commas between (semicolons for the map)")
    parser.add_argument("--cases", help="of the map: names with semicolons between")
    parser.add_argument("--kept", help="numbers kept, with commas between")
    parser.add_argument("--networks", help="names with commas between")
    parser.add_argument("--iterations", type=int, help="steps of a training, whatever is kept")
    parser.add_argument("--lr", type=float, help="rate of the first step of a training")
    parser.add_argument(
        "--archs", dest="networks", help="the same, or how many of the 720 networks of Table 1"
    )
    parser.add_argument("--data-dir", type=Path, help="where the folders of the data sets are")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--threads", type=int, default=0, help="of torch; 0: its choice, 1 for the map"
    )
    parser.add_argument("--out", type=Path, help="bench/results/<figure>-<preset> by default")
    parser.add_argument("--cache", type=Path, help="where trained scorers are stored; see heads.py")
    parser.add_argument("--dry-run", action="store_true", help="print the cost and stop")
    return parser.parse_args(arguments)


def seeds(text: str) -> tuple[int, ...]:
    """Read how many seeds (3: 0, 1, 2), a range of them (10-19, 0-0), or a list (3,5)."""
    if text.isdecimal():
        if not int(text):
            raise argparse.ArgumentTypeError("0 seeds are none; for seed 0 alone write 0-0")
        return tuple(range(int(text)))
    first, dash, last = text.partition("-")
    if dash:
        if int(last) < int(first):
            raise argparse.ArgumentTypeError(f"{text} holds no seeds; write the smaller one first")
        return tuple(range(int(first), int(last) + 1))
    return tuple(int(part) for part in text.split(","))


def networks(text: str) -> tuple[str, ...]:
    """Read names of networks, or how many of the 720 ConvNets."""
    return first_networks(int(text)) if text.isdecimal() else tuple(text.split(","))


def main(arguments: list[str] | None = None) -> int:
    """Run one figure; the exit code is 2 for a bad command, 130 after Ctrl-C."""
    given = parse(arguments)
    if given.figure == "fig2":
        print("fig2 is about the head: predicted against measured, exactly refitted.")
        print("    python bench/theory_check.py")
        return 0
    if given.threads:
        torch.set_num_threads(given.threads)
    command = typed_command("reproduce.py", arguments)
    try:
        if given.figure in STUDIES:
            run_study(given, command, RESULTS)
        else:
            run(given, command)
    except SubsetselError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; what is finished is kept, and the same command goes on", file=sys.stderr)
        return 130
    return 0


def _plan(given: argparse.Namespace) -> Plan:
    if given.cases:
        raise OptionError(f"--cases belongs to the map; {given.figure} has none, so leave it out.")
    plan = PLANS.get((given.figure, given.preset))
    if plan is None:
        raise OptionError(f"{given.figure} has no preset {given.preset!r}.")
    changes: dict[str, Any] = {
        "methods": given.methods and tuple(given.methods.split(",")),
        "networks": given.networks and networks(given.networks),
        "num_kept": given.kept and tuple(int(k) for k in given.kept.split(",")),
        "seeds": given.seeds,
    }
    plan = replace(plan, **{name: value for name, value in changes.items() if value})
    recipe: dict[str, Any] = {}
    if given.iterations:
        recipe |= {"iterations": given.iterations, "epochs": None}
    if given.lr:
        recipe["lr"] = given.lr
    return replace(plan, recipe=replace(plan.recipe, **recipe))


def run(given: argparse.Namespace, command: str) -> None:
    """Do the trainings of a figure that are not done yet, and write its table and picture."""
    plan = _plan(given)
    images = load_images(find_folder(FOLDERS[plan.data], given.data_dir))
    folder = given.out or RESULTS / f"{given.figure}-{given.preset}"
    cache = given.cache or default_cache_dir() / "scorers"
    comparison = Comparison(plan, images, folder, feature_device(given.device), cache=cache)
    print(f"{len(comparison.open_cells())} trainings to do; runs go to {folder}")
    print(comparison.cost(), flush=True)
    if given.dry_run:
        return
    about = sitting(command, plan.seeds)
    records = comparison.run(lambda line: print(line, flush=True), about)
    title = f"{given.figure}: {plan.data}, {', '.join(plan.networks)}"
    picture = folder / "figure.png"
    if given.figure == "table1":
        write_search_report(plan, records, folder)
    else:
        write_table(records, folder / "table.md", title, notes=notes(plan))
    if plan.has_curve:
        is_cpu = comparison.pictures.labels.device.type == "cpu"
        draw_curves(records, picture, title, is_cpu=is_cpu)
    elif given.figure != "table1":
        draw_budgets(records, picture, title, len(images.train))
    print((folder / "table.md").read_text())


def notes(plan: Plan) -> str:
    """Say above the table how the numbers came about."""
    return (
        f"Chosen from {plan.scorer} ({plan.scorer_recipe}), trained anew for "
        f"{'the first seed only' if plan.is_scorer_shared else 'every seed'}; then trained from "
        f"scratch on what is kept ({plan.recipe}). Test accuracy after the last step, mean ± "
        "standard deviation over seeds; differences in points, paired by seed, with 95 % interval "
        "and the p of the paired t-test, corrected by Holm for the number of methods.\n\n"
    )


def sitting(command: str, seeds: tuple[int, ...]) -> dict[str, object]:
    """Describe machine, code and command."""
    return {
        **environment(command, torch.get_num_threads()),
        "seeds": list(seeds),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "started": time.strftime("%Y-%m-%d %H:%M:%S %Z"),
    }


if __name__ == "__main__":
    sys.exit(main())
