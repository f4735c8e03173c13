"""The instances of the benchmark: families, names, real data."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import data
import families
import instances


@pytest.mark.parametrize("family", families.FAMILIES)
def test_family_is_reproducible(family: str) -> None:
    """The same shape and seed give the same float32 matrix, another seed another one."""
    build = families.FAMILIES[family]
    first, again, other = build(40, 6, 3), build(40, 6, 3), build(40, 6, 4)
    assert first.dtype == np.float32
    assert first.shape == (40, 6)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_planted_subset_sums_to_exactly_zero() -> None:
    """The zero does not depend on the order or the precision of the sum."""
    S = families.planted(300, 7, seed=1)[families.planted_mask(300, seed=1)]
    assert not np.cumsum(S, axis=0, dtype=np.float32)[-1].any()
    assert not np.cumsum(S[::-1], axis=0, dtype=np.float32)[-1].any()
    assert np.abs(S).min(axis=0).max() < 1


def test_chunks_of_a_matrix_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every chunk draws its own numbers: no row occurs twice."""
    monkeypatch.setattr(families, "_CHUNK", 16)
    S = families.mixed(50, 4, seed=0)
    assert np.unique(S, axis=0).shape == S.shape


def test_goals_mean_what_they_say() -> None:
    """Percent are of ||S^T 1|| and of n; bare numbers are absolute; words set the rest."""
    S = families.gaussian(50, 4, 0)
    total = float(np.linalg.norm(S.sum(axis=0, dtype=np.float64)))
    assert instances.build("gaussian-50x4/eps=20%").question.epsilon == pytest.approx(0.2 * total)
    assert instances.build("gaussian-50x4/eps=0.5").question.epsilon == 0.5
    half = instances.build("gaussian-50x4/eps=20%random")
    assert half.question.epsilon == pytest.approx(0.2 * half.random_norm)
    assert instances.build("gaussian-50x4/size=40%").question.size == 20
    assert instances.build("gaussian-50x4/size=7").question.size == 7
    assert instances.build("gaussian-50x4/eps=1,kept").question.normalization == "kept"
    limits = instances.build("gaussian-50x4/size=20,balanced").question.group_limits
    assert limits is not None
    assert sum(least for least, _ in limits.values()) <= 20 <= sum(m for _, m in limits.values())


@pytest.mark.parametrize(
    "name",
    [
        "gaussian-50x4",  # no goal
        "gaussian-50x4/epsilon=1",  # no such goal
        "nothing-50x4/eps=1",  # no such family
        "gaussian-50/eps=1",  # no shape
        "gaussian-50x4/eps=1,balanced",  # shares need a size
        "gaussian-50x4/size=1%random",  # a norm is no size
        "none-*",  # matches nothing
    ],
)
def test_bad_names_are_refused(name: str) -> None:
    """A name that is not of the grammar is an error, not an empty comparison."""
    with pytest.raises(ValueError, match=r"goal|unknown matrix|balanced|random|matches"):
        instances.select([name])


def test_patterns_select_listed_instances_once() -> None:
    """Patterns expand in order and a name occurs once."""
    names = instances.select(["tiny-12x2/*", "tiny-*"])
    assert names[0].startswith("tiny-12x2/")
    assert len(names) == len(set(names)) > 3


@pytest.mark.parametrize("name", [n for n in instances.listed_names() if n.startswith("tiny-12")])
def test_tiny_instances_carry_their_optimum(name: str) -> None:
    """What is enumerated is feasible and claimed as optimum."""
    instance = instances.build(name)
    assert instance.known is not None
    assert instance.known[1] == "enumeration"
    assert instance.optimum == instance.known[0]


def test_random_norm_is_that_of_random_subsets() -> None:
    """It agrees with the expectation over all subsets of the size."""
    instance = instances.build("gaussian-200x8/size=40%")
    S, m, n = instance.question.S.astype(np.float64), 80, 200
    mean = S.mean(axis=0)
    spread = np.mean(np.sum(S * S, axis=1)) - mean @ mean
    expected = math.sqrt(m * (n - m) / (n - 1) * spread + m * m * (mean @ mean))
    assert instance.random_norm == pytest.approx(expected, rel=0.25)


def test_missing_data_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message lists the places that were tried."""
    monkeypatch.setenv("SUBSETSEL_DATA", str(tmp_path))
    with pytest.raises(data.DataMissingError, match="no folder nothing-here"):
        data.find_folder("nothing-here", tmp_path / "elsewhere")


def test_principal_components_share_one_scale() -> None:
    """Centred, uncorrelated, of unit mean square norm, sorted; the test half treated alike."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, size=(60, 4, 5), dtype=np.uint8)
    labels = np.zeros(60, dtype=np.int64)
    features = data.pca_features(data.Images(pixels, labels, pixels[:7], labels[:7]), 6)
    covariance = features.train.T @ features.train / 60
    np.testing.assert_allclose(features.train.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-12)
    assert np.trace(covariance) == pytest.approx(1)
    assert (np.diff(np.diag(covariance)) <= 0).all()
    np.testing.assert_allclose(features.test, features.train[:7])


def test_sentences_are_split_by_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sentence is in one part, with its source; embeddings are left as they are."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 5)).astype(np.float16)
    sources = np.array(["nyt", "movie", "tweet"])[np.arange(30) % 3]
    (tmp_path / "sentences").mkdir()
    np.savez(tmp_path / "sentences" / "sentences.npz", X=X, y=sources)
    monkeypatch.setattr(data, "_NUM_TEST_SENTENCES", 10)
    first, again, other = (data.sentence_features(tmp_path, seed=s) for s in (0, 0, 1))
    assert first.train.dtype == np.float64
    assert (len(first.train), len(first.test)) == (20, 10)
    order = np.random.default_rng(0).permutation(30)
    np.testing.assert_array_equal(np.vstack([first.test, first.train]), X[order])
    names = np.unique(sources)
    labels = np.concatenate([first.test_labels, first.train_labels])
    np.testing.assert_array_equal(names[labels], sources[order])
    np.testing.assert_array_equal(first.train, again.train)
    assert not np.array_equal(first.train, other.train)


def test_absent_data_are_left_out_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The data sets that need nothing are there; the reason names what was looked for."""

    def missing(name: str, _: Path | None = None) -> Path:
        raise data.DataMissingError(f"there is no folder {name}")

    monkeypatch.setattr(data, "find_folder", missing)
    found = data.present(["cancer", "sentences", "cifar10-pca128"])
    assert list(found) == ["cancer"]
    told = capsys.readouterr().out
    assert "sentences: left out, there is no folder sentences" in told
    assert "cifar10-pca128: left out, there is no folder cifar-10-batches-bin" in told
