"""The memory that everything which chooses by memory believes it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from subsetsel.errors import OptionError
from subsetsel.support import memory
from subsetsel.support.memory import VARIABLE, free_memory


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
