"""`subsetsel report` and `demo`: one page about a run."""

from __future__ import annotations

import json
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from commands import QUICK, blobs, call, refused, write_blobs

from subsetsel import Solution
from subsetsel.report.manifest import Manifest


def test_report_shows_curve_and_examples(data: Path, tmp_path: Path) -> None:
    """With the data at hand, other shares are refitted and the examples shown."""
    quick = ("--l2", 1e-2, "--size", 30, "--solver", "greedy", "--out", tmp_path / "pruned.npz")
    call("prune", data, *quick)
    manifest = tmp_path / "pruned.manifest.json"
    shown = ("--data", data, "--image-shape", "2x2", "--curve", "--json")
    record = json.loads(call("report", manifest, *shown).stdout)
    assert [point["is_chosen"] for point in record["points"]].count(True) == 1
    page = (tmp_path / "pruned.manifest.html").read_text()
    assert "30 of 120 examples pruned" in page
    assert page.count("data:image/svg+xml;base64,") >= 3
    assert "random subsets move the head" in page
    assert page.count("data:image/png;base64,") == 3 * 16


def test_report_shows_texts_and_writes_to_standard_output(data: Path, tmp_path: Path) -> None:
    """A table with a column `text`, in the order of the data."""
    Solution(np.arange(120) < 40, norm=0.0, status="feasible").save(tmp_path / "p.npz")
    manifest = tmp_path / "p.json"
    ids = np.array([f"image-{i}" for i in range(120)])
    Manifest.of(
        Solution.load(tmp_path / "p.npz"), command="prune", settings={}, inputs={}, ids=ids
    ).write(manifest)
    lines = ["text", *(f"this is number {i}" for i in range(120))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    page = call("report", manifest, "--data", data, "--examples", tmp_path / "t.csv", "--out", "-")
    assert "this is number" in page.stdout
    assert page.stdout.startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--curve"], "need the examples: --data"),
        (["--data", "{data}", "--image-shape", "3x3"], "9 numbers, and an example has 4"),
        (["--data", "{data}", "--image-shape", "four"], "must look like 28x28"),
        (["--data", "{data}", "--examples", "{data}", "--image-shape", "2x2"], "not both"),
        (["--data", "{data}", "--examples", "{few}"], "shows 2 examples, the data hold 120"),
        (["--out", "page.pdf"], "must name an .html file"),
    ],
)
def test_bad_reports_are_one_clear_line(
    arguments: list[str], message: str, data: Path, tmp_path: Path
) -> None:
    """Exit code 2 before anything is computed."""
    few, manifest = tmp_path / "few.npy", tmp_path / "m.json"
    np.save(few, np.zeros((2, 4, 4)))
    ids = np.array([f"image-{i}" for i in range(120)])
    solution = Solution(np.arange(120) < 40, norm=0.0, status="feasible")
    Manifest.of(solution, command="prune", settings={}, inputs={}, ids=ids).write(manifest)
    words = [word.format(data=data, few=few) for word in arguments]
    assert message in refused("report", manifest, *words)


# --- what the install lacks, and data that are not those of the manifest ------------------------


@pytest.fixture
def manifest(data: Path, tmp_path: Path) -> Path:
    """The manifest of a pruning that was refitted, of data with ids."""
    call("prune", data, "--l2", 1e-2, *QUICK, "--size", 30, "--out", tmp_path / "pruned.npz")
    return tmp_path / "pruned.manifest.json"


@pytest.fixture
def plain_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """An install without extras: neither matplotlib nor what it brings."""
    for name in ("matplotlib", "matplotlib.figure", "PIL", "PIL.Image"):
        monkeypatch.setitem(sys.modules, name, None)


def test_pictures_of_examples_need_no_extra(
    data: Path, manifest: Path, plain_install: None
) -> None:
    """The page has the pictures; the plots that are missing are told, with what brings them.

    Mutation: `picture_source` by an image library: fails.
    """
    result = call("report", manifest, "--data", data, "--image-shape", "2x2")
    page = manifest.with_suffix(".html").read_text()
    assert page.count("data:image/png;base64,") == 3 * 16
    assert "data:image/svg" not in page
    assert "written without its plots" in result.stderr
    assert 'pip install "subsetsel[plots]"' in result.stderr


