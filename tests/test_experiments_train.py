"""Training: recipes, recording, seeds, and what a fault does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from subsetsel.errors import FileFormatError, OptionError, ProblemError
from subsetsel.experiments.networks import Classifier
from subsetsel.experiments.pictures import Pictures
from subsetsel.experiments.recipe import Recipe, steps_per_epoch
from subsetsel.experiments.scorer import Scorer, ScorerSource
from subsetsel.experiments.train import evaluate, outputs, train
from subsetsel.experiments.zoo import build_network

SHAPE = (1, 12, 12)
RECIPE = Recipe(epochs=3, batch_size=16, lr=0.05, padding=1)
NETWORK = "convnet-w32-d1-batch-relu-max"


def bright_pictures(num: int, seed: int = 0) -> Pictures:
    """Three classes that differ in which third of the picture is bright."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, num)
    pictures = rng.integers(0, 90, (num, 12, 12), dtype=np.uint8)
    for row, label in enumerate(labels):
        pictures[row, 4 * label : 4 * label + 4] += 120
    return Pictures.of(pictures, labels, torch.device("cpu"))


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    """Sixty of them."""
    return bright_pictures(60)


def new_network(seed: int = 0) -> Classifier:
    """A small network with batch normalization, whose buffers must be resumed too."""
    return build_network(NETWORK, SHAPE, 3, seed)


def state_of(network: Classifier) -> torch.Tensor:
    """All parameters and buffers in a row."""
    return torch.cat([tensor.double().flatten() for tensor in network.state_dict().values()])


def test_a_network_learns(pictures: Pictures) -> None:
    """Bright thirds are told apart on pictures never seen."""
    network = new_network()
    before = evaluate(network, bright_pictures(60, seed=1))
    done = train(network, pictures, replace(RECIPE, epochs=8), seed=0)
    assert evaluate(network, bright_pictures(60, seed=1)) > max(0.8, before)
    assert (done.num_steps, done.is_diverged) == (8 * 4, False)


def test_the_same_seed_gives_the_same_network_and_leaves_the_global_one_alone(
    pictures: Pictures,
) -> None:
    """Order and augmentation come from a generator of their own."""
    before = torch.get_rng_state()
    found = []
    for seed in (1, 1, 2):
        network = new_network()
        train(network, pictures, RECIPE, seed=seed)
        found.append(state_of(network))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_fixed_steps_do_not_depend_on_the_size(pictures: Pictures) -> None:
    """Epochs do: three quarters of the pictures, three quarters of the steps."""
    steps = Recipe(epochs=None, iterations=7, batch_size=16, padding=0)
    for num in (60, 20):
        done = train(new_network(), pictures.subset(np.arange(num)), steps, seed=0)
        assert done.num_steps == 7
    assert (RECIPE.num_steps(64), RECIPE.num_steps(48)) == (12, 9)


@pytest.mark.parametrize(("num", "steps"), [(1, 1), (16, 1), (17, 1), (18, 2), (32, 2)])
def test_no_batch_of_one_is_left_over(num: int, steps: int) -> None:
    """Batch normalization cannot bear it; a data set of one is the exception."""
    assert steps_per_epoch(num, 16) == steps


def test_the_recorder_sees_every_example_once_an_epoch(pictures: Pictures) -> None:
    """In whatever order, under its own id."""
    seen: list[int] = []

    class Watch:
        def update(self, ids: Any, logits: Any, labels: Any) -> None:
            seen.extend(ids.tolist())
            assert torch.equal(labels, pictures.labels[ids])
            assert not logits.requires_grad

        def end_epoch(self) -> None:
            assert sorted(seen) == list(range(60))
            seen.clear()

    train(new_network(), pictures, RECIPE, seed=0, recorder=Watch())


def test_a_diverged_training_stops_and_says_so(pictures: Pictures) -> None:
    """The loss leaves the finite numbers; no error, since a search goes on to other networks."""
    network = build_network("convnet-w32-d2-none-relu-max", SHAPE, 3, 0)
    done = train(network, pictures, replace(RECIPE, lr=1e12, epochs=50), seed=0)
    assert done.is_diverged
    assert done.num_steps < 50 * 4


def test_outputs_are_those_of_evaluation_mode(pictures: Pictures) -> None:
    """Features and logits fit together, and the network is given back in its own mode."""
    network = new_network().train()
    features, logits = outputs(network, pictures)
    assert network.training
    network.eval()
    with torch.no_grad():
        expected = network(pictures.batch(slice(None)))
        torch.testing.assert_close(torch.from_numpy(logits), expected)
        torch.testing.assert_close(network.classifier(torch.from_numpy(features)), expected)


def test_half_precision_is_a_recipe(pictures: Pictures) -> None:
    """Half precision runs on the CPU too."""
    network = new_network()
    done = train(network, pictures, replace(RECIPE, precision="bfloat16", epochs=8), seed=0)
    assert not done.is_diverged
    assert evaluate(network, pictures) > 0.8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 5}, "exactly one of epochs and iterations"),
        ({"epochs": None}, "exactly one of epochs and iterations"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"lr": -1.0}, "lr must be positive"),
        ({"precision": "float8"}, "float32 or bfloat16"),
    ],
)
def test_bad_recipes_are_refused(changes: dict[str, Any], message: str) -> None:
    """Before anything is trained."""
    with pytest.raises(OptionError, match=message):
        Recipe(**changes)


def test_nothing_to_train_on_is_an_error(pictures: Pictures) -> None:
    """An empty subset."""
    with pytest.raises(ProblemError, match="no picture"):
        train(new_network(), pictures.subset([]), RECIPE, seed=0)


# --- the scorer ----------------------------------------------------------------------------------


def test_a_scorer_reads_off_what_the_methods_need(pictures: Pictures, tmp_path: Path) -> None:
    """By their definitions; written and read back, it is the same."""
    source = ScorerSource(tmp_path, NETWORK, RECIPE, pictures, pictures, num_classes=3)
    scorer = source.train(seed=0)
    assert scorer.features.shape[0] == 60
    assert np.all((scorer.el2n >= 0) & (scorer.el2n <= np.sqrt(2)))
    assert set(scorer.forgetting) <= {0.0, 1.0, 3.0}
    scorer.save(tmp_path / "scorer.npz")
    again = Scorer.load(tmp_path / "scorer.npz")
    np.testing.assert_array_equal(again.grand, scorer.grand)
    assert again.accuracy == scorer.accuracy
    (tmp_path / "scorer.npz").write_bytes(b"PK damaged")
    with pytest.raises(FileFormatError, match="no saved scorer"):
        Scorer.load(tmp_path / "scorer.npz")


def test_a_scorer_is_kept_by_its_settings_and_data(pictures: Pictures, tmp_path: Path) -> None:
    """The same question is answered from disk; another one is not."""

    def ask(recipe: Recipe, data: Pictures) -> Scorer:
        return ScorerSource(tmp_path, NETWORK, recipe, data, pictures, num_classes=3).scorer(0)

    first = ask(RECIPE, pictures)
    assert ask(RECIPE, pictures).train_time == first.train_time
    ask(replace(RECIPE, lr=0.01), pictures)
    ask(RECIPE, bright_pictures(60, seed=2))
    # One pixel of one picture is enough.
    spotted = pictures.bytes.clone()
    spotted[1, 0, 0, 0] ^= 1
    ask(RECIPE, replace(pictures, bytes=spotted))
    assert len(list(tmp_path.iterdir())) == 4
