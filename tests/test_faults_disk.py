"""A full disk, a folder that cannot be written to, and two runs in one folder."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kills import give_up_root, kill_me, killed_at_touch, needs_fork
from limits_of_the_system import largest_file, needs_limits
from test_faults_kill import FEATURES, LABELS, H, N, capture, record, save
from typer.testing import CliRunner

import subsetsel
from subsetsel.cli.app import app
from subsetsel.errors import FolderInUseError
from subsetsel.experiments.runs import RunLog
from subsetsel.problem.solution import Solution
from subsetsel.support.files import locked, reserve

runner = CliRunner()


def names_in(folder: Path) -> list[str]:
    """All files, hidden ones too."""
    return sorted(path.name for path in folder.iterdir())


# --- a full disk --------------------------------------------------------------------------------


@needs_limits
def test_a_full_disk_leaves_the_old_subset_and_no_litter(tmp_path: Path) -> None:
    """Subset and manifest stay those of the run before; the error names a file.

    Mutations: `written_whole` without its ``finally``, or without naming the file: each fails.
    """
    out = tmp_path / "pruned.npz"
    save(out, 2)
    before = names_in(tmp_path)
    with largest_file(100), pytest.raises(OSError, match="pruned") as caught:
        save(out, 5)
    assert caught.value.errno == errno.EFBIG
    assert Solution.load(out).size == 2
    assert names_in(tmp_path) == before


@needs_limits
def test_a_full_disk_is_one_line_of_the_command_line(tmp_path: Path) -> None:
    """`subsetsel solve --out` ends with exit code 2, the reason and the file.

    Mutation: `_Group.invoke` without its clause for OSError: fails.
    """
    np.save(tmp_path / "S.npy", np.eye(4))
    out = tmp_path / "pruned.npz"
    # Kernels that are compiled with no room to be kept take a while in every test run.
    subsetsel.solve(np.eye(4), size=2, solver="greedy")
    arguments = ["solve", str(tmp_path / "S.npy"), "--size", "2", "--solver", "greedy"]
    with largest_file(100):
        result = runner.invoke(app, [*arguments, "--out", str(out)])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "File too large" in result.stderr
    assert "pruned" in result.stderr
    assert names_in(tmp_path) == ["S.npy"]


@needs_limits
def test_features_that_do_not_fit_on_the_disk_are_refused_at_once(tmp_path: Path) -> None:
    """Before the model has run, with the size that is needed, and without a half file.

    Mutation: `_reserve_array` without its clause for OSError: fails.
    """
    with largest_file(100), pytest.raises(OSError, match=r"shape \(6, 3\) take 72 bytes"):
        capture(tmp_path)
    assert names_in(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs the blocks of a POSIX file system")
def test_the_space_for_features_is_taken_before_it_is_mapped(tmp_path: Path) -> None:
    """A map over a hole would end the process (SIGBUS) where the disk is full.

    Mutation: `reserve` only makes the file as long as it will be (truncate): fails.
    """
    path = tmp_path / "array"
    with path.open("w+b") as stream:
        reserve(stream, 3 << 20)
    assert path.stat().st_blocks * 512 >= 3 << 20
    assert path.stat().st_size == 3 << 20


def test_space_is_taken_where_the_system_has_no_call_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zeros are written instead.

    Mutation: the loop in `reserve` left out: fails.
    """
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    path = tmp_path / "array"
    with path.open("w+b") as stream:
        reserve(stream, (2 << 20) + 7)
    assert path.stat().st_size == (2 << 20) + 7


@needs_limits
def test_a_comparison_goes_on_once_there_is_room_again(tmp_path: Path) -> None:
    """The training that could not be written down is done again, the others are not.

    Mutation: `_read` without its suppression of torn lines: fails.
    """
    log = RunLog(tmp_path, {"data": "toy"})
    log.add(record(0))
    size = (tmp_path / "runs.jsonl").stat().st_size
    with largest_file(size + 20), pytest.raises(OSError, match="File too large"):
        log.add(record(1))
    assert (tmp_path / "runs.jsonl").stat().st_size == size + 20
    again = RunLog(tmp_path, {"data": "toy"})
    assert [r["key"] for r in again.records] == ["lenet/random/0"]
    again.add(record(1))
    assert len(RunLog(tmp_path, {"data": "toy"}).records) == 2


# --- a folder that cannot be written to ---------------------------------------------------------


def run_without_root(arguments: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run Python where permissions hold, for root too."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=give_up_root,
        **options,
    )


