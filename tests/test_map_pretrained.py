"""The map with pre-trained networks: what needs neither their weights nor the texts."""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import kept_states
import map_pretrained
import map_text
from asked_head import HeadSettings, Task
from data import DataMissingError
from map_pretrained import Costs, Pretrained
from map_study import EVERYTHING, RANDOM, Cell, cells
from pretrained_body import ALL, FROZEN, LAST, Body, Depth, Indices, Part, packages
from select_settings import HERDING, JOINT, KEPT_HESSIAN, REFEREE, SEARCH
from tune import Way, batches

from subsetsel.errors import FileFormatError
from subsetsel.experiments.runs import RunLog

TEXTS = {
    name: f"1\t{rating}\tA sentence of {name}.\r\n2\t-0.5\tOne with a \u2028 and a \ttab.\r\n"
    for rating, name in enumerate(map_text.SOURCES)
}


def archive(folder: Path, texts: Mapping[str, str]) -> Path:
    """Pack texts as the source distribution does."""
    inner, path = io.BytesIO(), folder / "vaderSentiment-3.3.2.tar.gz"
    with tarfile.open(fileobj=inner, mode="w:gz") as packed:
        for name, text in texts.items():
            add(packed, f"hutto_ICWSM_2014/{map_text.SOURCES[name]}_GroundTruth.txt", text.encode())
    with tarfile.open(path, "w:gz") as packed:
        member = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
        add(packed, member, inner.getvalue())
    return path


