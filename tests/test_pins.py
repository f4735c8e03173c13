"""What may be installed: constraints.txt and the lock with its hashes agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements.lock"

pytestmark = pytest.mark.skipif(not LOCK.exists(), reason="the lock is only in a checkout")


def pins(path: Path) -> dict[str, str]:
    """Normalized name -> version of every pin."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\\s]+)", path.read_text(), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def test_the_lock_names_the_versions_that_were_tested() -> None:
    """Every pin of constraints.txt is in the lock, at the same version."""
    locked = pins(LOCK)
    assert {name: locked.get(name) for name in pins(ROOT / "constraints.txt")} == pins(
        ROOT / "constraints.txt"
    )


def test_every_file_of_the_lock_has_a_hash() -> None:
    """So `pip install --require-hashes` takes it; and it names no place to download from."""
    blocks = re.split(r"\n(?=[A-Za-z])", LOCK.read_text())
    assert len(blocks) > 50
    assert [block.split("==")[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert "://" not in LOCK.read_text()
