"""Shards of this process: what is kept, what errors say, where examples lie; no cluster."""

from __future__ import annotations

import gc
import pickle
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from subsetsel.errors import (
    EngineError,
    FileFormatError,
    OptionError,
    OutOfMemoryError,
    SubsetselError,
)
from subsetsel.shards.dask import Held
from subsetsel.shards.open import open_workers
from subsetsel.shards.table import Shards
from subsetsel.shards.workers import Serial, aligned, bytes_of

calls: list[int] = []


def load(k: int, length: int = 10) -> Any:
    """Make a shard, and note that it was made."""
    calls.append(k)
    return np.full(length, float(k))


def fail(_value: Any, kind: type[Exception], text: str) -> None:
    """Fail in the way asked for."""
    raise kind(text)


def shards_of(lengths: list[int], **options: Any) -> Shards:
    """Shards of this process, each filled with its own number."""
    calls.clear()
    workers = Serial(**options)
    return Shards(workers, workers.hold(load, list(enumerate(lengths))), lengths)


def test_small_values_are_made_once() -> None:
    """A second round finds them."""
    shards = shards_of([10] * 4)
    assert shards.map(np.sum) == shards.map(np.sum) == [0, 10, 20, 30]
    assert calls == [0, 1, 2, 3]


def test_what_exceeds_the_limit_is_made_in_each_round() -> None:
    """Two of four shards fit; the others are read again, and memory does not grow."""
    shards = shards_of([10] * 4, most_kept=160)
    shards.map(np.sum)
    shards.map(np.sum)
    assert calls == [0, 1, 2, 3, 2, 3]
    assert shards.workers.kept_bytes == 160  # type: ignore[attr-defined]


def test_the_limit_is_a_part_of_the_planned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan of 16 KiB keeps one KiB: one shard of 100 numbers."""
    monkeypatch.setenv("SUBSETSEL_MEMORY_GIB", str(2**-16))
    shards = shards_of([100] * 3)
    shards.map(np.sum)
    shards.map(np.sum)
    assert calls == [0, 1, 2, 1, 2]


def test_what_is_dropped_makes_room() -> None:
    """A second table is kept once the first is gone."""
    shards = shards_of([10], most_kept=80)
    shards.map(np.sum)
    workers = shards.workers
    del shards
    gc.collect()
    held = workers.hold(load, [(7,)])
    for _ in range(2):
        workers.run(np.sum, [(held[0],)])
    assert calls == [0, 7]


def test_tasks_compute_with_one_thread() -> None:
    """As those of any engine, whatever the user has set."""
    with threadpool_limits(limits=2, user_api="blas"):
        assert shards_of([1]).map(number_of_threads) == [{1}]


def number_of_threads(_value: Any) -> set[int]:
    """Threads that NumPy multiplies with."""
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def test_a_derived_value_is_made_from_what_is_held() -> None:
    """And only where it is asked for."""
    shards = shards_of([10, 20])
    doubled = shards.derive(np.multiply, each=[(2.0,), (3.0,)])
    assert calls == []
    assert doubled.map(np.sum) == [0.0, 60.0]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, 0), ((np.zeros(3), None), 24), ([np.zeros(2), "text"], None), ("text", None)],
)
def test_bytes_of_pairs_are_those_of_their_parts(value: Any, expected: int | None) -> None:
    """A pair of arrays is kept too; what tells nothing is not."""
    assert bytes_of(value) == expected


def test_an_error_of_the_package_keeps_its_class_and_names_the_shard() -> None:
    """Whoever catches it finds what was raised."""
    with pytest.raises(FileFormatError, match=r"^shard 1: too short"):
        shards_of([1, 1]).map(fail, FileFormatError, "too short", only=[1])


def test_an_error_that_names_the_shard_is_not_touched() -> None:
    """A reader has said which file it was."""
    with pytest.raises(FileFormatError, match=r"^shard 0 is too short$"):
        shards_of([1]).map(fail, FileFormatError, "shard 0 is too short")


@pytest.mark.parametrize(
    ("kind", "expected"), [(MemoryError, OutOfMemoryError), (KeyError, EngineError)]
)
def test_other_errors_become_the_packages_own(
    kind: type[Exception], expected: type[SubsetselError]
) -> None:
    """With the shard, what failed, and the original behind them."""
    with pytest.raises(expected, match=r"shard 0: .*what went wrong") as caught:
        shards_of([1]).map(fail, kind, "what went wrong")
    assert isinstance(caught.value.__cause__, kind)


@given(lengths=st.lists(st.integers(0, 5), min_size=1, max_size=6), data=st.data())
def test_examples_are_found_in_their_shards(lengths: list[int], data: st.DataObject) -> None:
    """Also beside empty shards: `find`, `split` and `locate` agree with one long array."""
    n = sum(lengths)
    shards = Shards(Serial(), [None] * len(lengths), lengths)
    own = [(k, row) for k, length in enumerate(lengths) for row in range(length)]
    wanted = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=8)) if n else [], int)
    for k, part in shards.find(wanted):
        assert [own[i][0] for i in wanted[part]] == [k] * len(part)
    assert sorted(p for _, part in shards.find(wanted) for p in part) == list(range(len(wanted)))
    assert [len(part) for (part,) in shards.split(np.arange(n))] == lengths
    assert [shards.locate(i) for i in range(n)] == [f"row {r} of shard {k}" for k, r in own]


@pytest.mark.parametrize("start", [1, 8])
def test_arrays_begin_where_all_engines_let_them_begin(start: int) -> None:
    """A view into others' memory is copied, wherever it lies among the arguments."""
    raw = np.zeros(64 + 16, dtype=np.uint8)
    begin = -raw.ctypes.data % 16 + start
    view = raw[begin : begin + 64].view(np.float64)
    (found,) = Serial().run(addresses, [(view, (view, [view]))])
    assert [address % 16 for address in found] == [0, 0, 0]
    own = np.zeros(8)
    assert aligned(own) is own


