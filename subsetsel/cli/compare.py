"""The command `compare`: retrain whole networks on what several methods keep."""

from __future__ import annotations

from typing import Any

from subsetsel.cli import options as given
from subsetsel.cli.console import print_note, print_result
from subsetsel.cli.interrupt import quits_at_once
from subsetsel.cli.output import check_places
from subsetsel.errors import OptionError
from subsetsel.support.optional import import_extra


def compare(
    data: given.Images,
    kept: given.Kept,
    out: given.Results,
    methods: given.Methods = "random,strata_gentle,joint,joint_both_gentle",
    seeds: given.NumSeeds = 5,
    network: given.Network = "lenet",
    scorer: given.Scorer = "strided",
    scorer_epochs: given.ScorerEpochs = 5,
    epochs: given.Epochs = None,
    iterations: given.Iterations = None,
    batch_size: given.BatchSize = 64,
    lr: given.LearningRate = 0.05,
    padding: given.Padding = 0,
    balanced: given.Balanced = False,
    share_scorer: given.ShareScorer = False,
    device: given.Device = "auto",
    dry_run: given.CostOnly = False,
    as_json: given.Json = False,
    list_methods: given.ListMethods = False,
) -> None:
    """Compare ways of choosing what to keep by retraining on it, over seeds.

    A scorer is trained on everything, every method keeps the same number, and a fresh network is
    trained on what is kept. The results are a table with paired tests against chance, a CSV file,
    a picture, and in the folder `kept` what each method keeps, as sorted numbers of pictures. Stop
    it at any time: the same command continues from there.

    \b
    Examples:
      subsetsel compare fashion-mnist/ --kept 1000,4000 --iterations 600 --out runs --dry-run
      subsetsel compare pictures.npz --kept 500 --methods random,joint --epochs 20 --out runs
    """
    with quits_at_once():
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
        num_kept=given.numbers("kept", kept),
        seeds=tuple(range(seeds)),
        is_balanced=balanced,
        is_scorer_shared=share_scorer,
    )
    if not dry_run:
        # What is only needed after hours of training is tried before.
        import_extra("matplotlib.figure", "plots", "pictures of comparisons")
        check_places({"--out": out / "table.md", "the picture of --out": out / "figure.png"})
    images = load_images(data)
    comparison = Comparison(plan, images, out, feature_device(device))
    num_open = len(comparison.open_cells())
    print_note(f"{num_open} trainings to do; runs go to {out}\n{comparison.cost()}")
    if dry_run:
        return
    about = {**environment(), "command": "compare", "seeds": plan.seeds}
    records = comparison.run(print_note, about)
    title = f"{plan.data}: {', '.join(plan.networks)} on what is kept"
    write_table(records, out / "table.md", title)
    draw_budgets(records, out / "figure.png", title, len(images.train))
    text = (out / "table.md").read_text()
    print_result({"settings": plan.common, "runs": records}, text, as_json=as_json)
