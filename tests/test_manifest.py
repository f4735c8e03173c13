"""The manifest, and files that are whole or not there."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from subsetsel.cli.settings import Plan
from subsetsel.errors import FileFormatError, SubsetselError
from subsetsel.problem.progress import Progress
from subsetsel.problem.solution import Solution
from subsetsel.report.manifest import MAX_TRACE, Manifest
from subsetsel.support.files import written_whole
from subsetsel.support.records import plain, sha256_of_array, sha256_of_file


@pytest.fixture
def solution() -> Solution:
    """Two of five examples pruned."""
    mask = np.array([False, True, False, False, True])
    return Solution(mask=mask, norm=0.25, status="feasible", epsilon=0.5, solver="anneal", seed=3)


def make(solution: Solution, **more: Any) -> Manifest:
    """A manifest with small inputs."""
    return Manifest.of(
        solution, command="prune", settings={"l2": 1e-3}, inputs={"X": np.eye(5)}, **more
    )


def test_a_manifest_comes_back_as_it_was_written(solution: Solution, tmp_path: Path) -> None:
    """Write, read, equal."""
    manifest = make(solution, verification={"change": 0.1})
    manifest.write(tmp_path / "m.json")
    assert Manifest.read(tmp_path / "m.json") == manifest


def test_kept_and_pruned_are_the_users_own_ids(solution: Solution) -> None:
    """Ids are carried through; indices stand in only where there are none."""
    manifest = make(solution, ids=np.array(["a", "b", "c", "d", "e"]))
    assert (manifest.kept, manifest.pruned) == (["a", "c", "d"], ["b", "e"])
    assert make(solution).pruned == [1, 4]


def test_ids_must_be_one_per_example(solution: Solution) -> None:
    """Four ids for five examples is an error that says so."""
    with pytest.raises(FileFormatError, match=r"one id per example, shape \(5,\), got \(4,\)"):
        make(solution, ids=np.arange(4))


def test_a_mask_is_found_again_in_reordered_data(solution: Solution) -> None:
    """Ids identify examples, whatever order the data come in."""
    manifest = make(solution, ids=np.array(["a", "b", "c", "d", "e"]))
    assert manifest.mask(["e", "d", "c", "b", "a"]).tolist() == [True, False, False, True, False]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", "b", "c", "d", "x"], "such as 'x'.*such as 'e'"),
        (["a", "b"], "speaks of 5 examples, the data hold 2"),
        (["a", "a", "b", "c", "d"], "'a' belongs to 2 examples"),
        (None, "names its examples by ids .such as 'a'., and the data have none"),
    ],
)
def test_ids_of_other_data_are_refused(
    solution: Solution, ids: list[str] | None, message: str
) -> None:
    """A manifest is not applied to data it was not made from, and the message says which ids."""
    manifest = make(solution, ids=np.array(["a", "b", "c", "d", "e"]))
    with pytest.raises(FileFormatError, match=message):
        manifest.mask(ids)


def test_ids_are_the_same_as_text_and_as_numbers(solution: Solution) -> None:
    """A table holds them as text, an array as numbers."""
    manifest = make(solution, ids=np.array([50, 40, 30, 20, 10]))
    assert manifest.mask(["10", "20", "30", "40", "50"]).tolist() == [
        True,
        False,
        False,
        True,
        False,
    ]


def test_a_manifest_of_indices_goes_by_positions_whatever_ids_the_data_have(
    solution: Solution,
) -> None:
    """Ids 4 to 0 are no indices, although both are the numbers 0 to 4.

    Mutation: a manifest that does not know whether it holds ids: fails.
    """
    manifest = make(solution)
    assert manifest.mask(np.arange(5)[::-1]).tolist() == solution.mask.tolist()
    with pytest.raises(FileFormatError, match="the data have none"):
        make(solution, ids=np.arange(5)[::-1]).mask()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kept": [0, 2, 1]}, "kept and pruned .such as 1"),
        ({"pruned": [1, 4, 4]}, "names an example twice"),
        ({"kept": [0, 2]}, "its solution says n = 5, and it names 4"),
        ({"kept": [0, 2, 3, 4], "pruned": [1]}, "its solution says size = 2, and it names 1"),
        ({"has_ids": "yes"}, "has_ids must be true, false or null"),
        ({"look": [1]}, "look must be a record or null"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    change: dict[str, Any], message: str, solution: Solution, tmp_path: Path
) -> None:
    """Ids, counts and types agree, or it is not read.

    Mutation: `Manifest.read` without its comparison of the parts: fails.
    """
    path = tmp_path / "m.json"
    make(solution).write(path)
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, **change}))
    with pytest.raises(FileFormatError, match=message):
        Manifest.read(path)


def test_repeated_ids_are_refused_where_a_manifest_is_made(solution: Solution) -> None:
    """Which of the two is kept could not be told; with ids of their own it can."""
    with pytest.raises(FileFormatError, match="'a' belongs to 2 examples"):
        make(solution, ids=np.array(["a", "b", "c", "a", "e"]))
    assert make(solution, ids=np.array(["a", "b", "c", "d", "e"])).pruned == ["b", "e"]


def test_an_id_that_is_no_number_is_refused(solution: Solution) -> None:
    """Of NaN nothing is found again: it equals nothing."""
    with pytest.raises(FileFormatError, match="the id of example 2 is nan"):
        make(solution, ids=np.array([0.0, 1.0, np.nan, 3.0, 4.0]))


def test_numbers_that_json_does_not_know_become_null(tmp_path: Path, solution: Solution) -> None:
    """The file is strict JSON: no NaN, no Infinity."""
    make(solution, verification={"accuracy": float("nan"), "change": np.float32(2)}).write(
        tmp_path / "m.json"
    )

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    record = json.loads((tmp_path / "m.json").read_text(), parse_constant=refuse)
    assert record["verification"] == {"accuracy": None, "change": 2.0}


def test_versions_seed_and_hash_are_in_the_record(solution: Solution) -> None:
    """What is needed to repeat a run is there."""
    manifest = make(solution)
    assert manifest.environment["versions"]["numpy"] == np.__version__
    assert manifest.solution["seed"] == 3
    assert manifest.inputs[0]["sha256"] == sha256_of_array(np.eye(5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "damaged"),
        ('{"format": "subsetsel-manifest-1", "command"', "damaged"),  # cut off
        ("[" * 100_000, "damaged"),  # nested beyond what a parser can hold
        ("[]", "not a manifest"),
        ('{"format": "other"}', "not a manifest"),
        ('{"format": "subsetsel-manifest-1"}', "'command' is missing"),
    ],
)
def test_what_is_no_manifest_is_refused(text: str, message: str, tmp_path: Path) -> None:
    """Each kind of damage is one clear error."""
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(FileFormatError, match=message):
        Manifest.read(tmp_path / "m.json")


def test_an_unknown_field_is_refused(solution: Solution, tmp_path: Path) -> None:
    """A manifest of a later version is not half understood."""
    make(solution).write(tmp_path / "m.json")
    record = json.loads((tmp_path / "m.json").read_text())
    (tmp_path / "m.json").write_text(json.dumps({**record, "colour": "red"}))
    with pytest.raises(FileFormatError, match="colour"):
        Manifest.read(tmp_path / "m.json")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """A write that fails in the middle leaves the old file as it was."""
    target = tmp_path / "m.json"
    target.write_text("old")

    def fill_the_disk() -> None:
        with written_whole(target) as part:
            part.write_text("half of the n")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fill_the_disk()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_hash_does_not_depend_on_the_memory_layout() -> None:
    """Fortran order and strides are no property of the data; the type and the shape are."""
    array = np.arange(12.0).reshape(3, 4)
    assert sha256_of_array(np.asfortranarray(array)) == sha256_of_array(array)
    assert sha256_of_array(np.repeat(array, 2, axis=1)[:, ::2]) == sha256_of_array(array)
    assert sha256_of_array(array.astype(np.float32)) != sha256_of_array(array)
    assert sha256_of_array(array.reshape(4, 3)) != sha256_of_array(array)


def test_a_file_hash_is_sha256(tmp_path: Path) -> None:
    """The known digest of three known bytes."""
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256_of_file(tmp_path / "f").startswith("ba7816bf8f01cfea414140de5dae2223")


def test_plain_reduces_numpy_and_paths_to_json_types(tmp_path: Path) -> None:
    """Nothing of NumPy is left."""
    value = plain({1: np.arange(2), "p": tmp_path, "s": {np.int64(3)}, "b": np.bool_(True)})
    assert value == {"1": [0, 1], "p": str(tmp_path), "s": [3], "b": True}
    json.dumps(value)


def test_ids_must_be_texts_or_numbers(solution: Solution, tmp_path: Path) -> None:
    """A list where an id belongs is refused when read, not when looked up."""
    make(solution).write(tmp_path / "m.json")
    record = json.loads((tmp_path / "m.json").read_text())
    (tmp_path / "m.json").write_text(json.dumps({**record, "kept": [[1]]}))
    with pytest.raises(FileFormatError, match="texts or numbers"):
        Manifest.read(tmp_path / "m.json")


def test_differences_name_what_changed(solution: Solution) -> None:
    """Settings, inputs and versions, each in one line."""
    first = make(solution)
    other = replace(
        first,
        settings={"l2": 1e-2},
        environment={**first.environment, "versions": {"numpy": "0"}},
    )
    lines = first.differences(other)
    assert "setting l2: 0.001 there, 0.01 here" in lines
    assert f"version of numpy: {np.__version__} there, 0 here" in lines
    assert first.differences(make(solution)) == []


def test_differences_name_the_machine_and_its_threads(solution: Solution) -> None:
    """Whatever both runs tell; what one does not know explains nothing."""
    first = make(solution)
    there = {**first.environment, "threads": {"OMP_NUM_THREADS": "7"}, "torch_threads": 7}
    lines = replace(first, environment=there).differences(first)
    assert any(line.startswith("threads: {'OMP_NUM_THREADS': '7'} there") for line in lines)
    assert any(line.startswith("torch_threads: 7 there") for line in lines)
    old = {name: there[name] for name in there if name != "torch_threads"}
    lines = replace(first, environment=old).differences(first)
    assert not any(line.startswith("torch_threads") for line in lines)


def test_differences_name_the_memory_that_was_planned_with(
    solution: Solution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It decides how S is held and searched on."""
    monkeypatch.setenv("SUBSETSEL_MEMORY_GIB", "2")
    first = make(solution)
    monkeypatch.setenv("SUBSETSEL_MEMORY_GIB", "3")
    assert first.differences(make(solution)) == [
        "planned_memory: 2147483648 there, 3221225472 here"
    ]


