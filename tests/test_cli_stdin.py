"""`-` in place of a file: standard input and standard output."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from commands import QUICK, call, refused

from subsetsel.report.manifest import Manifest
from subsetsel.support.records import sha256_of_file


def test_standard_input_is_read_in_the_format_that_is_named(matrix: Path) -> None:
    """npy, npz and text give the same answer as the file, and a table goes to stdout."""
    S = np.load(matrix)
    packed, text = io.BytesIO(), io.StringIO()
    np.savez(packed, S=S)
    np.savetxt(text, S, delimiter=",", fmt="%.17g")
    quick = ("--size", 20, "--solver", "greedy", "--out", "-")
    contents = {
        "npy": matrix.read_bytes(),
        "npz": packed.getvalue(),
        "csv": text.getvalue().encode(),
    }
    tables = [
        call("solve", "-", "--format", name, *quick, stdin=content).stdout
        for name, content in contents.items()
    ]
    assert tables[0] == tables[1] == tables[2] == call("solve", matrix, *quick).stdout
    assert tables[0].startswith("index,pruned\n0,")
    assert sum(line.endswith(",1") for line in tables[0].splitlines()) == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["solve", "-", "--size", "2"], "say which it is, such as --format npz: npy, npz,"),
        (["solve", "-", "--format", "txt", "--size", "2"], "not txt; say which it is"),
        (["solve", "-", "--format", "npy", "--size", "2"], "standard input is empty"),
        (["solve", "S.npy", "--format", "npy", "--size", "2"], "leave it out"),
        (["prune", "-", "--test", "-", "--l2", "1", "--size", "2"], "only one of the files"),
        (["solve", "S.npy", "--size", "2", "--out", "-", "--json"], "choose one"),
    ],
)
def test_misuse_of_standard_streams_is_refused(arguments: list[str], message: str) -> None:
    """One clear line."""
    assert message in refused(*arguments, stdin=b"")


def test_a_run_from_standard_input_is_repeated_from_standard_input(
    data: Path, tmp_path: Path
) -> None:
    """The manifest keeps the content's SHA-256, and - as its name."""
    content = data.read_bytes()
    piped = ("--format", "npz", "--l2", 0.01, "--size", 30, *QUICK)
    call("prune", "-", *piped, "--out", tmp_path / "pruned.npz", stdin=content)
    (entry,) = Manifest.read(tmp_path / "pruned.manifest.json").inputs
    assert (entry["path"], entry["sha256"]) == ("-", sha256_of_file(data))
    again = ("--from", tmp_path / "pruned.manifest.json", "--format", "npz")
    result = call("prune", *again, stdin=content)
    assert "the same subset" in result.stderr
