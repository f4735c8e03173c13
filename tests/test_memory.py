"""The memory that choices count with, and the memory that is free."""

from __future__ import annotations

from pathlib import Path

import pytest

from subsetsel.errors import OptionError, OutOfMemoryError
from subsetsel.support import memory
from subsetsel.support.memory import VARIABLE, free_memory, planned_memory, require_memory


def test_the_plan_is_16_gib_or_what_the_variable_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The documented number, and a fraction of a GiB by hand."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert planned_memory() == 16 * 2**30
    monkeypatch.setenv(VARIABLE, "2.5")
    assert planned_memory() == 5 * 2**29


def test_the_plan_does_not_see_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same with a byte free as with a tebibyte."""
    monkeypatch.delenv(VARIABLE, raising=False)
    for num_bytes in (1, 2**40):
        monkeypatch.setattr(memory, "_system", lambda n=num_bytes: iter([n]))
        assert planned_memory() == 16 * 2**30


def test_what_is_planned_but_not_free_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte more than is free is too many, and as many as are free are not."""
    monkeypatch.setattr(memory, "_system", lambda: iter([1000]))
    require_memory("S", 1000, "Take less.")
    with pytest.raises(OutOfMemoryError, match=rf"S takes 1001 bytes.*{VARIABLE}.*Take less\.$"):
        require_memory("S", 1001, "Take less.")


def test_a_limit_of_one_s_own_refuses_nothing_that_it_planned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The variable chose the size; what Python and PyTorch take does not count against it."""
    monkeypatch.setattr(memory, "_system", lambda: iter([2**30]))
    monkeypatch.setenv(VARIABLE, "0.001")
    require_memory("S", 2**19, "")
    with pytest.raises(OutOfMemoryError, match="Take less"):
        require_memory("S", 2**31, "Take less.")


def test_a_system_that_does_not_say_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody knows what is free, it is tried."""
    for name in ("_system", "_container", "_allowed"):
        monkeypatch.setattr(memory, name, lambda: iter(()))
    require_memory("S", 2**50, "Take less.")
    monkeypatch.setattr(memory, "_system", lambda: iter([2**49]))
    with pytest.raises(OutOfMemoryError, match="Take less"):
        require_memory("S", 2**50, "Take less.")


def test_free_memory_is_a_sensible_number() -> None:
    """More than a page, less than a petabyte."""
    assert 4096 < free_memory() < 2**50


def test_a_limit_for_the_process_counts_what_it_has_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit of 100 MiB above what is resident, about 100 MiB are left."""
    used = memory._taken(1)
    monkeypatch.setenv(VARIABLE, str((used + 100 * 2**20) / 2**30))
    assert 0 <= free_memory() <= 101 * 2**20


@pytest.mark.parametrize("given", ["much", "-1", "nan", "inf"])
def test_a_limit_that_is_no_size_is_named(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the variable and the value."""
    monkeypatch.setenv(VARIABLE, given)
    with pytest.raises(OptionError, match=f"{VARIABLE}.*{given}"):
        free_memory()
    with pytest.raises(OptionError, match=f"{VARIABLE}.*{given}"):
        planned_memory()


def test_a_container_s_limit_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is used of it is gone, but pages of files would be given up."""
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 30000\nactive_file 7\n")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert free_memory() == 630_007


def test_a_container_without_a_limit_says_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``max`` is no number."""
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("400000\n")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert free_memory() > 2**20
