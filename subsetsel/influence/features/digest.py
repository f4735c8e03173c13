"""What an example holds, as a hash: to see whether it is the same when it is read again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def digest_of(value: Any) -> bytes:
    """SHA-256 of tensors, arrays, numbers, texts and pictures, wherever they are nested."""
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.digest()


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, Mapping):
        for key in value:
            digest.update(str(key).encode())
            _feed(digest, value[key])
    elif isinstance(value, tuple | list):
        for item in value:
            _feed(digest, item)
    elif isinstance(value, torch.Tensor):
        # Every dtype can be read as bytes, also bfloat16, which NumPy does not know.
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    elif isinstance(value, np.ndarray | np.generic):
        digest.update(f"{value.dtype}{value.shape}".encode() + np.asarray(value).tobytes())
    elif isinstance(value, str | bytes | int | float | bool) or value is None:
        digest.update(repr(value).encode())
    elif hasattr(value, "tobytes"):
        digest.update(value.tobytes())
    else:
        _feed(digest, vars(value) if hasattr(value, "__dict__") else type(value).__name__)