def test_a_long_trace_is_thinned_between_its_ends(solution: Solution) -> None:
    """However many subsets a search went through, the record stays short and in order."""
    trace = tuple(Progress(float(i), i, i, 1.0, None) for i in range(5 * MAX_TRACE + 3))
    times = [one["time"] for one in make(replace(solution, trace=trace)).trace]
    assert len(times) == MAX_TRACE
    assert times == sorted(set(times))
    assert (times[0], times[-1]) == (0.0, 5 * MAX_TRACE + 2.0)
    assert len(make(replace(solution, trace=trace[:3])).trace) == 3


def places_in(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a JSON value: the keys and positions that lead to it."""
    yield before
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places_in(value[key], (*before, key))


def with_value_at(record: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A copy in which something else stands at one place."""
    if not place:
        return value
    copy = record.copy()
    copy[place[0]] = with_value_at(record[place[0]], place[1:], value)
    return copy


def test_a_manifest_with_anything_anywhere_is_read_or_refused(
    solution: Solution, tmp_path: Path
) -> None:
    """Seventeen values of every type at every place of it: only subsetsel's own errors.

    Mutation: `Manifest.read` without its question about inputs, or `_require_types` left out: each
    fails.
    """
    settings = {"goal": {"size": 2}, "l2": 0.1, "device": "cpu", "label": "y", "id": "id"}
    (tmp_path / "data.csv").write_text("y\n1\n")
    manifest = Manifest.of(
        solution,
        command="prune",
        settings={**settings, "search": {"solver": "anneal"}},
        inputs={"data": tmp_path / "data.csv"},
    )
    # One field of each kind: a machine has many more of the same.
    machine = {"python": "3.11", "num_cpus": 2, "threads": {}, "versions": {"numpy": "2.0"}}
    manifest = replace(manifest, environment=machine)
    path = tmp_path / "m.json"
    manifest.write(path)
    good = json.loads(path.read_text())
    values: list[Any] = [None, True, 0, -1, 1.5, 1e308, "", "x", "1", ["a", "b"]]
    values += [[], [1], [None], [[1]], [{}], {}, {"a": 1}]
    for place in places_in(good):
        for value in values:
            path.write_text(json.dumps(with_value_at(good, place, value)))
            with contextlib.suppress(SubsetselError):
                found = Manifest.read(path)
                assert manifest.differences(found) is not None
                assert all(Path(item.get("path", item["name"])) for item in found.inputs)
                plan = Plan.of_manifest(found)
                assert plan.l2 * 2 == 2 * plan.l2
                found.mask()
