"""What the command line tells of itself: solvers, info, version, help, completion."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import call
from typer.testing import CliRunner

from subsetsel.cli.app import app
from subsetsel.support.memory import VARIABLE


def test_solvers_lists_what_is_registered() -> None:
    """By name, with what each proves."""
    rows = json.loads(call("solvers", "--json").stdout)["solvers"]
    names = [row["name"] for row in rows]
    assert "anneal" in names
    text = call("solvers").stdout
    assert all(name in text for name in names)


def test_info_prints_what_a_bug_report_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions, where the package lies, memory, disk, threads, where kernels are kept, solvers."""
    monkeypatch.delenv(VARIABLE, raising=False)
    record = json.loads(call("info", "--json").stdout)
    assert record["versions"]["numpy"] == np.__version__
    assert record["versions"]["highspy"]
    assert Path(record["location"]).name == "subsetsel"
    assert record["torch"]["threads"] >= 1
    assert set(record["kernels"]) == {"compiled", "kept in"}
    assert "anneal" in record["solvers"]
    assert "planned_memory" not in record
    text = call("info").stdout
    for line in (
        "planned memory: 16.0 GiB",
        "free memory: ",
        "free disk here: ",
        "  numpy ",
        "  anneal ",
        "  kept in ",
    ):
        assert line in text


def test_the_shell_completes_commands_options_and_solvers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As bash asks for it."""

    def offered(words: str) -> list[str]:
        monkeypatch.setenv("_SUBSETSEL_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
        result: str = CliRunner().invoke(app, [], prog_name="subsetsel").stdout
        return result.split()

    assert offered("subsetsel pr") == ["prune"]
    assert offered("subsetsel prune --rel") == ["--rel-epsilon"]
    assert offered("subsetsel prune --solver gr") == ["greedy"]


def test_version() -> None:
    """`--version` prints it and stops."""
    import subsetsel

    assert call("--version").stdout.strip() == f"subsetsel {subsetsel.__version__}"


def test_every_command_has_an_example_in_its_help() -> None:
    """Help shows how it is used, with the exit codes on the first page."""
    assert "130" in call("--help").stdout
    for name in ("demo", "prune", "verify", "solve", "compare", "report", "solvers", "info"):
        text = call(name, "--help").stdout
        assert f"subsetsel {name}" in text
        assert "--json" in text
