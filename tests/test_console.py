"""What a terminal shows while a command works."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from commands import prune
from rich.console import Console

from subsetsel import Progress
from subsetsel.cli import console
from subsetsel.cli.console import solve_progress, working


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal that remembers what was shown."""
    shown = io.StringIO()
    screen = Console(file=shown, force_terminal=True, width=120)
    monkeypatch.setattr(console, "_stderr", lambda: screen)
    return shown


def wait_for(shown: io.StringIO, text: str) -> None:
    """Wait until the terminal shows a text; it is drawn ten times a second."""
    until = time.monotonic() + 10
    while text not in shown.getvalue():
        assert time.monotonic() < until, shown.getvalue()
        time.sleep(0.02)


def test_a_terminal_shows_what_is_done_and_a_clock_that_goes_on(terminal: io.StringIO) -> None:
    """While the head is trained nothing reports; the seconds pass all the same."""
    with working("training the head"):
        wait_for(terminal, "training the head")
        wait_for(terminal, "0:00:01")
    assert terminal.getvalue().index("0:00:00") < terminal.getvalue().index("0:00:01")


def test_a_terminal_shows_a_search_before_it_has_found_anything(terminal: io.StringIO) -> None:
    """Then what it has found."""
    with solve_progress("pruning 120 examples", None) as progress:
        wait_for(terminal, "Ctrl-C stops")
        assert progress is not None
        progress(Progress(0.1, 5, 30, 0.25, None))
        wait_for(terminal, "pruned 30, norm 0.25")


def test_each_stage_of_a_pruning_is_shown_from_the_first_second_on(
    terminal: io.StringIO, data: Path
) -> None:
    """Reading, loading, the head, the search, the refit: no stage is silent."""
    prune(data, "--size", 30)
    shown = terminal.getvalue()
    stages = ("reading", "loading", "training the head", "pruning 120 examples", "refitting")
    places = [shown.index(stage) for stage in stages]
    assert places == sorted(places)


def test_a_script_is_told_nothing_while_it_waits(data: Path) -> None:
    """Where stderr is no terminal it has errors and notes alone."""
    assert prune(data, "--size", 30).stderr == ""
