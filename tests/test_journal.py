"""The journal of a search over shards: what it keeps, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from subsetsel.engine.journal import Journal, key_of, opened_journal
from subsetsel.engine.options import Limits
from subsetsel.errors import FileFormatError, FolderInUseError, OptionError, ProblemError
from subsetsel.problem.problem import Problem

S = np.random.default_rng(0).normal(size=(30, 3))


def ask(folder: Path, question: dict[str, Any], **limits: Any) -> Any:
    """Open the journal of a question."""
    return opened_journal(folder, Problem(S, **question), Limits(**limits), "anneal", ())


def test_arrays_come_back_from_another_process(tmp_path: Path) -> None:
    """What was put under a key is found by the next journal of the same question."""
    kept: dict[str, Any] = {"u": np.arange(3.0), "mask": np.array([True, False]), "round": 4}
    with ask(tmp_path, {"epsilon": 1.0}) as journal:
        assert journal.get("round-1") is None
        journal.put("round-1", kept)
    with ask(tmp_path, {"epsilon": 1.0}, time_limit=5.0) as journal:
        found = journal.get("round-1")
    assert found is not None
    assert all(np.array_equal(found[name], kept[name]) for name in kept)


@pytest.mark.parametrize(
    ("question", "limits"),
    [
        ({"epsilon": 2.0}, {}),
        ({"size": 3}, {}),
        ({"epsilon": 1.0, "must_keep": [0]}, {}),
        ({"epsilon": 1.0, "offset": [0.0, 0.0, 1.0]}, {}),
        ({"epsilon": 1.0}, {"seed": 1}),
    ],
)
def test_another_question_is_refused_by_name(
    tmp_path: Path, question: dict[str, Any], limits: dict[str, Any]
) -> None:
    """The folder of one question is not taken for another, and the message names it."""
    with ask(tmp_path, {"epsilon": 1.0}):
        pass
    with pytest.raises(ProblemError, match="another question"), ask(tmp_path, question, **limits):
        pass


@pytest.mark.parametrize("factor", [2.0, -1.0])
def test_other_data_are_refused(tmp_path: Path, factor: float) -> None:
    """A changed row is another question, also where it is as long as before."""
    with ask(tmp_path, {"epsilon": 1.0}):
        pass
    changed = Problem(np.where(np.arange(30)[:, None] == 7, factor * S, S), epsilon=1.0)
    with (
        pytest.raises(ProblemError, match="other data"),
        opened_journal(tmp_path, changed, Limits(), "anneal", ()),
    ):
        pass


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """The file of a checkpoint of prune is not taken for a folder, and stays as it is.

    Mutation: the folder is made beside it: fails.
    """
    place = tmp_path / "checkpoint.npz"
    place.write_bytes(b"something")
    with pytest.raises(OptionError, match="is a file"), ask(place, {"epsilon": 1.0}):
        pass
    assert place.read_bytes() == b"something"


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    """While one run holds the folder another is refused."""
    with (
        ask(tmp_path, {"epsilon": 1.0}),
        pytest.raises(FolderInUseError, match="in use"),
        ask(tmp_path, {"epsilon": 1.0}),
    ):
        pass


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """A file that is no archive is an error with its name."""
    with ask(tmp_path, {"epsilon": 1.0}) as journal:
        (tmp_path / "round-1.npz").write_bytes(b"nothing")
        with pytest.raises(FileFormatError, match="round-1"):
            journal.get("round-1")


def test_a_full_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be written the search goes on, and says that it is no longer saved."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", "journal")

    journal = Journal(tmp_path)
    monkeypatch.setattr(np, "savez", refuse)
    with pytest.warns(RuntimeWarning, match="no longer saved"):
        journal.put("round-1", {"u": S})
    journal.put("round-2", {"u": S})
    assert journal.get("round-1") is None


def test_keys_differ_where_the_step_depends_on_something_else() -> None:
    """Equal arguments give equal keys, others do not."""
    assert key_of("level", 3, S) == key_of("level", 3, S.copy())
    assert key_of("level", 3, S) != key_of("level", 4, S)
    assert key_of("level") == "level"
