"""Kill -9 at every line that writes: a file is whole or not there, and little work is lost."""

from __future__ import annotations

import json
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kills import kill_me, killed_at_touch, needs_fork

from subsetsel.cli.output import save as save_both
from subsetsel.errors import FileFormatError
from subsetsel.experiments.runs import RunLog
from subsetsel.influence.features.store import FeatureStore, Fingerprint
from subsetsel.problem.solution import Solution
from subsetsel.report.manifest import Manifest

pytestmark = needs_fork

N, H, CHUNK = 6, 3, 2
FEATURES = np.arange(N * H, dtype=np.float32).reshape(N, H) + 1
LABELS = np.arange(N) % 2
_PRINT = Fingerprint("model", "data", {"batch_size": CHUNK})


def capture(folder: Path) -> FeatureStore:
    """What a feature capture does: it goes on where the last one ended, and commits each chunk."""
    store = FeatureStore.open(folder, _PRINT, (N, H), np.float32)
    for start in range(store.num_done, N, CHUNK):
        rows = slice(start, start + CHUNK)
        store.write(FEATURES[rows], LABELS[rows])
        store.commit()
    return store


def rows_on_disk(folder: Path) -> int:
    """How many rows a store says it has."""
    manifest = folder / "manifest.json"
    return int(json.loads(manifest.read_text())["num_done"]) if manifest.exists() else 0


def test_features_killed_anywhere_go_on_with_one_chunk_lost_at_most(tmp_path: Path) -> None:
    """Killed at each touch of its folder in turn, a capture resumes to the same bytes.

    Mutations: `commit` writes the manifest before it renames the arrays; it writes it in place
    instead of whole: each fails.
    """
    was_killed, number = True, 0
    while was_killed:
        folder = tmp_path / f"store-{number}"
        was_killed = killed_at_touch(partial(capture, folder), folder, number)
        done = rows_on_disk(folder) if folder.exists() else 0
        assert done % CHUNK == 0
        if done:
            part = folder / "features.npy.part"
            kept = np.load(part if part.exists() else folder / "features.npy")
            assert np.array_equal(kept[:done], FEATURES[:done])
        store = capture(folder)
        assert np.array_equal(store.features, FEATURES)
        assert np.array_equal(store.labels, LABELS)
        number += 1
    assert number > 20


@pytest.mark.parametrize("number", range(2, 24, 6))
def test_unfinished_features_do_not_look_whole(number: int, tmp_path: Path) -> None:
    """Where there is a features.npy, every row is in it.

    Mutation: the arrays carry their final names from the start: fails.
    """
    folder = tmp_path / "store"
    killed_at_touch(lambda: capture(folder), folder, number)
    for path in folder.glob("features.npy"):
        assert np.array_equal(np.load(path), FEATURES)


def record(number: int) -> dict[str, Any]:
    """One finished training of a comparison."""
    return {"key": f"lenet/random/{number}", "accuracy": 0.5, "train_time": 1.0}


def compare(folder: Path) -> RunLog:
    """What a comparison of three trainings does with its folder."""
    log = RunLog(folder, {"data": "toy"})
    todo = [number for number in range(3) if record(number)["key"] not in log]
    log.fill(todo, record, lambda _: None)
    log.write_csv()
    return log


def test_a_comparison_killed_anywhere_goes_on(tmp_path: Path) -> None:
    """Finished trainings are found again, and results.csv is whole or not there.

    Mutation: results.csv or settings.json written in place: fails.
    """
    was_killed, number = True, 0
    while was_killed:
        folder = tmp_path / f"runs-{number}"
        was_killed = killed_at_touch(partial(compare, folder), folder, number)
        for path in folder.glob("results.csv"):
            assert path.read_text().count("\n") == 4
        assert [r["key"] for r in compare(folder).records] == [record(k)["key"] for k in range(3)]
        number += 1
    assert number > 20


