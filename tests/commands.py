"""Commands of the command line, run in the process of the tests, and the data they are given."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from subsetsel import Progress
from subsetsel.cli.app import app

# The usual work of the annealer would show no more of a command.
QUICK = ("--option", "num_proposals=500")


def call(*arguments: Any, expect: int = 0, stdin: bytes | None = None) -> Any:
    """Run a command in this process and expect an exit code; its result has stdout and stderr."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    assert result.exit_code == expect, result.output
    return result


def refused(*arguments: Any, stdin: bytes | None = None) -> str:
    """What bad input is told: exit code 2, text on stderr, nothing on stdout, no traceback."""
    result = call(*arguments, expect=2, stdin=stdin)
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    return str(result.stderr)


def prune(data: Path, *arguments: Any, expect: int = 0) -> Any:
    """`subsetsel prune` with the settings these tests share."""
    return call("prune", data, "--l2", 1e-2, *QUICK, *arguments, expect=expect)


def blobs(seed: int, count: int) -> tuple[Any, Any]:
    """Three overlapping classes in four dimensions."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 3
    return rng.normal(size=(count, 4)) + 1.5 * np.eye(3, 4)[y], y


def write_blobs(path: Path, seed: int, count: int, order: Any = slice(None)) -> Path:
    """Write labelled data with ids."""
    X, y = blobs(seed, count)
    ids = np.array([f"image-{i}" for i in range(count)])
    np.savez(path, X=X[order], y=y[order], ids=ids[order])
    return path


@contextmanager
def interrupt_at_first_subset(*_: Any) -> Iterator[Any]:
    """Press Ctrl-C once there is something to save; in place of `solve_progress`."""

    def press(record: Progress) -> None:
        if record.size is not None:
            signal.raise_signal(signal.SIGINT)

    yield press
