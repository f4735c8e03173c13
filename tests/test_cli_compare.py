"""`subsetsel compare`: what it needs at its end is tried before the trainings begin."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import call, refused


@pytest.fixture
def comparison(tmp_path: Path) -> list[Any]:
    """A comparison of a second, without the folder for its results."""
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3
    pictures = rng.integers(0, 255, (30, 8, 8), dtype=np.uint8)
    path = tmp_path / "noise.npz"
    np.savez(path, train=pictures, train_labels=labels, test=pictures, test_labels=labels)
    words = ["compare", path, "--kept", 12, "--methods", "random", "--seeds", 1]
    return [*words, "--network", "strided", "--scorer-epochs", 1, "--epochs", 1, "--out"]


def test_the_package_that_draws_the_results_is_asked_for_before_the_trainings(
    comparison: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra is named, and nothing is written; what needs no picture works without it.

    Mutation: `compare` that looks for the package when it draws: fails.
    """
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = tmp_path / "runs"
    assert 'pip install "subsetsel[plots]"' in refused(*comparison, out)
    assert not out.exists()
    call(*comparison, out, "--dry-run")


def test_a_place_for_results_that_cannot_be_written_is_refused_before_the_trainings(
    comparison: list[Any], tmp_path: Path
) -> None:
    """A file where the folder should be, a folder where the picture should be."""
    (tmp_path / "file").touch()
    said = refused(*comparison, tmp_path / "file")
    assert "trainings to do" not in said
    (tmp_path / "runs" / "figure.png").mkdir(parents=True)
    said = refused(*comparison, tmp_path / "runs")
    assert "the picture of --out would be " in said
    assert "trainings to do" not in said
    call(*comparison, tmp_path / "other")