@pytest.mark.parametrize("last", [0, 1, 2])
def test_each_training_is_on_the_disk_before_the_next_begins(last: int, tmp_path: Path) -> None:
    """Killed in training number k, the k before it are kept.

    Mutation: records written at the end of `fill` instead of one by one: fails.
    """

    def make(number: int) -> dict[str, Any]:
        if number == last:
            kill_me()
        return record(number)

    def work() -> None:
        RunLog(tmp_path, {}).fill([0, 1, 2], make, lambda _: None)

    assert killed_at_touch(work, tmp_path, 1000)
    assert len(RunLog(tmp_path, {}).records) == last


def test_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    """Half a record, cut inside a letter of two bytes, costs that record alone.

    Mutation: `_read` without its suppression, or reading the file as UTF-8 text: fails.
    """
    compare(tmp_path)
    path = tmp_path / "runs.jsonl"
    path.write_bytes(path.read_bytes() + b'{"key": "caf\xc3')
    log = compare(tmp_path)
    assert len(log.records) == 3
    log.add(record(3))
    assert len(RunLog(tmp_path, {"data": "toy"}).records) == 4


def save(out: Path, size: int) -> None:
    """What `subsetsel prune --out` does at its end."""
    mask = np.arange(8) < size
    solution = Solution(mask=mask, norm=1.0, status="feasible", target_size=size)
    manifest = Manifest.of(solution, command="prune", settings={}, inputs={})
    save_both(solution, manifest, out)


def test_a_subset_killed_anywhere_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    """Killed at each touch of the folder in turn: subset and manifest load, each old or new.

    Mutation: `written_whole` removes the old file before the new one takes its name: fails.
    """
    out = tmp_path / "pruned.npz"
    save(out, 2)
    was_killed, number = True, 0
    while was_killed:
        was_killed = killed_at_touch(lambda: save(out, 5), tmp_path, number)
        assert Solution.load(out).size in {2, 5}
        assert len(Manifest.read(tmp_path / "pruned.manifest.json").pruned) in {2, 5}
        number += 1
    assert number > 8
    assert Solution.load(out).size == 5


def test_a_subset_killed_while_its_bytes_are_written_is_not_there(tmp_path: Path) -> None:
    """In the middle of the archive, after its first array, there is no file of that name.

    Mutation: `written_whole` gives the target itself: fails.
    """

    class DyingArchive(zipfile.ZipFile):
        def open(self, *arguments: Any, **options: Any) -> Any:
            stream = super().open(*arguments, **options)
            stream.write(b"half")
            assert self.fp is not None
            self.fp.flush()
            kill_me()
            return stream

    def work() -> None:
        # In the child alone.
        zipfile.ZipFile = DyingArchive  # type: ignore[misc]
        save(tmp_path / "pruned.npz", 5)

    assert killed_at_touch(work, tmp_path, 1000)
    assert [path.name for path in tmp_path.glob("pruned*")] == []


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "[" * 100_000,
        # Rows that were never written must not be believed in.
        json.dumps({"num_done": 7}),
        json.dumps({"num_done": -2}),
        json.dumps({"num_done": "4"}),
        json.dumps({"num_done": True}),
        json.dumps({"fingerprint": []}),
        json.dumps({"shape": None}),
    ],
)
def test_a_forged_manifest_of_features_is_refused(text: str, tmp_path: Path) -> None:
    """Each with one error that names the file; never rows of zeros that were not computed.

    Mutation: `_read_manifest` without its check of ``num_done``: fails.
    """
    capture(tmp_path)
    path = tmp_path / "manifest.json"
    good = json.loads(path.read_text())
    try:
        change = json.loads(text)
        path.write_text(json.dumps(good | change) if change else text)
    except (ValueError, TypeError, RecursionError):
        path.write_text(text)
    with pytest.raises(FileFormatError, match="manifest"):
        FeatureStore.open(tmp_path, _PRINT, (N, H), np.float32)


def test_features_cut_short_are_refused(tmp_path: Path) -> None:
    """A copy that was broken off is no cache.

    Mutation: `_map_array` opens it for writing at once, when NumPy fills it up with zeros: fails.
    """
    capture(tmp_path)
    path = tmp_path / "features.npy"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(FileFormatError, match="damaged"):
        FeatureStore.open(tmp_path, _PRINT, (N, H), np.float32)
