"""`subsetsel prune`: labelled data in, a checked subset out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import blobs, call, interrupt_at_first_subset, prune, refused, write_blobs

from subsetsel import Solution
from subsetsel.report.manifest import Manifest
from subsetsel.support.records import sha256_of_file


def test_an_interrupted_pruning_goes_on_and_a_finished_one_leaves_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C leaves what was chosen; the same command takes it up, and removes it at its end."""
    out, left = tmp_path / "pruned.npz", tmp_path / "pruned.checkpoint.npz"
    few = ("--rel-epsilon", 0.05, "--out", out)
    with monkeypatch.context() as patch:
        patch.setattr("subsetsel.cli.prune.solve_progress", interrupt_at_first_subset)
        first = prune(data, *few, expect=130)
    assert left.exists()
    assert "the same command goes on from" in first.stderr
    assert "found" in prune(data, *few).stderr
    assert not left.exists()


def test_the_manifest_of_a_pruning_holds_ids_hash_and_check(data: Path, tmp_path: Path) -> None:
    """What is needed to find the examples and to repeat the run."""
    prune(data, "--size", 30, "--out", tmp_path / "pruned.npz")
    manifest = Manifest.read(tmp_path / "pruned.manifest.json")
    solution = Solution.load(tmp_path / "pruned.npz")
    assert manifest.pruned == [f"image-{i}" for i in solution.pruned]
    assert manifest.inputs[0]["sha256"] == sha256_of_file(data)
    assert manifest.verification is not None
    assert manifest.verification["change"] > 0


def test_what_refitting_does_is_minimized_where_asked(data: Path, tmp_path: Path) -> None:
    """The change by refit is no larger, and the manifest repeats the run."""
    changes = []
    for hessian in ("all", "kept"):
        out = tmp_path / f"{hessian}.npz"
        prune(data, "--num-kept", 12, "--hessian", hessian, "--out", out)
        manifest = Manifest.read(out.with_suffix(".manifest.json"))
        assert manifest.settings["hessian"] == hessian
        assert manifest.verification is not None
        changes.append(manifest.verification["change"])
    assert changes[1] <= changes[0]
    call("prune", "--from", tmp_path / "kept.manifest.json")


def test_the_manifest_tells_each_larger_subset_that_was_verified(
    data: Path, tmp_path: Path
) -> None:
    """In the order in which the search found them; the last one is the result."""
    prune(data, "--rel-epsilon", 0.02, "--out", tmp_path / "pruned.npz")
    manifest = Manifest.read(tmp_path / "pruned.manifest.json")
    sizes = [one["size"] for one in manifest.trace]
    assert len(sizes) > 1
    assert sizes == sorted(sizes)
    assert sizes[-1] == len(manifest.pruned)


def test_a_table_gives_the_same_subset_as_an_npz(data: Path, tmp_path: Path) -> None:
    """The format of the file changes nothing."""
    with np.load(data) as arrays:
        X, y = arrays["X"], arrays["y"]
    lines = ["a,b,kind,c,d"]
    lines += [
        f"{r[0]!r},{r[1]!r},{c},{r[2]!r},{r[3]!r}" for r, c in zip(X.tolist(), y, strict=True)
    ]
    (tmp_path / "data.csv").write_text("\n".join(lines))
    prune(data, "--size", 30, "--out", tmp_path / "one.npz")
    prune(tmp_path / "data.csv", "--label", "kind", "--size", 30, "--out", tmp_path / "two.npz")
    one, two = (Solution.load(tmp_path / f"{name}.npz") for name in ("one", "two"))
    assert np.array_equal(one.mask, two.mask)


@pytest.mark.parametrize("suffix", ["safetensors", "parquet"])
def test_ids_are_carried_from_any_format_to_any_format(
    suffix: str, data: Path, tmp_path: Path
) -> None:
    """The same subset by the same names, and the file written is what `verify` reads."""
    pytest.importorskip({"parquet": "pyarrow"}.get(suffix, suffix))
    from subsetsel.formats.tensors import write_tensors

    with np.load(data) as arrays:
        X, y, ids = (arrays[name] for name in ("X", "y", "ids"))
    other = tmp_path / f"data.{suffix}"
    if suffix == "parquet":
        import pyarrow.parquet

        columns = {"e": X.tolist(), "y": y, "id": ids.tolist()}
        pyarrow.parquet.write_table(pyarrow.table(columns), other)
    else:
        write_tensors(other, {"X": X, "y": y}, {"ids": json.dumps(ids.tolist())})
    prune(data, "--size", 30, "--out", tmp_path / "one.npz")
    prune(other, "--size", 30, "--out", tmp_path / f"two.{suffix}")
    one, two = (Manifest.read(tmp_path / f"{name}.manifest.json") for name in ("one", "two"))
    assert one.pruned == two.pruned
    assert one.pruned[0].startswith("image-")
    assert one.trace[-1]["size"] == 30
    check = call("verify", tmp_path / f"two.{suffix}", "--data", other, "--json")
    assert json.loads(check.stdout)["verification"]["num_pruned"] == 30


def test_a_held_out_set_is_compared(data: Path, tmp_path: Path) -> None:
    """`--test` adds accuracy and loss on examples that were not trained on."""
    X, y = blobs(1, 60)
    np.savez(tmp_path / "test.npz", X=X, y=y)
    result = prune(data, "--size", 30, "--test", tmp_path / "test.npz", "--json")
    check = json.loads(result.stdout)["verification"]
    assert check["accuracy"] is not None
    assert check["loss_gap"] is not None


