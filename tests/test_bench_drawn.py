"""Instances to tune on and to judge by, and the size of the default solver."""

from __future__ import annotations

import sys
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import data
import drawn
import families
import heads
import instances
import solver_size

FAMILIES = set(families.FAMILIES) - {"tiny"}


def parts_of(name: str) -> tuple[str, str, str]:
    """(family or source, form, place) of a drawn name."""
    matrix, goal = name.split("/")
    form, number = goal.partition("%")[0].split("=")
    # Sizes and epsilons at the limit of two places may be of either, up to the digits of a name.
    places = [
        place for place, (low, high) in drawn.PLACES[form].items() if low <= float(number) <= high
    ]
    return matrix.partition("-")[0], form, places[0]


def seed_of(name: str) -> int:
    """Seed of a matrix."""
    return int(name.partition("/")[0].removesuffix("-ridge").rpartition("-s")[2])


def shape_of(name: str) -> tuple[int, int]:
    """(n, d) of a drawn name."""
    words = name.partition("/")[0].split("-")
    if words[0] in data.SOURCES:
        n, columns = int(words[1][1:]), int(words[2][1:])
        return n, (columns + 1) * (data.SOURCES[words[0]].num_classes - 1)
    rows, _, dimensions = words[1].partition("x")
    return int(rows), int(dimensions)


def test_draw_depends_on_its_seed_alone() -> None:
    """The same seed draws the same names, another seed others."""
    assert drawn.draw(5, 40) == drawn.draw(5, 40)
    assert not set(drawn.draw(5, 40)) & set(drawn.draw(6, 40))


def test_draw_covers_every_family_form_and_place() -> None:
    """With 48 instances and more each family meets each goal, and each source each form."""
    found = Counter(parts_of(name) for name in drawn.draw(3, 64))
    goals = [(form, place) for form in drawn.FORMS for place in drawn.PLACES[form]]
    assert all(found[family, *goal] for family, goal in product(FAMILIES, goals))
    sources = Counter((kind, form) for kind, form, _ in found.elements())
    assert all(sources[kind, form] for kind, form in product(data.SOURCES, drawn.FORMS))
    assert sum(found[kind] for kind in found if kind[0] in data.SOURCES) == 16


def test_draw_covers_the_shapes_and_keeps_their_limits() -> None:
    """Both ends of d and n occur, and no matrix is larger than the rule says."""
    shapes = [shape_of(name) for name in drawn.draw(3, 64)]
    for numbers, low, high in (
        ([d for _, d in shapes], drawn.MIN_D, drawn.MAX_D),
        ([n for n, _ in shapes], drawn.MIN_N, drawn.MAX_N),
    ):
        assert low <= min(numbers) < 2 * low
        assert high / 2 < max(numbers) <= high
    assert all(n * d <= drawn.MAX_ENTRIES for n, d in shapes)


def test_draw_never_yields_a_training_matrix() -> None:
    """Not even with another goal: all seeds of the matrices differ, and are larger."""
    names = [name for seed in range(5) for name in drawn.draw(seed, 100)]
    seeds = [seed_of(name) for name in names]
    assert len(set(seeds)) == len(seeds)
    training = [seed_of(name) for name in drawn.TRAINING if "-s" in name.partition("/")[0]]
    assert min(seeds) > 1_000_000 > max(training)


def test_every_name_can_be_built() -> None:
    """All names are of the grammar, and every kind of normalization and ridge is drawn."""
    names = drawn.draw(1, 64)
    assert instances.select([*drawn.TRAINING, *names]) == [*drawn.TRAINING, *names]
    assert 0 < sum(",kept" in name for name in names) < 32
    assert 0 < sum("-ridge/" in name for name in names) < 16


def test_epsilon_is_no_share_of_a_sum_that_is_zero() -> None:
    """With the ridge in S, epsilons are shares of random halves, and normalization is kept."""
    names = drawn.draw(1, 64)
    odd = [name for name in names if name.endswith("%random,kept")]
    assert odd == [name for name in names if "-ridge/eps" in name] != []


def test_training_has_all_families_and_seeds_of_its_own() -> None:
    """Every family that is drawn can be tuned on, with seeds that no published table has."""
    synthetic = [name for name in drawn.TRAINING if parts_of(name)[0] in FAMILIES]
    assert {parts_of(name)[0] for name in synthetic} == FAMILIES
    assert all(seed_of(name) >= 100 for name in synthetic)


def test_sets_are_named_in_one_way() -> None:
    """Words of a set are lists or instances; a count that is no number is an error."""
    assert drawn.parse_set(["training"]) == list(drawn.TRAINING)
    assert drawn.parse_set(["test:4:9", "digits/eps=1"]) == [*drawn.draw(4, 9), "digits/eps=1"]
    with pytest.raises(ValueError, match="no goal"):
        drawn.parse_set(["test:4:few"])


def test_sampled_head_has_the_shape_its_name_says(tmp_path: Path) -> None:
    """Rows, (columns + 1) (classes - 1) dimensions, and other rows for another seed."""
    S, labels = heads.head_matrix("tabular-n300-h8-s7-ridge", cache_dir=tmp_path)
    other, _ = heads.head_matrix("tabular-n300-h8-s8-ridge", cache_dir=tmp_path)
    assert S.shape == (300, 9 * 25)
    assert labels.shape == (300,)
    assert not np.array_equal(S, other)


def test_solver_size_counts_what_the_solver_imports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files, lines, functions and numbers of a toy tree, and nothing that it does not reach."""
    files = {
        "solvers/anneal.py": "from ._walk import step\n\n_SHARES = (0.1, -3)\nLONG = 1 << 20\n"
        "LABEL = 'x'\n\ndef run(n=7):\n    return step(n) + 0.5 - 1\n",
        "solvers/_walk.py": "from subsetsel.solvers import _far\n\nclass WalkOptions:\n"
        "    heat: float = 0.3\n    LIMITS = {1: 5, 2: 6}\n\n    def check(self):\n"
        "        return 12 * self.heat\n",
        "solvers/_far.py": "",
        "solvers/cpsat.py": "A = 5\n",
        "subsetsel/bounds/descent.py": "A: float = 5.0\n",
        "subsetsel/bounds/semidefinite.py": "A = 5\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert solver_size.main([str(tmp_path)]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()[1:]}
    assert rows["solvers/anneal.py"] == ["6", "8", "1", "3", "0", "1"]
    assert rows["solvers/_walk.py"] == ["6", "8", "1", "2", "1", "1"]
    assert rows["subsetsel/bounds/descent.py"] == ["1", "1", "0", "1", "0", "0"]
    assert rows["4"] == ["files", "13", "17", "2", "6", "1", "2"]
    assert len(rows) == 5


def test_solver_size_says_where_there_is_no_solver(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder without the default solver is an error, not a table of zeros."""
    assert solver_size.main([str(tmp_path)]) == 2
    assert "give a checkout" in capsys.readouterr().err
