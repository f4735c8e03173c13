"""Files that are either whole or not there, and folders that one run at a time may write to."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from subsetsel.errors import FolderInUseError

_ZEROS = bytes(1 << 20)


@contextmanager
def written_whole(path: str | PathLike[str]) -> Iterator[Path]:
    """Give a temporary file to write to; it takes the name ``path`` once the block succeeds.

    It lies in the same folder, which is made if need be, and has the same suffix. A file of that
    name stays as it was until the new one is complete and on the disk. An OSError of the block
    always names a file.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        dir=target.parent, prefix=f".{target.stem}-", suffix=target.suffix
    )
    os.close(handle)
    part = Path(name)
    try:
        yield part
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        # mkstemp makes files private; an output gets the permissions of any new file.
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)
        part.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        if error.filename is None and error.errno is not None:
            # A full disk does not say which file it was.
            raise OSError(error.errno, os.strerror(error.errno), str(target)) from error
        raise
    finally:
        part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Write the new name to the disk too, where the system lets a folder be opened for that."""
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def reserve(stream: IO[bytes], num_bytes: int) -> None:
    """Take the space of a file before it is written to through a memory map.

    A write through a map over a hole of the file ends the process (SIGBUS) if the disk is full.
    Here a full disk is an OSError. The stream must be open for writing, and empty.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(stream.fileno(), 0, num_bytes)
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:
                raise
        else:
            return
    for start in range(0, num_bytes, len(_ZEROS)):
        stream.write(_ZEROS[: num_bytes - start])
    stream.flush()


@contextmanager
def locked(folder: Path, name: str = "") -> Iterator[None]:
    """Keep other runs out of a folder while the block lasts; the folder is made if need be.

    With a name they are kept out of what bears it, and not of the rest of the folder. Two small
    files stay in it: ``.lock``, and ``.owner`` with the number of the process that locked it last.
    The system releases the lock when the process ends, however it ends.

    Raises
    ------
    FolderInUseError
        If another run holds the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, owner = folder / f"{name}.lock", folder / f"{name}.owner"
    # Where the folder cannot be written to, the error is raised here.
    path.touch()
    lock = FileLock(path, blocking=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        process = owner.read_text() if owner.exists() else "unknown"
        raise FolderInUseError(
            f"{folder / name.removeprefix('.')} is in use by another run (process {process}); wait "
            f"for it, or give another {'file' if name else 'folder'}."
        ) from error
    except OSError:
        # Some network file systems have no locks: runs in their folders are not kept apart.
        pass
    try:
        owner.write_text(str(os.getpid()))
        yield
    finally:
        lock.release()
