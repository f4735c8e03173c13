"""What a composition may say, and the fixed rules that are tried whatever a search does."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from subsetsel.errors import OptionError
from subsetsel.selection.composition import CHOICES, Composition, random_rule, reference_rules


@pytest.mark.parametrize(
    ("wrong", "message", "cure"),
    [
        ({"hard_cut": -0.1}, "hard_cut must be a share, 0 to 1, got -0.1", {"hard_cut": 0.1}),
        ({"evenness": 1.1}, "evenness must be a share, 0 to 1, got 1.1", {"evenness": 1.0}),
        ({"evenness": float("nan")}, "evenness must be a share", {"evenness": 0.0}),
        ({"class_balance": "1"}, "class_balance must be a share", {"class_balance": 1}),
        ({"hard_cut": 0.6, "easy_cut": 0.4}, "leave nothing: 0.6 + 0.4", {"hard_cut": 0.6}),
        ({"choice": "jointly"}, "choice must be one of draw, joint", {"choice": "joint"}),
    ],
)
def test_a_composition_that_makes_no_sense_is_refused(
    wrong: dict[str, Any], message: str, cure: dict[str, Any]
) -> None:
    """The message names the attribute, its value and its range; a value in it is taken."""
    with pytest.raises(OptionError, match=re.escape(message)):
        Composition("el2n", **wrong)
    assert Composition("el2n", **cure).score == "el2n"


def test_shares_of_numpy_are_shares() -> None:
    """A grid of float32 or a count from an array serves as well as a Python float."""
    shares: dict[str, Any] = {"hard_cut": np.float32(0.5), "evenness": np.int64(1)}
    one = Composition("el2n", **shares)
    assert one == Composition("el2n", 0.5, evenness=1.0)
    assert type(one.record()["hard_cut"]) is float


def test_a_composition_survives_its_record() -> None:
    """What a study writes down is read back as the same composition, beside other values."""
    one = Composition("aum", 0.3, 0.1, 0.5, 0.25, "joint in cells")
    assert Composition.of_record({**one.record(), "number": 3}) == one


@pytest.mark.parametrize("choice", CHOICES)
def test_only_a_draw_without_any_share_is_plain(choice: Any) -> None:
    """Random is a draw from all alike, and nothing else is."""
    assert Composition(choice=choice).is_plain == (choice == "draw")
    for name in ("hard_cut", "easy_cut", "evenness", "class_balance"):
        shares: dict[str, Any] = {name: 0.5}
        assert not Composition(choice=choice, **shares).is_plain


def test_what_plays_no_part_is_reduced_away() -> None:
    """Two compositions that choose alike are equal, so that neither is trained for the other."""
    full: dict[str, Any] = {"hard_cut": 0.1, "easy_cut": 0.1, "evenness": 0.5, "class_balance": 0.5}
    assert Composition(**full, choice="joint").reduced() == Composition(
        hard_cut=0.1, easy_cut=0.1, choice="joint"
    )
    in_classes = Composition(**full, choice="joint in classes").reduced()
    assert (in_classes.evenness, in_classes.class_balance) == (0.0, 0.5)
    assert Composition(**full).reduced() == Composition(**full)


def test_the_fixed_rules_are_there_with_random_first() -> None:
    """Random, class-balanced, plain and gentle strata; joint ones where they are open."""
    rules = reference_rules("el2n", num_kept=1000, n=60_000, num_classes=10)
    assert list(rules) == ["random", "class-balanced", "strata", "gentle strata"]
    assert rules["random"] == random_rule("el2n")
    assert (rules["strata"].hard_cut, rules["gentle strata"].hard_cut) == (0.3, 0.2)
    assert rules["strata"].evenness == rules["gentle strata"].evenness == 1.0
    more = reference_rules("el2n", 1000, 60_000, 10, CHOICES)
    assert list(more)[4:] == ["joint", "joint in classes", "joint in cells"]
    assert {more[name].choice for name in list(more)[4:]} == set(CHOICES[1:])


@pytest.mark.parametrize("num_kept", [1, 50, 74, 75, 90, 99])
def test_no_fixed_rule_cuts_so_much_that_too_few_are_left(num_kept: int) -> None:
    """However much is kept, each rule leaves at least that."""
    for rule in reference_rules("el2n", num_kept, n=100, num_classes=2).values():
        assert 100 - int(rule.hard_cut * 100 + 1e-9) >= num_kept
