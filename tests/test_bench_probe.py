"""What a probe keeps: how examples are drawn, chosen, remembered and summed up."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import probe
import probe_report
from data import Features
from probe_report import EVERYTHING, FIRST_ORDER, METHODS, OURS, Run


def blobs(n: int = 120) -> Features:
    """Three classes of unequal size around points on a sphere, ten more to test on."""
    rng = np.random.default_rng(0)
    y = np.arange(n + 10) % 6 // 2 % 3
    y[: n // 4] = 0
    X = np.eye(3)[y] + 0.4 * rng.normal(size=(n + 10, 3))
    return Features(X[:n], y[:n], X[n:], y[n:])


def run_of(method: str, accuracy: float, **more: Any) -> Run:
    """A run on the sentences, half of the examples kept."""
    run = Run("sentences", 0, 0.5, method, 1e-4, 8, 4, accuracy, 1.0, 4.0, 2.0, "mine", "today")
    return replace(run, **more)


@pytest.mark.parametrize("method", METHODS)
def test_methods_keep_as_many_as_asked(method: str) -> None:
    """Exactly, and each class keeps some."""
    if probe.missing(method):
        pytest.skip(probe.missing(method))
    drawn = blobs()
    kept = probe.KEEP[method](drawn, 30, 0)
    assert kept.sum() == 30
    assert set(drawn.train_labels[kept]) == {0, 1, 2}


@pytest.mark.parametrize("method", ["random, class-balanced", "herding per class"])
def test_balanced_methods_keep_the_same_share_of_each_class(method: str) -> None:
    """A quarter of each class, up to rounding."""
    drawn = blobs()
    kept = np.bincount(drawn.train_labels[probe.KEEP[method](drawn, 30, 0)])
    np.testing.assert_allclose(kept, np.bincount(drawn.train_labels) / 4, atol=1)


def test_minimizing_the_refit_moves_the_head_less() -> None:
    """What the joint methods differ in pays off where few are kept."""
    drawn = blobs(400)
    changes = []
    for run in probe.measure("x", 0, drawn, [(0.1, FIRST_ORDER), (0.1, OURS)], "code"):
        changes.append(run.change)
        assert run.num_kept == 40
    assert changes[1] < changes[0]


def test_everything_is_the_head_itself() -> None:
    """Nothing is pruned and nothing moves, up to rounding."""
    (run,) = probe.measure("x", 0, blobs(), [(1.0, EVERYTHING)], "code")
    assert run.num_kept == run.n
    assert run.change < 1e-9


def test_seed_draws_new_training_examples_and_leaves_the_test_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without repetition; the same seed draws the same."""
    monkeypatch.setattr(probe, "NUM_TRAIN", 50)
    whole = blobs()
    first, again, other = (probe.draw_examples("fmnist-pca128", whole, s) for s in (0, 0, 1))
    assert len(np.unique(first.train, axis=0)) == len(first.train) == 50
    np.testing.assert_array_equal(first.train, again.train)
    assert not np.array_equal(first.train, other.train)
    np.testing.assert_array_equal(first.test, whole.test)


def test_a_peer_that_is_not_installed_is_left_out_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its package is named; the others need nothing."""
    monkeypatch.setattr(probe, "find_spec", lambda _: None)
    assert probe.missing("facility location") == "needs apricot-select, not installed"
    assert probe.missing("random") == ""


def test_runs_of_other_code_are_done_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only where the package chose; a line cut off by a kill counts as not done."""
    path = tmp_path / "results.csv"
    stays, goes = run_of("random", 0.5, code="old"), run_of(OURS, 0.5, code="old")
    probe_report.append(path, [stays, goes, run_of(FIRST_ORDER, 0.5)])
    with path.open("a") as stream:
        stream.write("sentences,1,0.5,rand")
    assert probe_report.read_runs(path, "mine") == [stays, run_of(FIRST_ORDER, 0.5)]
    assert "1 runs are of other code" in capsys.readouterr().out
    assert probe_report.read_runs(path, "mine") == [stays, run_of(FIRST_ORDER, 0.5)]


def test_done_runs_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left of each seed is handed on; data without anything left are not loaded."""
    asked = probe.parse_arguments(["--data", "sentences", "fmnist-pca128", "--seeds", "2"])
    wanted = [(share, "random") for share in probe.SHARES]
    done = {("fmnist-pca128", s, *job) for s in (0, 1) for job in [*wanted, (1.0, EVERYTHING)]}
    done |= {("sentences", 0, *job) for job in wanted}
    handed: list[Any] = []

    def hand(name: str, seed: int, _: Features, jobs: list[Any], __: str) -> list[Run]:
        handed.append((name, seed, jobs))
        return []

    monkeypatch.setattr(probe, "present", lambda names: {name: blobs() for name in names})
    monkeypatch.setattr(probe, "warm_up", lambda *_: None)
    monkeypatch.setattr(probe, "draw_examples", lambda *_: None)
    monkeypatch.setattr(probe, "measure", hand)
    assert list(probe.measure_all(asked, ["random"], done, "mine")) == []
    assert handed == [
        ("sentences", 0, [(1.0, EVERYTHING)]),
        ("sentences", 1, [(1.0, EVERYTHING), *wanted]),
    ]


def test_difference_is_taken_seed_by_seed() -> None:
    """Differences 1, 2 and 3: mean 2, standard error 1/sqrt(3), Student's 4.303 on two degrees."""
    ours = [run_of(OURS, accuracy, seed=s) for s, accuracy in enumerate((11.0, 22.0, 33.0, 99.0))]
    others = [run_of("random", accuracy, seed=s) for s, accuracy in enumerate((10.0, 20.0, 30.0))]
    mean, half = probe_report.paired(ours, others)
    assert mean == pytest.approx(2.0)
    assert half == pytest.approx(4.3027 / np.sqrt(3), rel=1e-4)


def test_table_compares_with_the_best_of_the_others() -> None:
    """The best by its mean, and first order; accuracy in percent, change as a share."""
    runs = [
        run_of(method, accuracy, seed=seed)
        for seed in (0, 1)
        for method, accuracy in (("random", 0.5), ("facility location", 0.6), (OURS, 0.7))
    ]
    text = probe_report.table([*runs, run_of(FIRST_ORDER, 0.65)])
    assert "sentences, 50.0% kept" in text
    assert "facility location       60.00 +- 0.00 %   moved by 25.00% of the norm" in text
    assert f"{OURS} minus facility location: +10.00 +- 0.00 points" in text
    assert f"{OURS} minus {FIRST_ORDER}: +5.00" in text
    assert "minus random" not in text


def test_picture_has_a_panel_for_each_data_set(tmp_path: Path) -> None:
    """Of those that were measured, also where one share or one seed is there only."""
    runs = [run_of(m, 0.5, share=s) for m in METHODS for s in (0.05, 0.3)]
    runs += [run_of(EVERYTHING, 0.9, share=1.0), run_of(OURS, 0.5, data="cifar10-pca128", seed=3)]
    probe_report.draw(runs, tmp_path / "probe.png")
    picture = (tmp_path / "probe.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    width = int.from_bytes(picture[16:20])
    assert width == pytest.approx(2 * 5.6 * 150, abs=2)
