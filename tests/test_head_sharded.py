"""A head whose examples lie in shards: what it says beside the same head in one piece."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import subsetsel
from subsetsel import OptionError, Problem, ProblemError
from subsetsel.guarantee.certificate import write_certificate
from subsetsel.influence import Head, fit_head, influence_rows, lissa_influence
from subsetsel.influence.head.cholesky import Factor
from subsetsel.influence.head.choose_inverse import invert, uses_woodbury
from subsetsel.influence.head.expansion import Expansion
from subsetsel.influence.head.feature_shards import FeatureShards
from subsetsel.influence.head.losses import SoftmaxObjective
from subsetsel.influence.head.setting import Setting
from subsetsel.influence.head.sharded import objective_in_shards, wrap
from subsetsel.influence.head.sharded_rows import Triangle
from subsetsel.rows.base import FloatArray
from subsetsel.shards.sums import add_up
from subsetsel.shards.table import Shards
from subsetsel.shards.workers import Serial, Workers

L2 = 1e-2
N = 240
# One row, none, and most of them; by class.
CUTS = (0, 1, 60, 60, 200, N)


def blobs() -> tuple[FloatArray, Any]:
    """Four overlapping classes one after the other, on columns of very different sizes."""
    rng = np.random.default_rng(0)
    y = np.sort(np.arange(N) % 4)
    return (np.eye(4, 5)[y] + 0.8 * rng.normal(size=(N, 5))) * [1, 1, 1, 100, 0.01], y


X, Y = blobs()
WEIGHTS = np.random.default_rng(1).uniform(0.2, 3.0, N)
KEPT = np.random.default_rng(2).random(N) < 0.7
KEPT[200:] = False
SETTINGS: dict[str, dict[str, Any]] = {
    "softmax": {},
    "squared": {"loss": "squared"},
    "smoothed": {"label_smoothing": 0.1},
    "weighted": {"sample_weight": WEIGHTS},
    "free bias": {"penalize_bias": False},
    "products": {"inverse": "cg"},
}


def cut(start: int, stop: int) -> tuple[Any, Any]:
    """Some of the examples, in float64."""
    return X[start:stop].copy(), Y[start:stop].copy()


def in_shards(cuts: Sequence[int] = CUTS, workers: Workers | None = None) -> Shards:
    """Cut the examples into shards of features and labels."""
    ends = list(pairwise(cuts))
    workers = workers or Serial()
    return Shards(workers, workers.hold(cut, ends), [b - a for a, b in ends])


def sharded(shards: Shards | None = None, **setting: Any) -> Head:
    """The head of the examples in shards."""
    features, labels = FeatureShards.survey(shards or in_shards())
    return fit_head(features, labels, l2=L2, **setting)


@pytest.fixture(scope="module", params=SETTINGS)
def pair(request: pytest.FixtureRequest) -> tuple[Head, Head]:
    """The same head, in one piece and in shards."""
    setting = SETTINGS[request.param]
    return fit_head(X, Y, l2=L2, **setting), sharded(**setting)


def test_the_minimum_is_that_of_one_piece(pair: tuple[Head, Head]) -> None:
    """Parameters agree to rounding, and by no more than both error bars allow."""
    one, other = pair
    moved = np.linalg.norm(one.theta - other.theta)
    assert moved <= 1e-12 * one.theta_norm
    assert moved <= one.error + other.error
    assert other.error <= 2 * one.error


def test_a_refit_is_that_of_one_piece(pair: tuple[Head, Head]) -> None:
    """Change, error bar, Newton step and curvature without a third of the examples and a shard."""
    one, other = (head.kept(KEPT) for head in pair)
    a, b = one.refit(), other.refit()
    assert np.linalg.norm(a.theta - b.theta) <= 1e-12 * np.linalg.norm(a.theta)
    assert np.linalg.norm(a.theta - b.theta) <= a.error + b.error
    assert b.error <= 2 * a.error
    assert other.newton_step() == pytest.approx(one.newton_step(), rel=1e-8, abs=1e-11)
    assert other.curvature() == pytest.approx(one.curvature(), rel=1e-3)


def test_the_curvature_along_a_direction_is_that_of_one_piece(pair: tuple[Head, Head]) -> None:
    """One number for each example, ridge and weight included."""
    direction = np.random.default_rng(3).normal(size=pair[0].theta.shape)
    along = [head.curvature_along(direction) for head in pair]
    assert along[1] == pytest.approx(along[0], rel=1e-12)


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "products"])
@pytest.mark.parametrize("metric", ["parameter", "loss"])
def test_rows_are_those_of_one_piece(name: str, metric: Any) -> None:
    """S u, S^T w, chosen rows and norms; around a pruned set too."""
    setting = SETTINGS[name]
    heads = fit_head(X, Y, l2=L2, **setting), sharded(**setting)
    rng = np.random.default_rng(4)
    weights, chosen = rng.random(N), np.array([5, 0, 239, 100, 1])
    points: list[list[tuple[Expansion, int] | None]] = [[None, None]]
    points.append([
        (Expansion.around(head.kept(KEPT), ~KEPT, head.refit(KEPT).theta), int((~KEPT).sum()))
        for head in heads
    ])
    for around in points:
        one, other = (
            influence_rows(head, metric=metric, dtype=np.float64, around=where)
            for head, where in zip(heads, around, strict=True)
        )
        direction = rng.normal(size=one.d)
        size = float(np.sqrt(one.squared_norms.max()))
        close: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-10 * size}
        np.testing.assert_allclose(other.take(chosen), one.take(chosen), **close)
        np.testing.assert_allclose(other.dot(direction), one.dot(direction), **close)
        np.testing.assert_allclose(other.sum(weights), one.sum(weights), rtol=0, atol=1e-9 * size)
        np.testing.assert_allclose(other.squared_norms, one.squared_norms, rtol=1e-9)
        assert getattr(other, "metric", None) == metric


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(0, N), max_size=12))
def test_gradients_of_any_cut_differ_by_less_than_their_bounds(cuts: list[int]) -> None:
    """Value and gradient at a point far from the minimum, for shards of any lengths."""
    features, labels = FeatureShards.survey(in_shards([0, *sorted(cuts), N]))
    assert labels is not None
    on = fit_head(features, labels, l2=L2, loss="squared").objective_function
    one = fit_head(X, Y, l2=L2, loss="squared").objective_function
    theta = torch.as_tensor(np.random.default_rng(5).normal(size=(4, 6)))
    a, b = one.evaluate(theta), on.evaluate(theta)
    assert b.value == pytest.approx(a.value, rel=1e-13)
    apart = float(((a.gradient - b.gradient) * on.scale).norm())
    assert apart <= a.gradient_error + b.gradient_error


def test_rounds_do_not_grow_with_shards() -> None:
    """Training takes as many rounds over 3 shards as over 60."""
    rounds = []
    for count in (3, 60):
        head = sharded(in_shards(np.linspace(0, N, count + 1).astype(int).tolist()))
        rounds.append(head.objective_function.held.num_rounds)  # type: ignore[attr-defined]
    assert rounds[0] == rounds[1]


class Posted:
    """An engine whose values and arguments travel as bytes, and arrive read-only."""

    num_workers = 1

    def hold(self, load: Callable[..., Any], sources: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Keep what a call gave as bytes."""
        return [Parcel(load(*map(self._open, source))) for source in sources]

    def run(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Send everything there and back."""
        return [Parcel(function(*map(self._open, one))).open() for one in arguments]

    def _open(self, given: Any) -> Any:
        return (given if isinstance(given, Parcel) else Parcel(given)).open()


class Parcel:
    """A value as bytes, its buffers apart and where no allocator would put them."""

    def __init__(self, value: Any) -> None:
        self._buffers: list[pickle.PickleBuffer] = []
        self._bytes = pickle.dumps(value, protocol=5, buffer_callback=self._buffers.append)

    def open(self) -> Any:
        """Make the value again, on read-only memory."""
        return pickle.loads(self._bytes, buffers=[_away(part.raw()) for part in self._buffers])


def _away(given: memoryview) -> memoryview:
    """Copy bytes to an address that is 8 more than a multiple of 64."""
    room = np.zeros(len(given) + 72, np.uint8)
    start = (8 - room.ctypes.data) % 64
    room[start : start + len(given)] = given
    room.flags.writeable = False
    return room.data[start : start + len(given)]


def test_everything_travels() -> None:
    """Over an engine that sends bytes, heads, refits and rows are the same, bit for bit."""
    here, there = (sharded(in_shards(workers=workers)) for workers in (Serial(), Posted()))
    assert (here.theta == there.theta).all()
    assert (here.refit(KEPT).theta == there.refit(KEPT).theta).all()
    one, other = (influence_rows(head) for head in (here, there))
    assert (one.squared_norms == other.squared_norms).all()
    assert (one.sum(KEPT) == other.sum(KEPT)).all()


def test_what_arrives_is_moved_to_where_torch_computes() -> None:
    """Solves round by the address of their numbers: a multiple of 64, at either end."""
    array = Parcel(np.eye(5)).open()
    assert array.ctypes.data % 64 == 8
    assert wrap(array).data_ptr() % 64 == 0
    assert Parcel(Triangle(array)).open().tensor.data_ptr() % 64 == 0


def test_an_engine_learns_what_is_held() -> None:
    """A shard, and the rows made of it, are as large as the features that they hold."""
    one = fit_head(X, Y, l2=L2)
    rows = influence_rows(one, storage="factored")
    least = 8 * X.size
    assert least < sys.getsizeof(one.objective_function) < sys.getsizeof(rows) < 3 * least


def test_a_verification_is_that_of_one_piece() -> None:
    """Every number of `verify`, for a subset found in shards."""
    test = (X[::3] + 0.1, Y[::3])
    problems = [
        Problem.from_features(given, labels, l2=L2, size=40, dtype=np.float64)
        for given, labels in ((X, Y), (in_shards(), None))
    ]
    solution = subsetsel.solve(problems[1], max_iterations=2000)
    one, other = (subsetsel.verify(problem, solution, test=test) for problem in problems)
    known = one.to_dict()
    for name, value in other.to_dict().items():
        if name != "change_error":
            assert value == (known[name] if known[name] is None else pytest.approx(known[name]))
    assert other.change_error <= 2 * one.change_error


def test_the_kept_hessian_lowers_what_a_refit_says() -> None:
    """``hessian="kept"`` in shards ends below the choice of Eq. 2 by refit."""
    changes = []
    for hessian in ("all", "kept"):
        problem = Problem.from_features(in_shards(), None, l2=L2, fraction=0.7, hessian=hessian)
        solution = subsetsel.solve(problem, max_iterations=20_000)
        changes.append(subsetsel.verify(problem, solution).change)
    assert changes[1] < changes[0]


def test_prune_keeps_its_promise_and_resumes(tmp_path: Path) -> None:
    """What `prune` verifies in shards, a head in one piece confirms; a second call reads it."""
    path = tmp_path / "choices.npz"
    arguments: dict[str, Any] = {"l2": L2, "rel_epsilon": 0.05, "max_iterations": 20_000}
    (first, check), (again, _) = (
        subsetsel.prune(in_shards(), None, checkpoint=path, **arguments) for _ in range(2)
    )
    head = fit_head(X, Y, l2=L2)
    change = float(np.linalg.norm(head.refit(~first.mask).theta - head.theta))
    assert check.is_verified
    assert change <= 0.05 * head.theta_norm
    assert (again.mask == first.mask).all()
    assert again.stats["num_resumed"] > 0
    with pytest.raises(ProblemError, match="of other data or settings"):
        subsetsel.prune(in_shards((0, 100, N)), None, checkpoint=path, **arguments)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_labels_in_memory_serve_as_well(weights: FloatArray | None) -> None:
    """Labels in one array, as texts, beside features in shards."""
    names = np.array([f"class {label}" for label in Y])
    given = in_shards()
    alone = Shards(given.workers, given.held, np.diff(given.starts).tolist())
    problem = Problem.from_features(alone, names, l2=L2, epsilon=1.0, sample_weight=weights)
    assert problem.head is not None
    assert problem.head.classes.tolist() == ["class 0", "class 1", "class 2", "class 3"]
    expected = fit_head(X, names, l2=L2, sample_weight=weights)
    assert problem.head.theta == pytest.approx(expected.theta, abs=1e-12)
    assert len(problem.constraints) == 4


def of_parts(*parts: Any) -> Shards:
    """Shards of given values."""
    workers = Serial()
    lengths = [len(part[0]) if isinstance(part, tuple) else len(part) for part in parts]
    held = workers.hold(_same, [(part,) for part in parts])
    return Shards(workers, held, lengths, [f"part-{k}.npy" for k in range(len(parts))])


def _same(value: Any) -> Any:
    return value


BROKEN = X[:50].copy()
BROKEN[7, 2] = np.nan


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (((X, Y), (BROKEN, Y[:50])), r"part-1.npy: X must be finite.* stand in row 7"),
        (((X, Y), (X[:, :3], Y)), r"5 features in part-0.npy and 3 in part-1.npy"),
        (((X, Y), (X, Y[1:])), r"part-1.npy: X has 240 rows but y has 239 labels"),
        (((X, Y), (X, Y.astype(str))), r"integers in part-0.npy and texts in part-1.npy"),
        (((X, Y), (X, None)), r"integers in part-0.npy and none in part-1.npy"),
        ((X, X), r"y is None, and the shards hold features alone"),
        ((X[:0],), r"none of its shards holds an example"),
    ],
)
def test_bad_shards_are_named(parts: Any, message: str) -> None:
    """Which file it is, which row, and what is wrong with it."""
    with pytest.raises(ProblemError, match=message):
        Problem.from_features(of_parts(*parts), None, l2=L2, size=10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"storage": "dense"}, "storage='dense' would write out S"),
        ({"device": "cuda:0"}, "cuda"),
        ({"dtype": np.int32}, "dtype must be float32 or float64"),
    ],
)
def test_what_shards_cannot_do_is_refused(arguments: Any, message: str) -> None:
    """Settings that make sense in memory alone are refused by their names."""
    with pytest.raises(OptionError, match=message):
        Problem.from_features(in_shards(), None, l2=L2, size=10, **arguments)


def test_too_many_parameters_are_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """A factor that does not fit the plan is named with the number of parameters and the cure.

    Mutation: the head is trained first: fails.
    """
    monkeypatch.setenv("SUBSETSEL_MEMORY_GIB", "5e-6")
    monkeypatch.setattr("subsetsel.influence.fit_head", None)
    with pytest.raises(ProblemError, match=r"Hessian of 18 parameters.*principal components"):
        Problem.from_features(in_shards(), None, l2=L2, size=10)


def test_rows_need_a_factor() -> None:
    """A head that is solved by conjugate gradients can be refitted, and has no rows in shards."""
    with pytest.raises(ProblemError, match="solved for by that factor"):
        influence_rows(sharded(inverse="cg"))


def test_few_examples_in_shards_have_a_factor() -> None:
    """Where a head in one piece is solved by the Woodbury identity, one in shards is factored."""
    rng = np.random.default_rng(6)
    few, labels = rng.normal(size=(60, 99)), np.arange(60) % 20
    setting = Setting(L2, 20)
    features, _ = FeatureShards.survey(of_parts(few[:20], few[20:]))
    one = SoftmaxObjective.from_arrays(few, labels, setting=setting, device=torch.device("cpu"))
    other = objective_in_shards(features, labels, "cross_entropy", setting)
    assert uses_woodbury(one)
    assert isinstance(invert(other, torch.zeros(20, 100).double()), Factor)


def test_methods_that_need_features_in_memory_are_refused(tmp_path: Path) -> None:
    """LiSSA, certificates, and engines beside arrays say what to do instead."""
    with pytest.raises(OptionError, match="use influence_rows"):
        lissa_influence(sharded())
    problem = Problem.from_features(in_shards(), None, l2=L2, size=10)
    mask = np.arange(N) < 10
    with pytest.raises(ProblemError, match="load them"):
        write_certificate(tmp_path / "claim.json", problem, mask, "x.npy", Y)
    # The cure.
    assert write_certificate(tmp_path / "claim.json", problem, mask, X, Y).is_confirmed
    with pytest.raises(OptionError, match=r"give paths .* or leave engine out"):
        Problem.from_features(X, Y, l2=L2, size=10, engine="tcp://10.0.0.1:8786")


@given(parts=st.lists(st.integers(-5, 5), min_size=1, max_size=20))
def test_a_sum_of_pairs_is_the_sum(parts: list[int]) -> None:
    """Over any number of shards, in one round."""
    shards = of_parts(*(np.full(2, float(part)) for part in parts))
    assert add_up(shards, _scaled, 2.0).tolist() == [2.0 * sum(parts)] * 2
    assert shards.num_rounds == 1


def _scaled(value: FloatArray, factor: float) -> FloatArray:
    return factor * value


def test_the_digest_is_of_the_features() -> None:
    """Equal features in equal shards have one digest, and one changed number another."""
    one, other = (FeatureShards.survey(in_shards())[0].digest() for _ in range(2))
    changed = X.copy()
    changed[3, 3] += 1.0
    parts = [(changed[a:b], Y[a:b]) for a, b in pairwise(CUTS)]
    assert one == other != FeatureShards.survey(of_parts(*parts))[0].digest()


def test_files_are_pruned_as_shards(tmp_path: Path) -> None:
    """Features and labels in npy files, weights too: the head is that of the arrays."""
    for k, (a, b) in enumerate(((0, 100), (100, N))):
        np.save(tmp_path / f"X-{k}.npy", X[a:b])
        np.save(tmp_path / f"y-{k}.npy", Y[a:b])
        np.save(tmp_path / f"w-{k}.npy", WEIGHTS[a:b])
    problem = Problem.from_features(
        str(tmp_path / "X-*.npy"),
        str(tmp_path / "y-*.npy"),
        l2=L2,
        size=10,
        sample_weight=tmp_path / "w-*.npy",
    )
    assert problem.head is not None
    expected = fit_head(X, Y, l2=L2, sample_weight=WEIGHTS)
    assert problem.head.theta == pytest.approx(expected.theta, abs=1e-12)


def test_a_column_of_labels_goes_by_its_name(tmp_path: Path) -> None:
    """A table of features and texts, read in groups of rows."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {f"x{j}": X[:, j] for j in range(5)} | {"kind": [f"k{label}" for label in Y]}
    parquet.write_table(pa.table(columns), tmp_path / "all.parquet", row_group_size=70)
    solution, check = subsetsel.prune(
        tmp_path / "all.parquet", "kind", l2=L2, rel_epsilon=0.1, max_iterations=2000
    )
    assert check.class_sizes == {f"k{c}": 60 for c in range(4)}
    assert check.is_verified
    assert solution.size > 0


def test_dask_arrays_are_shards() -> None:
    """Chunks of features and of labels, of other lengths, in this process."""
    da = pytest.importorskip("dask.array")
    problem = Problem.from_features(
        da.from_array(X, chunks=(90, 3)), da.from_array(Y, chunks=50), l2=L2, size=10
    )
    assert problem.head is not None
    assert problem.head.theta == pytest.approx(fit_head(X, Y, l2=L2).theta, abs=1e-12)
    assert problem.rows.shards is not None
    assert len(problem.rows.shards) == 3


def test_rows_that_were_rounded_to_be_gathered_prove_nothing(tmp_path: Path) -> None:
    """A solver's proof is about the rows that it was given, and the head's own are more exact.

    Mutation: the proof of the rounded rows stands: its bound is above a subset's norm.
    """
    X = np.random.default_rng(0).normal(size=(14, 1))
    X[1::2] = X[::2] * (1 + 2e-8)
    files = [tmp_path / f"{number}.npy" for number in range(2)]
    for file, part in zip(files, np.split(X, [8]), strict=True):
        np.save(file, part)
    problem = Problem.from_features(list(map(str, files)), np.arange(14) // 2 % 2, l2=0.1, size=5)
    found = subsetsel.solve(problem, solver="cpsat")
    assert found.status == "feasible"
    assert found.bound is None or found.bound < found.norm