def add(packed: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file to an archive."""
    about = tarfile.TarInfo(name)
    about.size = len(content)
    packed.addfile(about, io.BytesIO(content))


def test_texts_come_in_the_order_of_the_embeddings(tmp_path: Path) -> None:
    """Whatever order the archive has; and only the line ends of the file end a sentence."""
    archive(tmp_path, dict(reversed(TEXTS.items())))
    texts, ratings = map_text.read_texts([tmp_path / "elsewhere", tmp_path])
    assert texts[::2] == [f"A sentence of {name}." for name in map_text.SOURCES]
    assert texts[1] == "One with a \u2028 and a \ttab."
    np.testing.assert_array_equal(ratings, [0, -0.5, 1, -0.5, 2, -0.5, 3, -0.5])


def test_missing_texts_are_named_with_their_cure(tmp_path: Path) -> None:
    """The message has the command that brings them."""
    with pytest.raises(DataMissingError, match=r"pip download .*vaderSentiment==3\.3\.2 -d"):
        map_text.read_texts([tmp_path])


def test_damaged_texts_are_named(tmp_path: Path) -> None:
    """A part of the file, and one in which a source is missing."""
    path = archive(tmp_path, TEXTS)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FileFormatError, match="damaged"):
        map_text.read_texts([tmp_path])
    archive(tmp_path, {"movie": TEXTS["movie"]})
    with pytest.raises(FileFormatError, match="damaged"):
        map_text.read_texts([tmp_path])


def test_missing_packages_are_named_with_their_cure() -> None:
    """All of them at once."""
    with pytest.raises(DataMissingError, match=r"need no_such_a .* and no_such_b .*; install them"):
        packages("pictures", "install them", "json", "no_such_a", "no_such_b")


def test_neutral_sentences_take_no_part() -> None:
    """And what is reserved of one task is reserved of the other."""
    ratings = np.random.default_rng(0).normal(size=6000)
    order = np.random.default_rng(1).permutation(6000)
    labels = np.zeros(6000, dtype=np.int64)
    whole = map_text.split_task(labels, 1, order, order)
    task = map_text.sentiment_task(ratings, order)
    both = np.sort(np.concatenate([task.open, task.reserved]))
    np.testing.assert_array_equal(both, np.flatnonzero(np.abs(ratings) > 0.5))
    assert set(task.open) <= set(whole.open)
    assert set(task.reserved) <= set(whole.reserved)
    np.testing.assert_array_equal(task.labels[both], ratings[both] > 0)


def test_states_of_other_weights_lie_elsewhere(tmp_path: Path) -> None:
    """A new version of a network with the same shapes computes its states anew."""
    weights, folders = tmp_path / "weights", list[Path]()
    for content in (b"one", b"other"):
        weights.write_bytes(content)
        folders.append(kept_states.states_folder(tmp_path, "net", __file__, weights, b"data"))
    assert folders[0] != folders[1]


def test_a_stopped_pass_goes_on_with_the_next_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written is read; every example has its rows."""
    monkeypatch.setattr(kept_states, "PER_FILE", 3)
    num_rows, seen = [1, 2, 3, 1, 2, 1, 4], list[int]()

    def compute(numbers: Indices) -> NDArray[Any]:
        if len(seen) == 3 and numbers[0] == 3:
            raise KeyboardInterrupt
        seen.extend(numbers.tolist())
        return np.repeat(numbers, [num_rows[number] for number in numbers])[:, None] * np.ones(2)

    def ask() -> list[NDArray[np.float16]]:
        return kept_states.kept_states(tmp_path, num_rows, 2, compute, say=lambda line: None)

    with pytest.raises(KeyboardInterrupt):
        ask()
    seen.append(-1)
    states = ask()
    assert seen == [0, 1, 2, -1, 3, 4, 5, 6]
    for number, held in enumerate(states):
        np.testing.assert_array_equal(held, np.full((num_rows[number], 2), number))


def test_every_example_is_in_a_batch_before_any_is_in_two() -> None:
    """Also where the last batch of a pass begins the next one."""
    found = batches(10, 5, 4, seed=0)
    assert [len(one) for one in found] == [4] * 5
    np.testing.assert_array_equal(np.sort(np.concatenate(found)[:10]), np.arange(10))
    assert [len(one) for one in batches(3, 2, 16, seed=0)] == [3, 3]


def test_steps_follow_what_is_kept_between_two_ends() -> None:
    """Few examples are seen often, and many not all."""
    way = Way(0.1, 0.1, passes=2, min_steps=10, max_steps=50, batch_size=16)
    assert [way.num_steps(num) for num in (8, 160, 100_000)] == [10, 20, 50]


class Lines(Part):
    """One linear layer over three columns."""

    def __init__(self, X: NDArray[np.float32]) -> None:
        super().__init__()
        self.linear, self._X = torch.nn.Linear(3, 3), X
        torch.nn.init.eye_(self.linear.weight)

    def forward(self, numbers: Indices) -> torch.Tensor:
        """Look at some rows."""
        found: torch.Tensor = self.linear(torch.from_numpy(self._X[numbers]))
        return found


class Blobs(Body):
    """Two classes."""

    def __init__(self, X: NDArray[np.float32]) -> None:
        self.features = X

    def part(self, depth: Depth) -> Part:
        """The same for both depths."""
        torch.manual_seed(0)
        return Lines(self.features)


class Small(Pretrained):
    """A study of 400 made examples."""

    name = "small"
    ways: ClassVar[Mapping[Depth, Way]] = {one: Way(0.01, 0.1, 2, 5, 20) for one in (LAST, ALL)}
    head: ClassVar[HeadSettings] = HeadSettings(1e-2, 2, 20, 1.0)
    spent: ClassVar[Costs] = replace(map_text.Text.spent, product=1.0)

    def __init__(self, folder: Path) -> None:
        super().__init__(RunLog(folder / "runs", {}), None, folder / "cache")
        self._labels = np.arange(400, dtype=np.int64) % 2

    @cached_property
    def body(self) -> Body:
        """Two clouds."""
        noise = np.random.default_rng(0).normal(size=(400, 3))
        return Blobs((noise + 1.5 * self._labels[:, None]).astype(np.float32))

    @cached_property
    def tasks(self) -> Mapping[str, Task]:
        """One task."""
        return {"": Task(np.arange(300), np.arange(300, 400), self._labels, 2)}


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    """A study whose pool has 200 examples."""
    monkeypatch.setattr(map_pretrained, "NUM_POOL", 200)
    monkeypatch.setattr(map_pretrained, "NUM_TEST", 50)
    monkeypatch.setattr(map_pretrained, "NUM_JUDGED", 80)
    return Small(tmp_path)


@pytest.mark.parametrize("method", [RANDOM, "gentle strata", HERDING, JOINT, KEPT_HESSIAN])
def test_a_frozen_body_is_beside_the_head_on_everything(small: Small, method: str) -> None:
    """Of which the distance is 0; that of what is kept is not."""
    whole = small.make(Cell(FROZEN, 200, EVERYTHING, 3))
    assert (whole["distance"], whole["moved"]) == (0, 0)
    part = small.make(Cell(FROZEN, 20, method, 3))
    assert part["distance"] > 0
    assert part["moved"] > 0
    assert part["accuracy"] > 0.8


def test_a_trained_part_is_beside_what_was_trained_on_everything(small: Small) -> None:
    """The same cell gives the same again."""
    assert small.make(Cell(LAST, 200, EVERYTHING, 3))["distance"] == 0
    once, again = (small.make(Cell(LAST, 20, RANDOM, 3)) for _ in range(2))
    assert once["distance"] > 0
    assert once["moved"] > 0
    assert once["loss"] == again["loss"]


def test_what_was_trained_on_everything_is_made_anew_where_it_is_gone(small: Small) -> None:
    """A cache that was emptied between two calls changes no number.

    Mutation: the distance is None where the file is gone.
    """
    first = small.make(Cell(LAST, 20, RANDOM, 3))
    (file,) = (small.cache_dir / "everything").iterdir()
    file.unlink()
    assert small.make(Cell(LAST, 20, RANDOM, 3))["distance"] == first["distance"] > 0


def test_all_layers_take_what_was_found_with_the_last_block(small: Small) -> None:
    """That search is made once, and its composition serves both."""
    small.make(Cell(ALL, 20, REFEREE, 3))
    one, other = small.log.records
    assert (one["case"], other["case"]) == (LAST, ALL)
    assert one["method"] == other["method"] == SEARCH
    assert one["composition"] == other["composition"]
    assert (one["num_trainings"] > 0, other["num_trainings"]) == (True, 0)


def test_a_search_sees_nothing_that_is_reserved(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its pool nor what it judges on."""
    seen: list[set[int]] = []
    make = small._ask

    def ask(task: Task, pool: Indices, others: Indices) -> Any:
        seen.append({*pool.tolist(), *others.tolist()})
        assert not {*pool.tolist()} & {*others.tolist()}
        return make(task, pool, others)

    monkeypatch.setattr(small, "_ask", ask)
    small.search(FROZEN, 20)
    assert len(seen) == 1
    assert max(seen[0]) < 300


def test_text_leaves_out_what_costs_most() -> None:
    """All layers are trained for two numbers kept, by some methods and on everything."""
    study = object.__new__(map_text.Text)
    whole = list(cells(map_text.Text.asked, map_text.Text.num_examples))
    left = [cell for cell in whole if not study.leaves_out(cell)]
    deep = [cell for cell in left if cell.case.endswith(ALL)]
    assert {cell.num_kept for cell in deep} == {50, 500, 10_000}
    assert {RANDOM, EVERYTHING, JOINT} < {cell.method for cell in deep} < set(study.asked.methods)
    shallow = [cell for cell in whole if not cell.case.endswith(ALL)]
    assert [cell for cell in left if not cell.case.endswith(ALL)] == shallow


def test_costs_count_every_training(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the cells of a depth cost twice as much."""
    monkeypatch.setattr(map_pretrained, "slowness", lambda _: 1.0)
    todo = [Cell(LAST, 50, RANDOM, seed) for seed in range(4)]
    once, twice = (small.costs(todo[:num], []) for num in (2, 4))
    items = [[value for name, value in one.items() if LAST in name] for one in (once, twice)]
    assert items[1][0] > 1.5 * items[0][0] > 0