@needs_limits
def test_a_read_only_folder_is_refused_before_the_work(tmp_path: Path) -> None:
    """It is asked for before S, which is not there, is missed.

    Mutation: `check_out` without its trial: fails.
    """
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    solve = ["solve", "missing.npy", "--size", "2", "--out", str(locked / "p.npz")]
    done = run_without_root(["-m", "subsetsel", *solve])
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Permission denied" in done.stderr
    assert str(locked) in done.stderr


_KERNEL = """
from subsetsel.support.jit import njit

@njit(nogil=True)
def double(x):
    return 2 * x
"""


@needs_limits
@pytest.mark.parametrize("fault", ["read-only", "full"])
def test_kernels_compile_without_a_place_to_be_kept(fault: str, tmp_path: Path) -> None:
    """In a container whose home and packages are read-only, and where the quota is used up.

    Mutations: `njit` without its clause for RuntimeError; without `_forgive_a_full_disk`: each
    fails.
    """
    home, package = tmp_path / "home", tmp_path / "package"
    home.mkdir()
    package.mkdir()
    (package / "kernel.py").write_text(_KERNEL)
    if fault == "read-only":
        for folder in (home, package):
            folder.chmod(0o500)
    # XDG_CACHE_HOME, NUMBA_CACHE_DIR and what else the machine sets would be a place.
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    code = (
        "import resource, sys\n"
        f"sys.path.insert(0, {str(package)!r})\n"
        "import kernel\n"
        f"if {fault == 'full'}: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "assert kernel.double(21) == 42"
    )
    done = run_without_root(["-c", code], env=environment)
    assert done.returncode == 0, done.stderr
    assert list(home.rglob("*.nbi")) == []


# --- two runs in one folder ---------------------------------------------------------------------


def test_two_runs_cannot_hold_one_folder(tmp_path: Path) -> None:
    """The second is told who holds it; once the first is done it is free.

    Mutation: `locked` without its call of `lock.acquire`: fails.
    """
    with (
        locked(tmp_path),
        pytest.raises(FolderInUseError, match=f"process {os.getpid()}"),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path):
        pass


@needs_fork
def test_a_killed_run_holds_nothing(tmp_path: Path) -> None:
    """The lock is the system's, not a file that somebody has to delete.

    Mutation: the lock is that a file of the folder exists: fails.
    """

    def die_inside() -> None:
        with locked(tmp_path):
            kill_me()

    assert killed_at_touch(die_inside, tmp_path, 1000)
    with locked(tmp_path):
        assert (tmp_path / ".lock").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs flock")
@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_used_without(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems refuse every lock: a run there goes on, and so does the next."""

    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    for _ in range(2):
        with locked(tmp_path):
            (tmp_path / "work").write_text("done")


def test_two_comparisons_cannot_share_a_folder(tmp_path: Path) -> None:
    """A second one would do the same trainings and tear the first one's lines.

    Mutation: `RunLog.fill` without `locked`: fails.
    """

    def make(number: int) -> dict[str, Any]:
        RunLog(tmp_path, {}).fill([number], record, lambda _: None, {"command": "the second"})
        return record(number)

    with pytest.raises(FolderInUseError):
        RunLog(tmp_path, {}).fill([0], make, lambda _: None, {"command": "the first"})
    # What did not begin is not told.
    assert "second" not in (tmp_path / "env.json").read_text()


def test_two_captures_cannot_share_a_cache(tmp_path: Path) -> None:
    """The second would write over what the first has written.

    Mutation: `features_from_model` without `locked`: fails.
    """
    import torch
    from torch.utils.data import TensorDataset

    from subsetsel.influence.features.extract import features_from_model

    model = torch.nn.Sequential(torch.nn.Linear(H, 2))
    data = TensorDataset(torch.as_tensor(FEATURES), torch.as_tensor(LABELS))

    def again(done: int, _: int) -> None:
        assert done <= N
        features_from_model(model, data, cache_dir=tmp_path, progress=False)

    with pytest.raises(FolderInUseError):
        features_from_model(model, data, cache_dir=tmp_path, progress=again)


def test_two_saves_of_one_name_do_not_mix(tmp_path: Path) -> None:
    """Each writes to a part of its own: the last one to finish is what is there.

    Mutation: both write to ``pruned.npz.part``: fails.
    """
    from subsetsel.support.files import written_whole

    path = tmp_path / "pruned.npz"
    with written_whole(path) as one, written_whole(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"
