"""What the terminal shows: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from subsetsel.support.records import plain
from subsetsel.support.text import decimal_bytes

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars

    from subsetsel.problem.progress import Progress
    from subsetsel.shards.table import Shards


class ExitCode(IntEnum):
    """What the shell is told."""

    DONE = 0
    UNSATISFIED = 1
    BAD_INPUT = 2
    INTERRUPTED = 130


def print_json(record: Mapping[str, Any]) -> None:
    """Write one JSON object to stdout."""
    print_text(json.dumps(plain(record), indent=1, allow_nan=False))


def print_text(text: str) -> None:
    """Write a line to stdout, as it is."""
    sys.stdout.write(text + "\n")


def print_note(text: str) -> None:
    """Write a line to stderr, as it is."""
    sys.stderr.write(text + "\n")


def print_result(record: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Write a result to stdout, for machines or for people."""
    if as_json:
        print_json(record)
    else:
        print_text(text)


def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True)


@contextmanager
def working(text: str) -> Iterator[None]:
    """Show a text and a clock while something goes on; nothing where stderr is no terminal."""
    console = _stderr()
    if not console.is_terminal:
        yield
        return
    with _bars(console) as bars:
        bars.add_task(text, total=None, found="")
        yield


@contextmanager
def solve_progress(
    text: str, time_limit: float | None, shards: Shards | None = None
) -> Iterator[Callable[[Progress], None] | None]:
    """Show a search while it lasts: a callback for ``solve``, None where stderr is no terminal.

    Over shards the rounds and bytes are shown too.
    """
    console = _stderr()
    if not console.is_terminal:
        yield None
        return
    with _bars(console) as bars:
        task = bars.add_task(text, total=time_limit, found="Ctrl-C stops")
        yield lambda record: bars.update(
            task, completed=record.time, found=f"{_traffic(shards)}{_found(record)}"
        )


def _bars(console: Console) -> Bars:
    """Make a line with a clock, which goes away when it is done."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    words, found = TextColumn("{task.description}"), TextColumn("{task.fields[found]}")
    columns = (SpinnerColumn(), words, BarColumn(), TimeElapsedColumn(), found)
    return Progress(*columns, console=console, transient=True)


def _traffic(shards: Shards | None) -> str:
    if shards is None:
        return ""
    return f"{shards.num_rounds:,} rounds, {decimal_bytes(shards.bytes_sent)}; "


def _found(record: Progress) -> str:
    if record.size is None or record.norm is None:
        return "nothing yet; Ctrl-C stops"
    limit = "" if record.bound is None else f" (bound {record.bound:,.6g})"
    return f"pruned {record.size:,}, norm {record.norm:.4g}{limit}; Ctrl-C keeps this"
