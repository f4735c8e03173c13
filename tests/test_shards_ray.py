"""Ray behind the same two calls, where it is installed: experimental."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from subsetsel.errors import FileFormatError
from subsetsel.shards.open import open_workers
from subsetsel.shards.table import Shards
from subsetsel.shards.workers import Serial, Workers

ray = pytest.importorskip("ray")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """Two workers that can import this file."""
    paths = f"{Path(__file__).parent}:{Path(__file__).parents[1]}"
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": paths}},
    )
    yield open_workers("ray")
    ray.shutdown()


def make(k: int) -> Any:
    """Rows of a shard."""
    return np.random.default_rng(k).standard_normal((200, 30), dtype=np.float32)


def fail(_rows: Any) -> None:
    """Fail."""
    raise FileFormatError("too short")


def shards_on(workers: Workers) -> Shards:
    """Four shards."""
    return Shards(workers, workers.hold(make, [(k,) for k in range(4)]), [200] * 4)


def test_ray_gives_the_same_bits(workers: Workers) -> None:
    """As this process, in arrays that can be written to."""
    direction = np.ones(30, dtype=np.float32)
    found = shards_on(workers).map(np.matmul, direction)
    expected = shards_on(Serial()).map(np.matmul, direction)
    assert [part.tobytes() for part in found] == [part.tobytes() for part in expected]
    assert all(part.flags.writeable for part in found)


def test_the_error_of_a_task_is_the_packages_own(workers: Workers) -> None:
    """With the shard's name."""
    with pytest.raises(FileFormatError, match="shard 2: too short"):
        shards_on(workers).map(fail, only=[2])