def test_a_curve_without_the_package_that_draws_it_is_refused_before_the_refits(
    manifest: Path, plain_install: None
) -> None:
    """The extra is named; with it the command works, as the other tests show."""
    said = refused("report", manifest, "--data", "missing.npz", "--curve")
    assert 'pip install "subsetsel[plots]"' in said
    assert not manifest.with_suffix(".html").exists()


def test_a_page_about_other_data_says_so_or_is_refused(
    data: Path, manifest: Path, tmp_path: Path
) -> None:
    """The same ids in another file: a warning; other ids: refused by name.

    Mutation: `report` without its comparison of the SHA-256: fails.
    """
    turned = write_blobs(tmp_path / "turned.npz", 0, 120, slice(None, None, -1))
    result = call("report", manifest, "--data", turned, "--image-shape", "2x2")
    assert "SHA-256 differs; examples are told by their ids" in result.stderr
    assert "warning" not in call("report", manifest, "--data", data).stderr
    X, y = blobs(0, 120)
    np.savez(tmp_path / "other.npz", X=X, y=y, ids=np.array([f"other-{i}" for i in range(120)]))
    said = refused("report", manifest, "--data", tmp_path / "other.npz")
    assert "120 of the data are not in the manifest (such as 'other-0')" in said
    np.savez(tmp_path / "bare.npz", X=X, y=y)
    said = refused("report", manifest, "--data", tmp_path / "bare.npz")
    assert "names its examples by ids (such as 'image-" in said


def test_texts_with_ids_are_shown_by_them(data: Path, manifest: Path, tmp_path: Path) -> None:
    """A table of texts in another order shows each text on its own side.

    Mutation: `report` that takes examples in the order of their file: fails.
    """
    kept = set(Manifest.read(manifest).kept)
    lines = [f"image-{i},this is {'kept' if f'image-{i}' in kept else 'gone'}" for i in range(120)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["id,text", *lines[::-1]]))
    words = ("report", manifest, "--data", data, "--examples", path, "--out", "-")
    for row in re.findall(
        "<tr><th>[012]</th><td>(.*?)</td><td>(.*?)</td></tr>", call(*words).stdout
    ):
        assert ("this is kept" in row[0], "this is gone" in row[0]) == (True, False)
        assert ("this is kept" in row[1], "this is gone" in row[1]) == (False, True)
    path.write_text("\n".join(["id,text", *lines[:119], "image-x,who?"]))
    assert "(such as 'image-119')" in refused(*words)


@pytest.mark.parametrize("place", ["folder", "file/page.html"])
def test_a_page_that_cannot_be_written_is_refused_before_the_work(
    place: str, data: Path, manifest: Path, tmp_path: Path
) -> None:
    """A folder of that name, or a file where a folder should be; another place will do."""
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file").touch()
    out = tmp_path / ("folder.html" if place == "folder" else place)
    said = refused("report", manifest, "--data", "missing.npz", "--out", out)
    assert str(out.parent) in said
    call("report", manifest, "--data", data, "--out", tmp_path / "new" / "page.html")


@pytest.mark.slow
def test_the_demo_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten lines, four files, and the head moves three times less than at random or better.

    Three of the ten classes are enough to show it.
    """
    sklearn = pytest.importorskip("sklearn.datasets")
    monkeypatch.setattr(sklearn, "load_digits", partial(sklearn.load_digits, n_class=3))
    monkeypatch.setattr("subsetsel.cli.demo.NUM_TEST", 137)
    folder = tmp_path / "demo"
    result = call("demo", "--folder", folder)
    assert len(result.stdout.splitlines()) == 10
    assert {path.name for path in folder.iterdir()} == {
        "pruned.npz",
        "pruned.manifest.json",
        "demo.png",
        "report.html",
    }
    (ratio,) = re.findall(r"([\d.]+) times as far", result.stdout)
    assert float(ratio) > 3
    ((reach, epsilon),) = re.findall(r"verified: ([\d.]+) <= ([\d.]+)", result.stdout)
    assert float(reach) <= float(epsilon)
