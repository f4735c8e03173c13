"""Two versions of the package side by side: snapshots in folders of their own, and their workers.

A version is a git revision or a folder with a checkout. Its package is copied to a folder that is
named after its code, so an edit during a run changes nothing and compiled kernels stay valid.
"""

from __future__ import annotations

import io
import os
import pickle
import select
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recording import code_digest

_ROOT = Path(__file__).resolve().parents[1]
_PACKAGE = ("subsetsel", "solvers")


@dataclass(frozen=True)
class Version:
    """One version of the package, ready to be imported.

    Attributes
    ----------
    name : {"old", "new"}
    origin : str
        Revision or "folder", as a reader of the results can use it.
    folder : path
        To be put on PYTHONPATH.
    code : str
        Digest of its source files.
    """

    name: str
    origin: str
    folder: Path
    code: str


def snapshot(name: str, given: str) -> Version:
    """Copy a version of the package to a folder of its own, as it looks once installed.

    Raises
    ------
    ValueError
        If it is neither a folder with the package nor a revision of this repository.
    """
    store = Path(tempfile.gettempdir()) / "subsetsel-bench" / "versions"
    store.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store) as scratch:
        source = Path(given).resolve() if Path(given).is_dir() else Path(scratch) / "checkout"
        origin = "folder" if Path(given).is_dir() else _export(given, source)
        if not all((source / part).is_dir() for part in _PACKAGE):
            raise ValueError(f"{given!r} holds no folders subsetsel and solvers.")
        built = Path(scratch) / "built"
        unused = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source / "subsetsel", built / "subsetsel", ignore=unused)
        shutil.copytree(source / "solvers", built / "subsetsel" / "solvers", ignore=unused)
        code = code_digest(built.rglob("*.py"))
        folder = store / code
        if not folder.exists():
            built.rename(folder)
    return Version(name, origin, folder, code)


def _export(revision: str, folder: Path) -> str:
    """Unpack a revision, and give its full name."""
    git = ["git", "-C", str(_ROOT)]
    found = subprocess.run(
        [*git, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        raise ValueError(f"{revision!r} is neither a folder nor a revision of this repository.")
    commit = found.stdout.strip()
    packed = subprocess.run(
        [*git, "archive", commit, *_PACKAGE], capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return commit


class WorkerLostError(RuntimeError):
    """The process of a worker ended, or did not answer by far."""


class Worker:
    """A process that has one version loaded and compiled, and takes one run after another.

    Parameters
    ----------
    version : Version
    clock : {"wall", "processor"}
        What its time limits count.
    """

    def __init__(self, version: Version, clock: str) -> None:
        self.version = version
        self.clock = clock
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, job: dict[str, Any], patience: float) -> Any:
        """Send a job and wait for the answer, so many seconds at most.

        Raises
        ------
        WorkerLostError
            If none comes. The next job starts a new process.
        """
        try:
            return self._exchange(self._process or self._start(), job, patience)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            self.stop()
            raise WorkerLostError(f"the process was lost: {type(error).__name__}") from error
        except BaseException:
            # An answer that comes later must not be taken for that of the next job.
            self.stop()
            raise

    def _exchange(
        self, process: subprocess.Popen[bytes], job: dict[str, Any], patience: float
    ) -> Any:
        assert process.stdin is not None
        assert process.stdout is not None
        pickle.dump(job, process.stdin)
        process.stdin.flush()
        if not select.select([process.stdout], [], [], patience)[0]:
            raise WorkerLostError(f"no answer within {patience:.0f} s")
        return pickle.load(process.stdout)

    def _start(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("version_worker.py")), self.clock],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(self.version.folder)},
            # Ctrl-C is for the comparison, which then ends its workers.
            start_new_session=True,
        )
        return self._process

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.communicate()
