"""`subsetsel verify`: a subset, a manifest or a certificate against the data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import QUICK, blobs, call, prune, refused, write_blobs

from subsetsel import Solution


def test_a_pruned_file_is_verified_by_the_next_command(verified: Path) -> None:
    """What `prune` promises, `verify` finds: Definition 1 with its error bar."""
    out, data = verified / "pruned.npz", verified / "data.npz"
    check = json.loads(call("verify", out, "--data", data, "--json").stdout)["verification"]
    assert check["is_verified"]
    assert check["change"] + check["change_error"] <= check["epsilon"]
    assert Solution.load(out).size > 0
    assert "verified" in call("verify", out, "--data", data).stdout


def test_a_subset_that_breaks_its_promise_is_exit_code_1(data: Path, tmp_path: Path) -> None:
    """Forty examples cannot be left out for a change of 1e-9."""
    mask = np.arange(120) < 40
    Solution(mask=mask, norm=0.0, status="feasible", epsilon=1e-9).save(tmp_path / "bad.npz")
    result = call("verify", tmp_path / "bad.npz", "--data", data, "--l2", 1e-2, expect=1)
    assert "NOT verified" in result.stdout


def test_a_certificate_is_confirmed_from_the_data_alone(verified: Path, tmp_path: Path) -> None:
    """`verify` evaluates it; other data are refused with exit code 1. Both tell the scope."""
    claim = verified / "claim.json"
    text = call("verify", claim, "--data", verified / "data.npz").stdout
    assert "confirmed" in text
    assert "the head; not the retrained network" in text
    other = write_blobs(tmp_path / "other.npz", 7, 120)
    result = call("verify", claim, "--data", other, "--json", expect=1)
    recheck = json.loads(result.stdout)["recheck"]
    assert recheck["is_confirmed"] is False
    assert recheck["scope"] == "the head; not the retrained network"


def test_a_manifest_is_verified_by_the_ids_it_names(verified: Path, tmp_path: Path) -> None:
    """Its pruned ids are found again in data that were shuffled since."""
    order = np.random.default_rng(0).permutation(120)
    data = write_blobs(tmp_path / "shuffled.npz", 0, 120, order)
    result = call("verify", verified / "pruned.manifest.json", "--data", data, "--json")
    assert json.loads(result.stdout)["verification"]["is_verified"] is True


def test_verify_warns_when_the_data_are_not_those_that_were_pruned(
    verified: Path, tmp_path: Path
) -> None:
    """Their SHA-256 is in the manifest."""
    other = write_blobs(tmp_path / "other.npz", 7, 120)
    result = call("verify", verified / "pruned.npz", "--data", other, expect=1)
    assert "SHA-256 differs" in result.stderr


def test_a_subset_and_a_manifest_of_two_runs_are_told_apart(data: Path, tmp_path: Path) -> None:
    """A subset copied over another run's must not be checked with that run's settings.

    Mutation: `verify` without its comparison of the two: fails.
    """
    prune(data, "--size", 30, "--out", tmp_path / "a.npz")
    prune(data, "--size", 40, "--out", tmp_path / "b.npz")
    (tmp_path / "b.npz").replace(tmp_path / "a.npz")
    assert "they are of two runs" in refused("verify", tmp_path / "a.npz", "--data", data)


# --- by ids wherever both sides have them ------------------------------------------------------


def write_table(path: Path, order: Any, ids: list[Any] | None = None) -> Path:
    """The blobs as a CSV file in some order; with a column `name` of ids where there are any."""
    X, y = blobs(0, 120)
    lines = [("name," if ids else "") + "a,b,c,d,y"]
    for i in order:
        cells = [ids[i]] if ids else []
        lines.append(",".join(map(str, [*cells, *X[i].tolist(), y[i]])))
    path.write_text("\n".join(lines) + "\n")
    return path


NAMES = [f"n{i}" for i in range(120)]
BY_NAME = ("--id", "name")


def change_of(*arguments: Any) -> float:
    """How far `verify` says that the head moves."""
    record = json.loads(call("verify", *arguments, "--json").stdout)
    return float(record["verification"]["change"])


@pytest.mark.parametrize("suffix", ["npz", "csv", "tsv", "safetensors", "parquet"])
def test_a_subset_is_verified_by_ids_in_data_of_another_order(suffix: str, tmp_path: Path) -> None:
    """The same change to the last digits; by positions it would be many times as large.

    Mutation: `verify` that goes by positions where the subset has ids: fails.
    """
    pytest.importorskip({"parquet": "pyarrow"}.get(suffix, "numpy"))
    out = tmp_path / f"p.{suffix}"
    straight = write_table(tmp_path / "d.csv", range(120), NAMES)
    prune(straight, *BY_NAME, "--size", 30, "--out", out)
    turned = write_table(tmp_path / "r.csv", range(119, -1, -1), NAMES)
    first, second = (change_of(out, "--data", data, *BY_NAME) for data in (straight, turned))
    assert second == pytest.approx(first, rel=1e-6)


def test_a_subset_that_was_sorted_since_is_verified_by_its_index_and_id(tmp_path: Path) -> None:
    """Lines of a table may be put into any order."""
    out = tmp_path / "p.csv"
    data = write_table(tmp_path / "d.csv", range(120), NAMES)
    prune(data, *BY_NAME, "--size", 30, "--out", out)
    before = change_of(out, "--data", data, *BY_NAME)
    header, *lines = out.read_text().splitlines()
    out.write_text("\n".join([header, *sorted(lines, key=lambda line: line[::-1])]) + "\n")
    assert change_of(out, "--data", data, *BY_NAME) == before


def test_ids_that_are_numbers_in_one_file_and_text_in_the_other_are_the_same(
    tmp_path: Path,
) -> None:
    """A table gives text where an array gives numbers."""
    X, y = blobs(0, 120)
    numbers = np.arange(1000, 1120)
    np.savez(tmp_path / "d.npz", X=X, y=y, ids=numbers)
    prune(tmp_path / "d.npz", "--size", 30, "--out", tmp_path / "p.npz")
    turned = write_table(tmp_path / "r.csv", range(119, -1, -1), numbers.tolist())
    want = change_of(tmp_path / "p.npz", "--data", tmp_path / "d.npz")
    for claim in ("p.npz", "p.manifest.json"):
        got = change_of(tmp_path / claim, "--data", turned, *BY_NAME)
        assert got == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("claim", ["p.npz", "p.csv"])
def test_ids_that_the_data_lack_are_asked_for_and_then_found(claim: str, tmp_path: Path) -> None:
    """The message says --id; with it the command works. A manifest knows the column itself."""
    data = write_table(tmp_path / "d.csv", range(120), [1000 + i for i in range(120)])
    prune(data, *BY_NAME, "--size", 30, "--out", tmp_path / claim)
    call("verify", tmp_path / claim, "--data", data)
    (tmp_path / "p.manifest.json").unlink()
    message = refused("verify", tmp_path / claim, "--data", data, "--l2", 1)
    assert "names its examples by ids (such as " in message
    assert "name their column with --id" in message
    call("verify", tmp_path / claim, "--data", data, "--l2", 1, *BY_NAME)


@pytest.mark.parametrize("claim", ["p.csv", "p.manifest.json"])
def test_a_subset_without_ids_says_that_it_goes_by_positions(claim: str, tmp_path: Path) -> None:
    """The data have ids that the subset does not know: no other way, and it is said.

    The ids here are the numbers 0 to 119 in reverse, which are not indices.
    """
    bare = write_table(tmp_path / "bare.csv", range(120))
    prune(bare, "--size", 30, "--out", tmp_path / "p.csv")
    want = change_of(tmp_path / claim, "--data", bare)
    named = write_table(tmp_path / "d.csv", range(120), list(range(119, -1, -1)))
    result = call("verify", tmp_path / claim, "--data", named, *BY_NAME, "--json")
    assert "holds no ids, so its examples are told by their positions" in result.stderr
    assert json.loads(result.stdout)["verification"]["change"] == pytest.approx(want)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([*NAMES[:119], "x"], "1 of the data are not in .* (such as 'x'), and 1 of "),
        ([*NAMES[:119], "n5"], "the id 'n5' stands in line 7 and in line 121"),
    ],
)
def test_unknown_and_repeated_ids_are_named(ids: list[str], message: str, tmp_path: Path) -> None:
    """Which, and how many; the data that were pruned are accepted."""
    data = write_table(tmp_path / "d.csv", range(120), NAMES)
    prune(data, *BY_NAME, "--size", 30, "--out", tmp_path / "p.csv")
    other = write_table(tmp_path / "o.csv", range(120), ids)
    said = refused("verify", tmp_path / "p.csv", "--data", other, *BY_NAME)
    for part in message.split(".*"):
        assert part in said
    call("verify", tmp_path / "p.csv", "--data", data, *BY_NAME)


def test_a_table_beside_the_manifest_of_another_run_is_told_apart(tmp_path: Path) -> None:
    """It knows no norm, so the ids of what is pruned are compared.

    Mutation: the comparison for tables left out: fails.
    """
    data = write_table(tmp_path / "d.csv", range(120), NAMES)
    for one in (0, 1):
        prune(data, *BY_NAME, "--size", 30 + one, "--out", tmp_path / f"{one}.csv")
    (tmp_path / "1.csv").replace(tmp_path / "0.csv")
    refusal = refused("verify", tmp_path / "0.csv", "--data", data, *BY_NAME)
    assert "they are of two runs" in refusal
    (tmp_path / "0.manifest.json").unlink()
    call("verify", tmp_path / "0.csv", "--data", data, *BY_NAME, "--l2", 1e-2)


def test_a_certificate_is_not_confirmed_for_data_in_another_order(
    verified: Path, tmp_path: Path
) -> None:
    """It goes by positions, and by the SHA-256 of the data, which differs then."""
    turned = write_blobs(tmp_path / "turned.npz", 0, 120, slice(None, None, -1))
    result = call("verify", verified / "claim.json", "--data", turned, "--json", expect=1)
    assert json.loads(result.stdout)["recheck"]["is_confirmed"] is False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.arange(60) % 3 + 1}, "20 examples have a label that no example of the data has"),
        ({"y": np.array(["a", "b", "c"] * 20)}, "its labels are of type"),
        ({"X": np.zeros((60, 3))}, "its examples have 3 features, those of the data 4"),
    ],
)
@pytest.mark.parametrize("command", ["verify", "prune"])
def test_held_out_examples_that_cannot_be_used_are_refused_before_the_work(
    command: str,
    change: dict[str, Any],
    message: str,
    verified: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is trained; with the examples corrected the command works."""
    X, y = blobs(1, 60)
    np.savez(tmp_path / "bad.npz", **{"X": X, "y": y, **change})
    np.savez(tmp_path / "good.npz", X=X, y=y)
    data = verified / "data.npz"
    words: dict[str, tuple[Any, ...]] = {
        "verify": ("verify", verified / "pruned.npz", "--data", data, "--test"),
        "prune": ("prune", data, "--l2", 1e-2, *QUICK, "--size", 9, "--test"),
    }

    def train(*_: Any, **__: Any) -> None:
        raise AssertionError("a head is trained")

    with monkeypatch.context() as patch:
        patch.setattr("subsetsel.influence.fit_head", train)
        said = refused(*words[command], tmp_path / "bad.npz")
    assert "--test: " in said
    assert message in said
    call(*words[command], tmp_path / "good.npz")
