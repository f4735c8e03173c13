"""Ctrl-C at moments at which Python is still importing: one line and exit status 130."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from subsetsel.cli.interrupt import is_interrupt, quits_at_once

_PRESS = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"
_MAIN = "import sys, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
_MAIN += "from subsetsel.cli import main; sys.argv[0] = 'subsetsel'; main()"


def run(folder: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the command with the modules of a folder before all others."""
    paths = os.pathsep.join([str(folder / "stubs"), *filter(None, [os.getenv("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", _MAIN, *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths, "TMPDIR": str(folder / "tmp")},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Data, an empty folder for temporary files, and one for stubs of modules."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", X=rng.normal(size=(30, 2)), y=np.arange(30) % 2)
    (tmp_path / "stubs").mkdir()
    (tmp_path / "tmp").mkdir()
    return tmp_path


@pytest.mark.parametrize("module", ["torch", "numba", "typer", "numpy"])
def test_ctrl_c_during_an_import_ends_with_one_line(folder: Path, module: str) -> None:
    """Whichever module is being imported, there is no traceback."""
    (folder / "stubs" / f"{module}.py").write_text(_PRESS)
    done = run(folder, "prune", str(folder / "data.npz"), "--l2", "0.1", "--rel-epsilon", "0.1")
    assert done.stderr.decode() == "interrupted; nothing was written\n"
    assert (done.returncode, done.stdout) == (130, b"")


def test_an_import_cannot_make_another_error_of_ctrl_c(folder: Path) -> None:
    """The process has ended before the import hears of it."""
    indented = "".join(f"    {line}\n" for line in _PRESS.splitlines()[1:])
    stub = f"try:\n{indented}except KeyboardInterrupt:\n    raise RuntimeError\n"
    (folder / "stubs" / "torch.py").write_text(f"import os, signal, time\n{stub}")
    done = run(folder, "prune", str(folder / "data.npz"), "--l2", "0.1", "--rel-epsilon", "0.1")
    assert done.stderr.decode() == "interrupted; nothing was written\n"
    assert done.returncode == 130


def test_ctrl_c_during_an_import_removes_the_copy_of_standard_input(folder: Path) -> None:
    """The process ends at once, but not without tidying up."""
    (folder / "stubs" / "torch.py").write_text(_PRESS)
    stdin = (folder / "data.npz").read_bytes()
    done = run(
        folder, "prune", "-", "--format", "npz", "--l2", "1", "--fraction", ".3", stdin=stdin
    )
    assert done.returncode == 130
    assert list((folder / "tmp").glob("subsetsel-*")) == []


def test_an_interrupt_is_known_behind_another_error() -> None:
    """C code turns it into errors of its own, whose cause it stays."""
    made_of_it = ImportError("half made")
    made_of_it.__context__ = SystemError("no exception set")
    made_of_it.__context__.__cause__ = KeyboardInterrupt()
    assert is_interrupt(made_of_it)
    assert not is_interrupt(ImportError("missing"))


def test_what_is_set_for_loading_is_undone() -> None:
    """After the block Ctrl-C does what it did before."""
    import signal

    before = signal.getsignal(signal.SIGINT)
    with quits_at_once():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_the_package_itself_imports_nothing_heavy() -> None:
    """Else Ctrl-C in its first moment would hit an import outside the command's reach."""
    code = "import subsetsel, sys; print(sorted({'numpy', 'scipy', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_name_that_the_package_does_not_have_is_named() -> None:
    """As for any module."""
    import subsetsel

    with pytest.raises(AttributeError, match="has no attribute 'prun'"):
        _ = subsetsel.prun
    assert set(subsetsel.__all__) <= set(dir(subsetsel))
