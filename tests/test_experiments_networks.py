"""The networks of the experiments: shapes, sizes, names and seeds."""

from __future__ import annotations

import pytest
import torch

from subsetsel.errors import OptionError
from subsetsel.experiments.networks import first_networks, search_space
from subsetsel.experiments.zoo import BUILDERS, build_network

SIZES = {
    # Layer by layer from LeCun et al. (1998), He et al. (2016); weights, biases and two per norm.
    ("lenet", (1, 28, 28)): 61_706,
    ("lenet", (3, 32, 32)): 62_006,
    ("resnet18", (3, 32, 32)): 11_173_962,
    ("resnet50", (3, 32, 32)): 23_520_842,
    ("convnet-w128-d3-instance-relu-avg", (3, 32, 32)): 320_010,
}


def count_parameters(name: str, shape: tuple[int, int, int]) -> int:
    """Of the network for ten classes."""
    # Random numbers for 23 million parameters take a second that says nothing.
    with torch.device("meta"):
        return sum(p.numel() for p in build_network(name, shape, 10, seed=0).parameters())


@pytest.mark.parametrize(("name", "shape"), SIZES, ids=lambda value: str(value))
def test_known_networks_have_their_known_size(name: str, shape: tuple[int, int, int]) -> None:
    """Parameter counts of ten-class networks, as derived by hand and published."""
    assert count_parameters(name, shape) == SIZES[name, shape]


def test_senet_has_the_papers_size() -> None:
    """1.25 million parameters, to within 2 %."""
    assert count_parameters("senet", (3, 32, 32)) == pytest.approx(1.25e6, rel=0.02)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64)], ids=str)
@pytest.mark.parametrize("name", [name for name in BUILDERS if name != "resnet50"])
def test_networks_take_every_picture_size(name: str, shape: tuple[int, int, int]) -> None:
    """Logits are the classifier's view of the features."""
    network = build_network(name, shape, 7, seed=0).eval()
    pictures = torch.zeros(2, *shape)
    with torch.no_grad():
        logits, features = network(pictures), network.features(pictures)
        assert logits.shape == (2, 7)
        torch.testing.assert_close(network.classifier(features), logits)


def test_the_search_space_has_720_networks() -> None:
    """4 depths x 4 widths x 5 norms x 3 activations x 3 poolings, narrow ones first."""
    space = search_space()
    assert len(space) == 720
    assert len({spec.name for spec in space}) == 720
    assert [spec.width for spec in space] == sorted(spec.width for spec in space)


def test_the_first_networks_are_narrow_pooled_and_mixed() -> None:
    """Twenty-four of width 32 with all depths and norms among them."""
    first = first_networks(24)
    assert all("-w32-" in name and not name.endswith("-none") for name in first)
    assert {name.split("-")[2] for name in first} == {"d1", "d2", "d3", "d4"}
    assert first_networks(720)[:24] == first
    with pytest.raises(OptionError, match="there are 720"):
        first_networks(721)


@pytest.mark.parametrize("norm", ["none", "batch", "layer", "instance", "group"])
@pytest.mark.parametrize("pooling", ["max", "avg", "none"])
def test_every_norm_and_pooling_builds_at_every_depth(norm: str, pooling: str) -> None:
    """The deepest network still has a pixel left of 28 x 28."""
    for depth in (1, 4):
        name = f"convnet-w32-d{depth}-{norm}-relu-{pooling}"
        assert build_network(name, (1, 28, 28), 3, 0)(torch.zeros(2, 1, 28, 28)).shape == (2, 3)


def test_parameters_follow_the_seed_and_leave_the_global_one_alone() -> None:
    """The same seed, the same network; the user's generator does not move."""
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (build_network("lenet", (1, 28, 28), 10, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    weights = [next(network.parameters()) for network in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_unknown_network_is_refused() -> None:
    """The message names what there is."""
    with pytest.raises(OptionError, match="no network 'alexnet'; choose one of lenet"):
        build_network("alexnet", (3, 32, 32), 10, 0)