def test_what_is_sent_or_spilled_comes_back_where_engines_let_arrays_begin() -> None:
    """Whatever the address of the bytes that arrive; and it can be written to."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(Held((np.arange(9.0), "x")), protocol=5, buffer_callback=buffers.append)
    assert len(buffers) == 1
    raw = bytearray(1) + bytearray(buffers[0].raw())
    array, text = pickle.loads(data, buffers=[memoryview(raw)[1:].toreadonly()]).value
    assert (array.tolist(), text) == (list(range(9)), "x")
    assert array.ctypes.data % 16 == 0
    assert array.flags.writeable


def addresses(first: Any, others: Any) -> list[int]:
    """Where arrays begin."""
    return [one.ctypes.data for one in (first, others[0], others[1][0])]


def test_rounds_and_bytes_are_counted() -> None:
    """One round for each call of `map`; what was sent and what came back."""
    shards = shards_of([10, 20])
    shards.map(np.multiply, np.zeros(1))
    assert (shards.num_rounds, shards.bytes_sent) == (1, 2 * 8 + 30 * 8)


def test_no_engine_is_this_process() -> None:
    """And an engine that nobody knows is named, with those that there are."""
    assert isinstance(open_workers(), Serial)
    own = Serial()
    assert open_workers(own) is own
    for engine in ("localhost:8786", 4, "spark"):
        with pytest.raises(OptionError, match=f"got {engine!r}.*") as caught:
            open_workers(engine)
        assert "tcp://" in str(caught.value)


def test_errors_travel_between_processes() -> None:
    """As they must, from a worker to this process."""
    error = pickle.loads(pickle.dumps(EngineError("lost")))
    assert isinstance(error, EngineError)
    assert str(error) == "lost"


def test_this_process_loads_no_engine() -> None:
    """Who has no cluster does not wait for Dask."""
    import subprocess

    code = (
        "import subsetsel.shards.table, subsetsel.shards.collections, sys\n"
        "from subsetsel.shards.open import open_workers\n"
        "open_workers()\n"
        "print({'dask', 'distributed', 'ray', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
