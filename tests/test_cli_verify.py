"""`subsetsel verify`: a subset, a manifest or a certificate against the data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from commands import call, prune, refused, write_blobs

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
