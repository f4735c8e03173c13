"""What a user gets back: indices, predictions, the printed summary, and the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from subsetsel import FileFormatError, Progress, Solution


def _solution(pruned: tuple[int, ...] = (1, 3), n: int = 8, **about: Any) -> Solution:
    mask = np.zeros(n, dtype=np.bool_)
    mask[list(pruned)] = True
    return Solution(mask=mask, **{"norm": 0.5, "status": "feasible", **about})


_FULL = _solution(
    epsilon=0.75,
    bound=3.25,
    limit="time",
    solver="anneal",
    seed=7,
    num_iterations=12_345,
    solve_time=1.5,
    compile_time=0.25,
    message="a note",
    trace=(Progress(0.1, 10, 1, 0.25, None), Progress(0.2, 20, 2, 0.5, 3.25)),
    stats={"num_probes": 3},
)


# --- indices and predictions --------------------------------------------------------------------


def test_indices() -> None:
    """Pruned and kept are sorted int64 and partition the examples."""
    solution = _solution()
    np.testing.assert_array_equal(solution.pruned, [1, 3])
    np.testing.assert_array_equal(solution.kept, [0, 2, 4, 5, 6, 7])
    assert solution.pruned.dtype == solution.kept.dtype == np.int64
    assert (solution.n, solution.size) == (8, 2)


def test_mask_cannot_be_changed() -> None:
    """A verified subset stays what was verified."""
    with pytest.raises(ValueError, match="read-only"):
        _solution().mask[0] = True


@pytest.mark.parametrize(
    ("status", "is_feasible"),
    [("optimal", True), ("feasible", True), ("infeasible", False), ("unknown", False)],
)
def test_is_feasible(status: str, is_feasible: bool) -> None:
    """Two statuses carry a subset, two do not."""
    assert _solution((), norm=0.0, status=status).is_feasible == is_feasible


def test_predictions() -> None:
    """Full is the norm; kept carries n / (n - size)."""
    solution = _solution()
    assert solution.predicted_full == 0.5
    assert solution.predicted_kept == pytest.approx(0.5 * 8 / 6)


def test_prediction_with_nothing_kept() -> None:
    """Nothing can be retrained on nothing."""
    assert _solution(tuple(range(8))).predicted_kept == np.inf


@pytest.mark.parametrize(
    ("about", "gap"),
    [
        ({"epsilon": 1.0, "bound": 4.9}, 0.5),
        ({"epsilon": 1.0, "bound": 2.0}, 0.0),
        ({"epsilon": 1.0}, None),
        ({"target_size": 2, "bound": 0.1}, None),
    ],
)
def test_gap(about: dict[str, Any], gap: float | None) -> None:
    """The gap counts whole examples, and exists only where a bound on the size does."""
    assert _solution(**about).gap == gap


def test_gap_where_nothing_can_be_pruned() -> None:
    """A bound below one example leaves no gap."""
    assert _solution((), epsilon=1.0, bound=0.7).gap == 0.0


def test_solutions_can_be_compared_and_hashed() -> None:
    """Putting solutions in a set or a dictionary is no error."""
    one, two = _solution(), _solution()
    assert one in {one, two}
    assert isinstance(one == two, bool)


# --- the summary --------------------------------------------------------------------------------


def test_summary_says_it_all() -> None:
    """Status, counts, norm, bound, solver and note are all in the printed lines."""
    text = str(_FULL)
    for words in (
        "feasible (stopped: time limit)",
        "2 of 8 (25.0%), kept 6",
        "0.5 <= epsilon = 0.75",
        "at most 3 can be pruned (proved): gap 33.333%",
        "anneal, seed 7, 1.50 s",
        "0.25 s to load or compile",
        "12,345 iterations",
        "a note",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"status": "optimal", "epsilon": 1.0, "bound": 2.5}, "(proved): optimal"),
        ({"target_size": 2, "bound": 0.25}, "the norm cannot be below 0.25 (proved)\n"),
        ({"target_size": 2, "bound": 0.4}, "0.4 (proved): at most 25.000% above the least"),
        ({"target_size": 2}, "predicted change after retraining on what is kept 0.666667"),
        (
            {"epsilon": 1.0, "normalization": "kept"},
            "(predicted change 0.666667 <= epsilon = 1)",
        ),
        ({"epsilon": 1.0, "limit": "interrupted"}, "stopped: interrupted"),
    ],
)
def test_summary_by_kind(about: dict[str, Any], words: str) -> None:
    """Each kind of problem is summed up in its own words."""
    assert words in str(_solution(**about))


@pytest.mark.parametrize("normalization", ["full", "kept"])
def test_no_gap_is_printed_without_a_bound(normalization: str) -> None:
    """Nothing unproved is printed as proved."""
    text = str(_solution(epsilon=1.0, normalization=normalization))
    assert "gap" not in text
    assert "(proved)" not in text


def test_optimal_is_not_said_to_be_unproved() -> None:
    """Without a bound an optimal subset is still called what it is."""
    assert "no proof" not in str(_solution(status="optimal", epsilon=1.0))


@pytest.mark.parametrize("status", ["infeasible", "unknown"])
def test_summary_without_a_subset_states_no_norm(status: str) -> None:
    """Where there is no subset, its norm is not claimed to be within epsilon."""
    assert "<= epsilon" not in str(_solution((), norm=0.0, status=status, epsilon=1.0))


def test_repr_is_one_line() -> None:
    """The short form names the essentials."""
    assert repr(_FULL) == (
        "Solution(size=2, n=8, norm=0.5, status='feasible', limit='time', solver='anneal')"
    )


# --- the file -----------------------------------------------------------------------------------

_FIELDS = [
    "norm",
    "status",
    "limit",
    "bound",
    "epsilon",
    "target_size",
    "normalization",
    "solver",
    "seed",
    "num_iterations",
    "solve_time",
    "compile_time",
    "message",
    "trace",
    "stats",
]


@pytest.mark.parametrize(
    "solution",
    [
        _FULL,
        _solution(target_size=2, normalization="kept"),
        _solution((), norm=0.0, status="infeasible", epsilon=0.1),
        _solution(tuple(range(8))),
    ],
    ids=["full", "eq4", "infeasible", "everything"],
)
def test_round_trip(solution: Solution, tmp_path: Path) -> None:
    """Saving and loading changes nothing."""
    solution.save(tmp_path / "solution.npz")
    loaded = Solution.load(tmp_path / "solution.npz")
    np.testing.assert_array_equal(loaded.mask, solution.mask)
    for name in _FIELDS:
        assert getattr(loaded, name) == getattr(solution, name), name


def test_name_is_used_as_given(tmp_path: Path) -> None:
    """No suffix is added, nothing else is left in the folder, and strings are paths."""
    _FULL.save(str(tmp_path / "pruned"))
    assert [path.name for path in tmp_path.iterdir()] == ["pruned"]
    assert Solution.load(str(tmp_path / "pruned")).size == 2


def test_file_reads_without_subsetsel(tmp_path: Path) -> None:
    """Plain NumPy reads the indices, without pickles."""
    _FULL.save(tmp_path / "solution.npz")
    with np.load(tmp_path / "solution.npz", allow_pickle=False) as data:
        np.testing.assert_array_equal(data["pruned"], [1, 3])
        assert json.loads(str(data["about"]))["status"] == "feasible"


def test_missing_file_is_its_own_error(tmp_path: Path) -> None:
    """No such file is not a damaged file."""
    with pytest.raises(FileNotFoundError):
        Solution.load(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("length", [0, 1, 10, 100, 400, -200, -100, -22, -1])
def test_truncated_file(tmp_path: Path, length: int) -> None:
    """A file cut anywhere is refused as damaged, and closed again."""
    path = tmp_path / "solution.npz"
    _FULL.save(path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(FileFormatError, match="damaged"):
        Solution.load(path)


def test_flipped_bytes(tmp_path: Path) -> None:
    """A file with a wrong byte anywhere loads or is refused as damaged: nothing else escapes."""
    path = tmp_path / "solution.npz"
    mask = np.random.default_rng(0).random(300) < 0.5
    Solution(mask=mask, norm=0.5, status="feasible").save(path)
    content = path.read_bytes()
    num_refused = 0
    for position in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[position] ^= 0xFF
        path.write_bytes(flipped)
        try:
            loaded = Solution.load(path)
        except FileFormatError:
            num_refused += 1
        else:
            np.testing.assert_array_equal(loaded.mask, mask)
    assert num_refused > len(content) // 14


@pytest.mark.parametrize(
    "content",
    [b"hello", b"\x89PNG\r\n\x1a\n" + bytes(50), bytes(100)],
    ids=["text", "png", "zeros"],
)
def test_other_file(tmp_path: Path, content: bytes) -> None:
    """A file of another kind is refused by name."""
    path = tmp_path / "file.npz"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"file\.npz is not a solution"):
        Solution.load(path)


def test_plain_array_file(tmp_path: Path) -> None:
    """An .npy file is not a solution."""
    np.save(tmp_path / "S.npy", np.ones(3))
    with pytest.raises(FileFormatError):
        Solution.load(tmp_path / "S.npy")


def test_folder(tmp_path: Path) -> None:
    """A folder is not a solution."""
    with pytest.raises(FileFormatError):
        Solution.load(tmp_path)


def test_pickle_is_refused(tmp_path: Path) -> None:
    """A pickle inside is never opened."""
    np.savez(tmp_path / "evil.npz", pruned=np.array([print], dtype=object), kept=[0], about="{}")
    with pytest.raises(FileFormatError, match="never unpickled"):
        Solution.load(tmp_path / "evil.npz")


def _rewrite(path: Path, **changes: Any) -> None:
    with np.load(path) as data:
        arrays = dict(data)
    for name, value in changes.items():
        if value is None:
            del arrays[name]
        else:
            arrays[name] = value
    np.savez(path, **arrays)


def _about(**changes: Any) -> Any:
    about = {name: getattr(_FULL, name) for name in _FIELDS}
    about |= {"trace": [], "format": "subsetsel-solution-1"} | changes
    return np.array(json.dumps({k: v for k, v in about.items() if v != "DROP"}))


_WRONG: dict[str, dict[str, Any]] = {
    "no pruned": {"pruned": None},
    "no about": {"about": None},
    "overlap": {"pruned": np.array([1, 2])},
    "gap": {"pruned": np.array([1])},
    "out of range": {"pruned": np.array([1, 8])},
    "negative": {"pruned": np.array([1, -5])},
    "repeated": {"pruned": np.array([1, 3, 3])},
    "floats": {"pruned": np.array([1.0, 3.0])},
    "two-dimensional": {"pruned": np.array([[1, 3]])},
    "no example at all": {"pruned": np.empty(0, int), "kept": np.empty(0, int)},
    "no JSON": {"about": np.array("{")},
    "JSON of something else": {"about": np.array("[1]")},
    "a number for text": {"about": np.array(3.0)},
    "another format": {"about": _about(format="subsetsel-solution-9")},
    "no norm": {"about": _about(norm="DROP")},
    "norm is text": {"about": _about(norm="small")},
    "norm is negative": {"about": _about(norm=-1.0)},
    "unknown status": {"about": _about(status="great")},
    "unknown limit": {"about": _about(limit="boredom")},
    "unknown normalization": {"about": _about(normalization="half")},
    "trace is no list": {"about": _about(trace=None)},
    "trace of numbers": {"about": _about(trace=[1])},
    "pruned though infeasible": {"about": _about(status="infeasible")},
    "another size than asked": {"about": _about(epsilon=None, bound=None, target_size=5)},
}


@pytest.mark.parametrize("changes", _WRONG.values(), ids=_WRONG.keys())
def test_contradicting_file(tmp_path: Path, changes: dict[str, Any]) -> None:
    """A file that contradicts itself is refused as such."""
    path = tmp_path / "solution.npz"
    _FULL.save(path)
    _rewrite(path, **changes)
    with pytest.raises(FileFormatError, match=r"solution\.npz is not a solution"):
        Solution.load(path)


def test_rewriting_unchanged_loads(tmp_path: Path) -> None:
    """The contradictions above are refused for what they are, not for being rewritten."""
    path = tmp_path / "solution.npz"
    _FULL.save(path)
    _rewrite(path, about=_about())
    assert Solution.load(path).size == 2


def test_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A save that fails midway does not touch what was there."""
    path = tmp_path / "solution.npz"
    _FULL.save(path)
    before = path.read_bytes()

    def fail(stream: Any, **_: Any) -> None:
        stream.write(b"half")
        raise OSError("disk")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk"):
        _FULL.save(path)
    assert path.read_bytes() == before
