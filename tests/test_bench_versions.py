"""How two versions of the default solver are compared: runs, copies, verdict."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import against
import store
import verdict
import versions
from harness import Record


def record_of(instance: str, solver: str, value: float, seed: int = 0, **more: Any) -> Record:
    """A checked answer: a size for eps, a norm for size."""
    is_max = "/eps" in instance
    return Record(
        instance,
        solver,
        seed,
        10.0,
        form="max_size" if is_max else "min_norm",
        n=1_000,
        d=16,
        outcome="ok",
        size=int(value) if is_max else 100,
        norm=1.0 if is_max else value,
        random_norm=1.0,
        **more,
    )


def row_of(*records: Record) -> verdict.Row:
    """The only row of some records."""
    (row,) = verdict.rows_of(records)
    return row


def test_norms_are_compared_seed_by_seed() -> None:
    """Eq. 4: the geometric mean of the ratios over the seeds, not the ratio of the means."""
    name = "gaussian-9x9/size=4"
    row = row_of(
        record_of(name, "old", 1.0, 0),
        record_of(name, "new", 4.0, 0),
        record_of(name, "old", 8.0, 1),
        record_of(name, "new", 2.0, 1),
    )
    assert row.ratio == pytest.approx(1.0)
    assert (row.old, row.new) == (4.5, 3.0)
    assert not row.is_worse


def test_sizes_are_compared_by_what_the_best_bound_says_is_missing() -> None:
    """Eq. 3: the best bound of either version counts for both, its whole part."""
    name = "gaussian-9x9/eps=4%"
    row = row_of(record_of(name, "old", 690, bound=720.5), record_of(name, "new", 680, bound=700.9))
    assert row.bound == 700
    assert row.ratio == pytest.approx(21 / 11)
    assert row.is_worse


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [(20, 30, 21 / 31), (30, 20, 31 / 21), (900, 910, 91 / 101), (910, 900, 101 / 91)],
)
def test_without_a_bound_the_smaller_side_is_compared(old: int, new: int, expected: float) -> None:
    """Few pruned: the pruned ones; most pruned: the kept ones; below 1 is better in both."""
    name = "gaussian-9x9/eps=4%,kept"
    row = row_of(record_of(name, "old", old), record_of(name, "new", new))
    assert row.ratio == pytest.approx(expected)
    assert row.is_worse == (expected > 1.1)


def test_a_few_examples_are_not_worse() -> None:
    """Three missing instead of one is within the rule, four are not."""
    name = "gaussian-9x9/eps=4%"
    old = record_of(name, "old", 99, bound=100.0)
    assert not row_of(old, record_of(name, "new", 97)).is_worse
    assert row_of(old, record_of(name, "new", 96)).is_worse


def test_first_or_level_allows_two_percent_or_one_example() -> None:
    """The rule of all tables; the old version is not a peer."""
    norm, size = "gaussian-9x9/size=4", "gaussian-9x9/eps=4%"
    for name, mine, peer, expected in (
        (norm, 1.02, 1.0, True),
        (norm, 1.03, 1.0, False),
        (size, 99, 100, True),
        (size, 98, 100, False),
    ):
        pair = record_of(name, "old", 0.5 * mine), record_of(name, "new", mine)
        row = row_of(*pair, record_of(name, "greedy", peer))
        assert row.is_first == expected
        assert row_of(*pair).is_first


def test_summary_says_what_happened() -> None:
    """Means of both forms, how many are worse, and who is ahead, on a toy table."""
    norm, size = "gaussian-9x9/size=4", "planted-9x9/eps=4%"
    text = verdict.summary([
        record_of(norm, "old", 1.0),
        record_of(norm, "new", 1.2),
        record_of(norm, "greedy", 1.1),
        record_of(size, "old", 90, bound=100.0),
        record_of(size, "new", 95, bound=100.0),
        record_of(size, "greedy", 80),
    ])
    assert "Eq. 4, norm new/old: geometric mean 1.200 on 1 (gaussian 1.200)" in text
    assert "new/old: geometric mean 0.545 on 1 (planted 0.545)" in text
    assert "missing: old 10.0000%, new 5.0000%, ratio 0.500" in text
    assert "worse by more than 10 %: 1 of 2" in text
    assert "first or level with the peers on 1 of 2: 50.0%" in text
    assert "  gaussian-9x9/size=4: new 1.2, greedy 1.1" in text


def test_instances_without_an_answer_are_named() -> None:
    """A version that finds nothing does not take the instance out of sight."""
    old, new = (record_of("gaussian-9x9/size=4", version, 1.0) for version in ("old", "new"))
    lost = record_of("planted-9x9/size=4", "new", 1.0)
    lost.norm = lost.size = None
    assert "not answered" not in verdict.summary([old, new])
    assert "not answered by both: planted-9x9/size=4\n" in verdict.summary([old, new, lost])


def test_mean_of_ratios_comes_with_its_error() -> None:
    """Ratios 1/2 and 2: the mean is 1, and its standard error the factor 2."""
    names = ("gaussian-9x9/size=4", "planted-9x9/size=4")
    pairs = [
        (record_of(name, "old", 1.0), record_of(name, "new", ratio))
        for name, ratio in zip(names, (0.5, 2.0), strict=True)
    ]
    text = verdict.summary([record for pair in pairs for record in pair])
    assert "geometric mean 1.000, standard error a factor of 2.000, on 2" in text


def test_uneven_shares_of_the_processor_are_told() -> None:
    """A pair of which one ran beside other work is counted."""
    name = "gaussian-9x9/size=4"
    old = record_of(name, "old", 1.0, wall_time=10.0, cpu_time=9.0)
    for used, expected in ((8.5, 0), (4.0, 1)):
        new = record_of(name, "new", 1.0, wall_time=10.0, cpu_time=used)
        assert verdict.summary([old, new]).endswith(f"share of the processor: {expected}")


class Clerk:
    """In the place of a worker: answers what it is told, or is lost."""

    def __init__(self, asked: list[tuple[str, int]], name: str, is_lost: bool = False) -> None:
        self.asked, self.name, self.is_lost = asked, name, is_lost

    def ask(self, job: dict[str, Any], patience: float) -> dict[str, Any]:
        """Note the job and answer at once."""
        assert np.load(job["path"]).shape == (12, 2)
        assert patience > job["time_limit"]
        self.asked.append((self.name, job["seed"]))
        if self.is_lost:
            raise versions.WorkerLostError("gone")
        return asdict(record_of(job["name"], job["entrant"], 1.0, job["seed"]))


def played(folder: Path, *, is_lost: bool = False) -> tuple[list[tuple[str, int]], store.Store]:
    """Who was asked, and the folder after one tiny instance with two seeds."""
    given = against.parse_arguments(["--old", "x", "--out", str(folder), "--seeds", "2"])
    kept, asked = store.Store(folder), list[tuple[str, int]]()
    workers: Any = {name: Clerk(asked, name, is_lost) for name in ("old", "new")}
    against.Match(given, kept).play((0, "tiny-12x2/size=50%"), workers)
    return asked, kept


def test_versions_take_turns_to_begin(tmp_path: Path) -> None:
    """With the next seed the other version begins."""
    asked, kept = played(tmp_path)
    assert asked == [("old", 0), ("new", 0), ("new", 1), ("old", 1)]
    assert [record.solver for record in kept.records] == ["old", "new", "new", "old"]


def test_comparison_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """What the folder holds is not run again; a worker that was lost is a row to be tried again."""
    asked, kept = played(tmp_path, is_lost=True)
    assert {record.reason for record in kept.records} == {"gone"}
    assert len(played(tmp_path)[0]) == len(asked) == 4
    assert played(tmp_path)[0] == []


def test_rows_of_other_code_are_not_mixed(tmp_path: Path) -> None:
    """A folder belongs to two versions and one clock."""
    kept = store.Store(tmp_path)
    compared = {"clock": "wall", "old": "a 1", "new": "b 2"}
    (tmp_path / "env.json").write_text(json.dumps([{"compared": compared}]))
    against._refuse_others(kept, compared)
    with pytest.raises(ValueError, match="another new; choose another --out"):
        against._refuse_others(kept, {**compared, "new": "b 3"})


def checkout(folder: Path) -> Path:
    """A folder that looks like a checkout."""
    for part, text in (("subsetsel", "x = 1\n"), ("solvers", "y = 2\n")):
        (folder / part).mkdir(parents=True)
        (folder / part / "__init__.py").write_text(text)
    return folder


def test_snapshot_does_not_follow_later_edits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy is laid out as installed; an edit makes another version, the first one stays."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    root = checkout(tmp_path / "root")
    first, again = versions.snapshot("new", str(root)), versions.snapshot("old", str(root))
    (root / "solvers" / "__init__.py").write_text("y = 3\n")
    edited = versions.snapshot("new", str(root))
    assert first.folder == again.folder != edited.folder
    assert (first.folder / "subsetsel" / "solvers" / "__init__.py").read_text() == "y = 2\n"


def test_unknown_versions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a revision nor a folder with the package: the message says so."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ValueError, match="neither a folder nor a revision"):
        versions.snapshot("old", "no-such-revision")
    with pytest.raises(ValueError, match="holds no folders"):
        versions.snapshot("old", str(tmp_path))


def test_worker_refuses_a_package_from_elsewhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A worker whose version cannot be imported ends instead of measuring another one."""
    worker = versions.Worker(versions.Version("old", "folder", tmp_path, ""), "wall")
    with pytest.raises(versions.WorkerLostError):
        worker.ask({}, patience=60.0)
    assert f"not from {tmp_path}" in capfd.readouterr().err
