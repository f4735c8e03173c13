"""How many threads compute: quotas, affinity, the user's number, and blocks in their order."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from subsetsel.support import threads
from subsetsel.support.threads import by_blocks, cpu_quota, map_blocks, one_blas_thread

MANY = 1e12


@pytest.fixture(autouse=True)
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the user ask for two threads, on a machine of four cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(threads, "allowed_cores", lambda: 4)
    yield
    torch.set_num_threads(before)


def write(root: Path, files: dict[str, str]) -> Path:
    """Write small files under a root."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/cpu"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({}, math.inf, id="no control groups"),
        pytest.param({"proc/self/cgroup": "0::/\n"}, math.inf, id="v2 without a limit"),
        pytest.param(
            {"proc/self/cgroup": "0::/a\n", f"{V2}/a/cpu.max": "max 100000\n"},
            math.inf,
            id="v2 max",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/a\n", f"{V2}/a/cpu.max": "250000 100000\n"}, 2.5, id="v2"
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/a/b\n",
                f"{V2}/a/b/cpu.max": "max 100000\n",
                f"{V2}/a/cpu.max": "50000 100000\n",
            },
            0.5,
            id="v2, of the group around",
        ),
        pytest.param(
            {"proc/self/cgroup": "0::/not/here\n", f"{V2}/cpu.max": "300000 100000\n"},
            3.0,
            id="v2, path of the host",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "5:memory:/a\n3:cpu,cpuacct:/a\n",
                f"{V1}/a/cpu.cfs_quota_us": "150000\n",
                f"{V1}/a/cpu.cfs_period_us": "50000\n",
            },
            3.0,
            id="v1",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/\n",
                f"{V2}/cpu,cpuacct/cpu.cfs_quota_us": "100000\n",
                f"{V2}/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            1.0,
            id="v1, mounted under both names",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "3:cpu:/\n",
                f"{V1}/cpu.cfs_quota_us": "-1\n",
                f"{V1}/cpu.cfs_period_us": "100000\n",
            },
            math.inf,
            id="v1 without a limit",
        ),
    ],
)
def test_quotas_are_read_from_the_control_groups(
    tmp_path: Path, files: dict[str, str], expected: float
) -> None:
    """Of both versions, the least limit of the groups around the process."""
    assert cpu_quota(write(tmp_path, files)) == expected


@pytest.mark.parametrize(
    ("affinity", "quota", "expected"), [(8, 2.5, 2), (8, 0.5, 1), (3, math.inf, 3), (1, 4.0, 1)]
)
def test_allowed_cores_are_those_of_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, affinity: int, quota: float, expected: int
) -> None:
    """The lesser of both, whole cores, one at least."""
    monkeypatch.undo()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
    monkeypatch.setattr(threads, "_own_quota", lambda: quota)
    assert threads.allowed_cores() == expected


def test_torch_has_one_thread_inside_and_the_users_number_afterwards() -> None:
    """`map_blocks` may use what the user had set."""
    with by_blocks() as count:
        assert (count, torch.get_num_threads()) == (2, 1)
    assert torch.get_num_threads() == 2


def test_the_users_number_comes_back_after_an_error() -> None:
    """Whatever happens inside."""
    with pytest.raises(ZeroDivisionError), by_blocks():
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2


def test_a_context_within_another_changes_nothing() -> None:
    """The inner one neither raises the number nor ends the outer one."""
    with by_blocks() as outer:
        with by_blocks() as inner:
            assert inner == outer
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_contexts_of_two_threads_may_overlap() -> None:
    """The second to enter knows the user's number, and it is set when both are gone."""
    entered, may_leave = threading.Event(), threading.Event()
    seen: list[int] = []

    def other() -> None:
        with by_blocks() as count:
            seen.append(count)
            entered.set()
            may_leave.wait()

    thread = threading.Thread(target=other)
    with by_blocks():
        thread.start()
        entered.wait()
    may_leave.set()
    thread.join()
    assert (seen, torch.get_num_threads()) == ([2], 2)


