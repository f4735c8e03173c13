"""The paper's experiments at three sizes: its own, one GPU for minutes, two CPU cores."""

from __future__ import annotations

from dataclasses import replace
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

_CIFAR_BUDGETS = (45_000, 40_000, 35_000, 30_000, 25_000, 20_000, 15_000, 10_000, 5_000)
_PAPER_METHODS = (
    "random",
    "class_mean",
    "herding",
    "forgetting",
    "grand",
    "el2n",
    "influence",
    "joint",
)
_VARIATIONS = ("random_classes", "strata", "joint_classes", "joint_both_gentle")
_BEST = ("random", "strata_gentle", "joint", "joint_both_gentle")

_FIG1_PAPER = Plan(
    data="cifar-10",
    scorer="resnet50",
    scorer_recipe=PAPER,
    networks=("resnet50",),
    recipe=PAPER,
    methods=(WHOLE, *_PAPER_METHODS, *_VARIATIONS),
    num_kept=_CIFAR_BUDGETS,
    seeds=(0, 1, 2),
    is_scorer_shared=True,
)
_FIG1_GPU = replace(
    _FIG1_PAPER,
    scorer="resnet18",
    scorer_recipe=GPU,
    networks=("resnet18",),
    recipe=GPU,
    methods=_BEST,
    num_kept=(35_000, 25_000, 15_000, 5_000),
)
_FIG3_CPU = Plan(
    data="fashion-mnist",
    scorer="strided",
    scorer_recipe=SCORER_CPU,
    networks=("lenet", "convnet"),
    recipe=LENET_CPU,
    methods=("random", "joint", "joint_both_gentle"),
    num_kept=(1000, 4000),
    seeds=(0, 1, 2),
    is_scorer_shared=True,
)
_TABLE1_PAPER = Plan(
    data="cifar-10",
    scorer="convnet-w128-d3-instance-relu-avg",
    scorer_recipe=PAPER,
    networks=first_networks(720),
    recipe=Recipe(epochs=100),
    methods=(WHOLE, "random_classes", "herding", "forgetting", "joint_classes"),
    num_kept=(1000,),  # 100 of each class, as the paper's
    seeds=(0,),
    is_balanced=True,
    validation_share=0.1,
)

_ONE_CURVE: dict[str, Any] = {"seeds": (0,), "is_scorer_shared": False, "has_curve": True}

PLANS: dict[tuple[str, str], Plan] = {
    ("fmnist-lenet", "cpu"): replace(
        _FIG3_CPU,
        networks=("lenet",),
        methods=_BEST,
        num_kept=(1000, 2000, 4000),
        seeds=tuple(range(10)),
        is_scorer_shared=False,
        num_proposals=2_000_000,
    ),
    ("fig1", "paper"): _FIG1_PAPER,
    ("fig1", "gpu"): _FIG1_GPU,
    ("fig1", "cpu"): replace(
        _FIG1_GPU,
        scorer="strided",
        scorer_recipe=SCORER_CPU,
        networks=("convnet",),
        recipe=CIFAR_CPU,
        num_kept=(25_000, 15_000, 5_000),
    ),
    ("fig3", "paper"): replace(
        _FIG1_PAPER,
        scorer="senet",
        networks=("senet", "resnet18", "resnet50"),
        methods=(WHOLE, "random", "joint"),
        num_kept=(45_000, 40_000, 35_000, 30_000),
    ),
    ("fig3", "gpu"): replace(
        _FIG1_GPU,
        scorer="senet",
        networks=("senet", "resnet18"),
        methods=("random", "joint"),
        num_kept=(30_000, 10_000),
        seeds=(0, 1),
    ),
    ("fig3", "cpu"): _FIG3_CPU,
    ("fig4", "paper"): replace(
        _FIG1_PAPER, methods=(WHOLE, "joint"), num_kept=(30_000,), **_ONE_CURVE
    ),
    ("fig4", "gpu"): replace(
        _FIG1_GPU,
        recipe=Recipe(epochs=20, batch_size=256, lr=0.1, precision="bfloat16"),
        methods=(WHOLE, "random", "joint"),
        num_kept=(30_000,),
        **_ONE_CURVE,
    ),
    ("fig4", "cpu"): replace(
        _FIG3_CPU,
        networks=("lenet",),
        recipe=Recipe(epochs=5, batch_size=64, lr=0.05, padding=0),
        methods=(WHOLE, "random", "joint"),
        num_kept=(36_000,),
        **_ONE_CURVE,
    ),
    ("table1", "paper"): _TABLE1_PAPER,
    ("table1", "gpu"): replace(
        _TABLE1_PAPER,
        scorer_recipe=Recipe(epochs=10, precision="bfloat16"),
        networks=first_networks(24),
        whole_recipe=Recipe(epochs=10, precision="bfloat16"),
        recipe=Recipe(epochs=100, precision="bfloat16"),
    ),
    ("table1", "cpu"): replace(
        _TABLE1_PAPER,
        data="fashion-mnist",
        scorer="strided",
        scorer_recipe=SCORER_CPU,
        networks=first_networks(24),
        whole_recipe=Recipe(epochs=None, iterations=200, batch_size=64, lr=0.02, padding=0),
        recipe=Recipe(epochs=None, iterations=100, batch_size=64, lr=0.02, padding=0),
        is_halved=True,
    ),
}
"""(figure, preset) -> plan. ``fmnist-lenet`` is the setting of Table 2 of the LBCS paper."""
