"""The paper's experiments at three sizes: its own, one GPU for minutes, two CPU cores."""

from __future__ import annotations

from typing import Any

from subsetsel.experiments.networks import first_networks
from subsetsel.experiments.plan import WHOLE, Plan
from subsetsel.experiments.recipe import Recipe

PAPER = Recipe()
"""200 epochs, batch 128, lr 0.01 along a cosine, crop and mirror: Section 6.1."""

GPU = Recipe(epochs=None, iterations=900, batch_size=256, lr=0.1, precision="bfloat16")
"""Fixed steps, so that a small set is seen more often."""

CIFAR_CPU = Recipe(epochs=None, iterations=1000, batch_size=64, lr=0.05, padding=4)
LENET_CPU = Recipe(epochs=None, iterations=600, batch_size=64, lr=0.05, padding=0)
SCORER_CPU = Recipe(epochs=3, batch_size=128, lr=0.05, padding=0)

PAPER_METHODS = (
    "random",
    "class_mean",
    "herding",
    "forgetting",
    "grand",
    "el2n",
    "influence",
    "joint",
)
VARIATIONS = ("random_classes", "strata", "joint_classes", "joint_both_gentle")

# A proxy has 100 images of each class, as the paper's.
_SEARCH: dict[str, Any] = {
    "methods": (WHOLE, "random_classes", "herding", "forgetting", "joint_classes"),
    "num_kept": (1000,),
    "seeds": (0,),
    "is_balanced": True,
    "validation_share": 0.1,
}

_CIFAR_BUDGETS = (45_000, 40_000, 35_000, 30_000, 25_000, 20_000, 15_000, 10_000, 5_000)

PLANS: dict[tuple[str, str], Plan] = {
    ("fmnist-lenet", "cpu"): Plan(
        data="fashion-mnist",
        scorer="strided",
        scorer_recipe=SCORER_CPU,
        networks=("lenet",),
        recipe=LENET_CPU,
        methods=("random", "strata_gentle", "joint", "joint_both_gentle"),
        num_kept=(1000, 2000, 4000),
        seeds=tuple(range(10)),
        num_proposals=2_000_000,
    ),
    ("fig1", "paper"): Plan(
        data="cifar-10",
        scorer="resnet50",
        scorer_recipe=PAPER,
        networks=("resnet50",),
        recipe=PAPER,
        methods=(WHOLE, *PAPER_METHODS, *VARIATIONS),
        num_kept=_CIFAR_BUDGETS,
        seeds=(0, 1, 2),
        is_scorer_shared=True,
    ),
    ("fig1", "gpu"): Plan(
        data="cifar-10",
        scorer="resnet18",
        scorer_recipe=GPU,
        networks=("resnet18",),
        recipe=GPU,
        methods=("random", "strata_gentle", "joint", "joint_both_gentle"),
        num_kept=(35_000, 25_000, 15_000, 5_000),
        seeds=(0, 1, 2),
        is_scorer_shared=True,
    ),
    ("fig1", "cpu"): Plan(
        data="cifar-10",
        scorer="strided",
        scorer_recipe=SCORER_CPU,
        networks=("convnet",),
        recipe=CIFAR_CPU,
        methods=("random", "strata_gentle", "joint", "joint_both_gentle"),
        num_kept=(25_000, 15_000, 5_000),
        seeds=(0, 1, 2),
        is_scorer_shared=True,
    ),
    ("fig3", "paper"): Plan(
        data="cifar-10",
        scorer="senet",
        scorer_recipe=PAPER,
        networks=("senet", "resnet18", "resnet50"),
        recipe=PAPER,
        methods=(WHOLE, "random", "joint"),
        num_kept=(45_000, 40_000, 35_000, 30_000),
        seeds=(0, 1, 2),
        is_scorer_shared=True,
    ),
    ("fig3", "gpu"): Plan(
        data="cifar-10",
        scorer="senet",
        scorer_recipe=GPU,
        networks=("senet", "resnet18"),
        recipe=GPU,
        methods=("random", "joint"),
        num_kept=(30_000, 10_000),
        seeds=(0, 1),
        is_scorer_shared=True,
    ),
    ("fig3", "cpu"): Plan(
        data="fashion-mnist",
        scorer="strided",
        scorer_recipe=SCORER_CPU,
        networks=("lenet", "convnet"),
        recipe=LENET_CPU,
        methods=("random", "joint", "joint_both_gentle"),
        num_kept=(1000, 4000),
        seeds=(0, 1, 2),
        is_scorer_shared=True,
    ),
    ("fig4", "paper"): Plan(
        data="cifar-10",
        scorer="resnet50",
        scorer_recipe=PAPER,
        networks=("resnet50",),
        recipe=PAPER,
        methods=(WHOLE, "joint"),
        num_kept=(30_000,),
        seeds=(0,),
        has_curve=True,
    ),
    ("fig4", "gpu"): Plan(
        data="cifar-10",
        scorer="resnet18",
        scorer_recipe=GPU,
        networks=("resnet18",),
        recipe=Recipe(epochs=20, batch_size=256, lr=0.1, precision="bfloat16"),
        methods=(WHOLE, "random", "joint"),
        num_kept=(30_000,),
        seeds=(0,),
        has_curve=True,
    ),
    ("fig4", "cpu"): Plan(
        data="fashion-mnist",
        scorer="strided",
        scorer_recipe=SCORER_CPU,
        networks=("lenet",),
        recipe=Recipe(epochs=5, batch_size=64, lr=0.05, padding=0),
        methods=(WHOLE, "random", "joint"),
        num_kept=(36_000,),
        seeds=(0,),
        has_curve=True,
    ),
    ("table1", "paper"): Plan(
        data="cifar-10",
        scorer="convnet-w128-d3-instance-relu-avg",
        scorer_recipe=PAPER,
        networks=first_networks(720),
        whole_recipe=Recipe(epochs=100),
        recipe=Recipe(epochs=100),
        **_SEARCH,
    ),
    ("table1", "gpu"): Plan(
        data="cifar-10",
        scorer="convnet-w128-d3-instance-relu-avg",
        scorer_recipe=Recipe(epochs=10, precision="bfloat16"),
        networks=first_networks(24),
        whole_recipe=Recipe(epochs=10, precision="bfloat16"),
        recipe=Recipe(epochs=100, precision="bfloat16"),
        **_SEARCH,
    ),
    ("table1", "cpu"): Plan(
        data="fashion-mnist",
        scorer="strided",
        scorer_recipe=SCORER_CPU,
        networks=first_networks(24),
        whole_recipe=Recipe(epochs=None, iterations=200, batch_size=64, lr=0.02, padding=0),
        recipe=Recipe(epochs=None, iterations=100, batch_size=64, lr=0.02, padding=0),
        is_halved=True,
        **_SEARCH,
    ),
}
"""(figure, preset) -> plan. ``fmnist-lenet`` is the setting of Table 2 of the LBCS paper."""
