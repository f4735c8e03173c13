"""Records as JSON, and the fingerprints of inputs."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from subsetsel.support.files import written_whole
from subsetsel.support.parts import parts_of

_CHUNK = 1 << 20


def write_json(path: str | PathLike[str], record: Mapping[str, Any]) -> None:
    """Write a record that `plain` understands as indented JSON, whole or not at all."""
    with written_whole(path) as part:
        part.write_text(json.dumps(plain(record), indent=1, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Reduce dataclasses, mappings, sequences, NumPy arrays and scalars, and paths to plain JSON.

    Numbers that are not finite become None, since JSON cannot write them.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


def sha256_of_file(path: str | PathLike[str]) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits.

    Of a folder or a glob it is that of the lines "digest  name" of the files that it stands for, as
    sha256sum writes them.
    """
    parts = parts_of(Path(path))
    digests = []
    for part in parts:
        with part.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    if parts == [Path(path)]:
        return digests[0]
    lines = [f"{digest}  {part.name}\n" for digest, part in zip(digests, parts, strict=True)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def sha256_of_array(array: np.ndarray[Any, Any]) -> str:
    """SHA-256 of an array's type, shape and values in C order, 64 hexadecimal digits.

    It is the same for every memory layout.
    """
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    flat = np.ascontiguousarray(array).reshape(-1)
    step = max(1, _CHUNK // max(1, array.itemsize))
    for start in range(0, flat.size, step):
        digest.update(flat[start : start + step].tobytes())
    return digest.hexdigest()
