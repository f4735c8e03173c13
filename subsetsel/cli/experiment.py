"""Commands that retrain whole networks: compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from subsetsel.cli import options as given
from subsetsel.cli.console import print_json, print_note, print_text
from subsetsel.errors import OptionError

Pictures = Annotated[
    Path,
    typer.Argument(
        help="Pictures: a folder of IDX files (MNIST), of CIFAR's binary files, of TinyImageNet, "
        "one with train/ and test/ holding a folder per class, or an .npz file."
    ),
]
Kept = Annotated[str, typer.Option(help="How many to keep; several with commas between.")]
Methods = Annotated[str, typer.Option(help="Names with commas between; see --list-methods.")]
Seeds = Annotated[int, typer.Option(help="How many; each draws scorer, choice and training anew.")]
Network = Annotated[str, typer.Option(help="Trained on what is kept; several with commas.")]
Epochs = Annotated[int | None, typer.Option(help="Passes over what is kept.")]
Iterations = Annotated[int | None, typer.Option(help="Steps, whatever is kept. One of the two.")]
Folder = Annotated[
    Path, typer.Option("--out", help="Folder for results; finished runs in it are not repeated.")
]


def _list_methods(is_wanted: bool) -> None:
    if is_wanted:
        from subsetsel.experiments.methods import METHODS

        print_text("\n".join(["whole", *METHODS]))
        raise typer.Exit


def compare(
    data: Pictures,
    kept: Kept,
    out: Folder,
    methods: Methods = "random,strata_gentle,joint,joint_both_gentle",
    seeds: Seeds = 5,
    network: Network = "lenet",
    scorer: Annotated[str, typer.Option(help="Network that is asked what to keep.")] = "strided",
    scorer_epochs: Annotated[int, typer.Option(help="Passes of the scorer over all.")] = 5,
    epochs: Epochs = None,
    iterations: Iterations = None,
    batch_size: Annotated[int, typer.Option(help="Pictures a step.")] = 64,
    lr: Annotated[float, typer.Option(help="Of the first step; falls along a cosine.")] = 0.05,
    padding: Annotated[int, typer.Option(help="Random crop and mirror; 0 for neither.")] = 0,
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Let scores rank within classes.")
    ] = False,
    share_scorer: Annotated[
        bool, typer.Option("--share-scorer", help="One scorer for all seeds.")
    ] = False,
    device: given.Device = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cost and stop.")] = False,
    as_json: given.Json = False,
    list_methods: Annotated[
        bool,
        typer.Option(
            "--list-methods", callback=_list_methods, is_eager=True, help="Print them and exit."
        ),
    ] = False,
) -> None:
    """Compare ways of choosing what to keep by retraining on it, over seeds.

    A scorer is trained on everything, every method keeps as many, and a fresh network is trained
    on what is kept. Results are a table with paired tests against chance, a CSV file and a picture.
    Stop it whenever you like: it goes on where it was.

    \b
    Examples:
      subsetsel compare fashion-mnist/ --kept 1000,4000 --iterations 600 --out runs --dry-run
      subsetsel compare pictures.npz --kept 500 --methods random,joint --epochs 20 --out runs
    """
    from subsetsel.experiments.compare import Comparison
    from subsetsel.experiments.load import load_images
    from subsetsel.experiments.plan import Plan
    from subsetsel.experiments.recipe import Recipe
    from subsetsel.experiments.tables import draw_budgets, write_table
    from subsetsel.influence.device import feature_device
    from subsetsel.report.environment import environment

    if epochs is None and iterations is None:
        raise OptionError("give --epochs or --iterations: how long to train on what is kept.")
    common: dict[str, Any] = {"batch_size": batch_size, "lr": lr, "padding": padding}
    plan = Plan(
        data=data.resolve().name,
        scorer=scorer,
        scorer_recipe=Recipe(epochs=scorer_epochs, **common),
        networks=tuple(network.split(",")),
        recipe=Recipe(epochs=epochs, iterations=iterations, **common),
        methods=tuple(methods.split(",")),
        num_kept=_numbers(kept),
        seeds=tuple(range(seeds)),
        is_balanced=balanced,
        is_scorer_shared=share_scorer,
    )
    images = load_images(data)
    comparison = Comparison(plan, images, out, feature_device(device))
    num_open = len(comparison.open_cells())
    print_note(f"{num_open} trainings to do; runs go to {out}\n{comparison.cost()}")
    if dry_run:
        return
    comparison.log.add_sitting({**environment(), "command": "compare", "seeds": plan.seeds})
    records = comparison.run(print_note)
    title = f"{plan.data}: {', '.join(plan.networks)} on what is kept"
    write_table(records, out / "table.md", title)
    draw_budgets(records, out / "figure.png", title, len(images.train))
    if as_json:
        print_json({"settings": plan.common, "runs": records})
    else:
        print_text((out / "table.md").read_text())


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise OptionError(f"--kept must be integers with commas between, got {text!r}.") from error