@pytest.mark.parametrize(("given", "cores", "expected"), [(1, 4, 1), (2, 1, 1), (2, 4, 2)])
def test_never_more_threads_than_the_user_or_the_quota_allows(
    monkeypatch: pytest.MonkeyPatch, given: int, cores: int, expected: int
) -> None:
    """The lesser of `torch.set_num_threads` and the cores that are allowed."""
    torch.set_num_threads(given)
    monkeypatch.setattr(threads, "allowed_cores", lambda: cores)
    with by_blocks() as count:
        assert count == expected
    meeting = threading.Barrier(expected)
    used = set(map_blocks(lambda _: meet(meeting), range(2 * expected), flops=MANY))
    assert len(used) == expected
    assert torch.get_num_threads() == given


def meet(meeting: threading.Barrier) -> int:
    """Wait until all threads are here; say which this is."""
    meeting.wait(timeout=30)
    return threading.get_ident()


@pytest.mark.parametrize(("flops", "is_cpu"), [(1.9e9, True), (MANY, False)])
def test_small_work_and_that_of_a_gpu_stays_in_one_thread(flops: float, is_cpu: bool) -> None:
    """No thread is started where none would pay."""
    own = threading.get_ident()
    idents = list(map_blocks(lambda _: threading.get_ident(), range(4), flops=flops, is_cpu=is_cpu))
    assert idents == [own] * 4


@pytest.mark.parametrize("flops", [0.0, MANY])
def test_results_come_in_the_order_of_the_blocks(flops: float) -> None:
    """However many threads there are, and with torch at one thread in each."""
    found = list(map_blocks(lambda k: (k, torch.get_num_threads()), range(40), flops=flops))
    assert found == [(k, 1) for k in range(40)]
    assert torch.get_num_threads() == 2


def test_a_block_is_not_shared_out_again() -> None:
    """Work within a worker is its own."""
    with by_blocks():
        inside = list(map_blocks(lambda _: own_threads(), range(4), flops=MANY))
    assert inside == [1] * 4


def own_threads() -> int:
    """Say how many threads large work may use here."""
    with by_blocks() as count:
        return count


def test_threads_to_come_have_the_users_number() -> None:
    """What torch gives a new thread is not what the last worker set for itself."""
    list(map_blocks(lambda k: k, range(4), flops=MANY))
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [2]


@pytest.mark.parametrize("flops", [0.0, MANY])
def test_an_error_in_a_block_ends_the_work(flops: float) -> None:
    """Blocks that have not begun are left out, and the user's number is set again."""
    begun: list[int] = []

    def fail(k: int) -> None:
        begun.append(k)
        if k == 3:
            raise KeyError(k)

    with pytest.raises(KeyError):
        list(map_blocks(fail, range(1000), flops=flops))
    assert len(begun) < 100
    assert torch.get_num_threads() == 2


def test_a_walk_that_is_left_early_ends_its_threads() -> None:
    """Closing the iterator is enough."""
    before = threading.active_count()
    walk: Any = map_blocks(lambda k: k, range(1000), flops=MANY)
    next(walk)
    walk.close()
    assert (threading.active_count(), torch.get_num_threads()) == (before, 2)


def blas_threads() -> set[int]:
    """Numbers of threads of the BLAS libraries that NumPy and SciPy have loaded."""
    return {found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"}


def test_numpy_multiplies_with_one_thread_inside_and_the_users_number_afterwards() -> None:
    """One context may lie in another."""
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        with one_blas_thread():
            with one_blas_thread():
                assert blas_threads() == {1}
            assert blas_threads() == {1}
        assert blas_threads() == before


def test_numpy_has_one_thread_whichever_thread_asks() -> None:
    """Also where another thread, which still runs, has set the number before."""
    found: list[set[int]] = []

    def ask() -> None:
        with one_blas_thread():
            found.append(blas_threads())

    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        assert found == [{1}]
        assert blas_threads() == before


def test_numpy_has_the_users_number_after_an_error() -> None:
    """Whatever happens inside."""
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        with pytest.raises(ZeroDivisionError), one_blas_thread():
            raise ZeroDivisionError
        assert blas_threads() == before