def test_a_run_is_repeated_from_its_manifest(data: Path, tmp_path: Path) -> None:
    """Same settings, same data, same subset."""
    prune(data, "--size", 30, "--seed", 5, "--out", tmp_path / "pruned.npz")
    result = call("prune", "--from", tmp_path / "pruned.manifest.json")
    assert "the same subset as in the manifest" in result.stderr


def test_a_repeated_run_on_other_data_says_what_differs(data: Path, tmp_path: Path) -> None:
    """Exit code 1, and the input is named."""
    prune(data, "--size", 30, "--out", tmp_path / "pruned.npz")
    write_blobs(data, 7, 120)
    result = call("prune", "--from", tmp_path / "pruned.manifest.json", expect=1)
    assert "NOT the same subset" in result.stderr
    assert "input data: " in result.stderr


def test_a_dry_run_says_the_cost_and_writes_nothing(data: Path, tmp_path: Path) -> None:
    """Four features and a bias, three classes: S has (3 - 1)(4 + 1) columns."""
    arguments = ("--size", 30, "--dry-run", "--out", tmp_path / "pruned.npz")
    cost = json.loads(prune(data, *arguments, "--json").stdout)
    assert (cost["n"], cost["d"], cost["S_bytes"]) == (120, 10, 4 * 120 * 10)
    assert "about" in prune(data, *arguments).stdout
    assert not (tmp_path / "pruned.npz").exists()


def test_limits_on_validation_examples_and_curvature_hold(data: Path, tmp_path: Path) -> None:
    """Loss, accuracy, curvature and class floors reach `prune`; the manifest repeats them."""
    X, y = blobs(1, 60)
    np.savez(tmp_path / "val.npz", X=X, y=y)
    out = tmp_path / "pruned.npz"
    limits = ("--max-loss-gap", 1e-3, "--max-accuracy-drop", 0.01, "--min-curvature", 0.4)
    others = ("--validation", tmp_path / "val.npz", "--keep-per-class", 12, "--out", out)
    prune(data, *limits, *others)
    solution = Solution.load(out)
    seen = solution.stats["validation"]
    assert seen["loss_gap"] <= 1e-3
    assert seen["accuracy_drop"] <= 0.01
    assert np.bincount(blobs(0, 120)[1][solution.kept]).min() >= 12
    check = json.loads(call("verify", out, "--data", data, "--json").stdout)["verification"]
    assert check["curvature"] >= 0.4
    assert "the same subset" in call("prune", "--from", tmp_path / "pruned.manifest.json").stderr


def test_what_cannot_be_verified_is_not_certified(data: Path, tmp_path: Path) -> None:
    """No set changes the head by 1e-13: exit code 1, the smallest epsilon named, no file."""
    claim = tmp_path / "claim.json"
    result = prune(data, "--epsilon", 1e-13, "--certificate", claim, expect=1)
    assert "the smallest epsilon" in result.stdout
    assert "was not written" in result.stderr
    assert not claim.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prune", "{data}", "--size", "9"], "--l2 is needed"),
        (["prune", "--l2", "0.01", "--size", "9"], "name the data"),
        (["prune", "{data}", "--l2", "0.01"], "give exactly one of --epsilon, --rel-epsilon"),
        (["prune", "{data}", "--l2", "-1", "--size", "9"], "l2"),
        (["prune", "{data}", "--l2", "0.01", "--size", "121"], "size"),
        (["prune", "{data}", "--l2", "1", "--max-loss-gap", "1"], "--validation goes together"),
        (
            ["prune", "{data}", "--l2", "1", "--epsilon", "1", "--validation", "{data}"],
            "--validation goes together",
        ),
        (
            ["prune", "{data}", "--l2", "1", "--size", "9", "--min-curvature", "0.5"],
            "it cannot go with --size",
        ),
        (
            ["prune", "{data}", "--l2", "1", "--size", "9", "--keep-per-class", "41"],
            "--keep-per-class must be between 0 and 40",
        ),
        (
            ["prune", "{data}", "--l2", "1", "--size", "9", "--certificate", "c.npz"],
            "--certificate must name a .json file",
        ),
        (
            ["prune", "{data}", "--l2", "1", "--epsilon", "1", "--hessian", "kept"],
            "--hessian kept goes with --size",
        ),
        (["prune", "--from", "{data}"], "is not a manifest"),
        (["prune", "--from", "{manifest}", "--size", "9"], "leave out --size"),
        (["prune", "--from", "{manifest}", "--l2", "0.01"], "leave out --l2"),
        (["prune", "--from", "{manifest}"], "not of `subsetsel prune`"),
        (["verify", "{data}", "--data", "{data}"], "not a solution"),
        (["verify", "{manifest}", "--data", "{data}"], "speaks of 2 examples"),
        (["verify", "{whole}", "--data", "{data}"], "--l2 is needed"),
        (["verify", "{other}", "--data", "{data}", "--l2", "0.01"], "speaks of 2 examples"),
        (["report", "{data}"], "is not a manifest"),
    ],
)
def test_bad_data_commands_are_one_clear_line(
    arguments: list[str], message: str, data: Path, tmp_path: Path
) -> None:
    """Exit code 2, no traceback, nothing on stdout."""
    other = tmp_path / "other.npz"
    Solution(mask=np.array([True, False]), norm=0.0, status="feasible").save(other)
    whole = tmp_path / "whole.npz"
    Solution(mask=np.arange(120) < 9, norm=0.0, status="feasible").save(whole)
    manifest = tmp_path / "m.json"
    Manifest.of(Solution.load(other), command="solve", settings={}, inputs={}).write(manifest)
    words = [
        word.format(data=data, other=other, whole=whole, manifest=manifest) for word in arguments
    ]
    assert message in refused(*words)
