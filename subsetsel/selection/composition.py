"""What is kept, described by six numbers and words: which difficulty, which classes, how chosen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from subsetsel.errors import OptionError
from subsetsel.scores.strata import gentle_cut, hardest_cut

Choice = Literal["draw", "joint", "joint in classes", "joint in cells"]
"""How examples are taken: by lot within cells, or jointly (Eq. 4) without quotas, with those of the
classes, or with those of the cells, which are strata within classes."""

CHOICES: tuple[Choice, ...] = get_args(Choice)
_SHARES = ("hard_cut", "easy_cut", "evenness", "class_balance")


@dataclass(frozen=True)
class Composition:
    """Which difficulty and which classes are kept.

    Attributes
    ----------
    score : str
        Name of the measure of difficulty.
    hard_cut, easy_cut : float
        Share of the examples that is left out at the hard and at the easy end, 0 <= share < 1.
    evenness : float
        From 0, strata are kept in proportion to their sizes, to 1, strata are kept equally: an
        example is kept with a probability proportional to (size of its stratum)^-evenness.
    class_balance : float
        From 0, classes are kept as the strata give them, to 1, as many of each class: a share p of
        a class becomes p^(1 - class_balance), up to a common factor. It shares out what the cuts
        leave, and they know no classes: a rare class that is hard may be cut whole.
    choice : {"draw", "joint", "joint in classes", "joint in cells"}

    Raises
    ------
    OptionError
        If a share lies outside its range, the two cuts leave nothing, or the choice is unknown.
    """

    score: str = ""
    hard_cut: float = 0.0
    easy_cut: float = 0.0
    evenness: float = 0.0
    class_balance: float = 0.0
    choice: Choice = "draw"

    def __post_init__(self) -> None:
        for name in _SHARES:
            value = getattr(self, name)
            if not (isinstance(value, (int, float, np.number)) and 0 <= value <= 1):
                raise OptionError(f"{name} must be a share, 0 to 1, got {value!r}.")
            object.__setattr__(self, name, float(value))
        if self.hard_cut + self.easy_cut >= 1:
            raise OptionError(
                f"hard_cut and easy_cut leave nothing: {self.hard_cut} + {self.easy_cut} >= 1."
            )
        if self.choice not in CHOICES:
            raise OptionError(f"choice must be one of {', '.join(CHOICES)}; got {self.choice!r}.")

    @property
    def is_plain(self) -> bool:
        """Whether it is a draw from all examples alike: random."""
        return self.choice == "draw" and not any(getattr(self, name) for name in _SHARES)

    @property
    def is_joint(self) -> bool:
        """Whether rows of S decide."""
        return self.choice != "draw"

    def reduced(self) -> Composition:
        """Set to zero what plays no part in this choice."""
        unused: dict[str, Any] = {}
        if self.choice in {"joint", "joint in classes"}:
            unused["evenness"] = 0.0
        if self.choice == "joint":
            unused["class_balance"] = 0.0
        return replace(self, **unused)

    def record(self) -> dict[str, Any]:
        """Its attributes by name."""
        return asdict(self)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Composition:
        """Read what `record` gave, beside whatever else the mapping holds."""
        return cls(**{name: record[name] for name in cls.__dataclass_fields__})


def random_rule(score: str = "") -> Composition:
    """Keep at random: what everything else must be ahead of."""
    return Composition(score)


def reference_rules(
    score: str, num_kept: int, n: int, num_classes: int, choices: Iterable[str] = ("draw",)
) -> dict[str, Composition]:
    """Name the fixed rules that are tried whatever the search does, random first.

    Parameters
    ----------
    score : str
        The measure of difficulty of the strata.
    num_kept, n, num_classes : int
        They set how much the two rules by strata cut, see `subsetsel.scores.hardest_cut`.
    choices : iterable of str
        Which of `CHOICES` are open; every joint one adds a rule.
    """
    # A cut must leave what is kept, also where a part of the data is set aside.
    room = max(0.0, 1 - num_kept / n)
    plain, gentle = hardest_cut(num_kept, n, num_classes), gentle_cut(num_kept, n, num_classes)
    rules = {
        "random": random_rule(score),
        "class-balanced": Composition(score, class_balance=1.0),
        "strata": Composition(score, hard_cut=min(plain, room), evenness=1.0),
        "gentle strata": Composition(score, hard_cut=min(gentle, room), evenness=1.0),
    }
    joint = {
        "joint": Composition(score, choice="joint"),
        "joint in classes": Composition(score, choice="joint in classes"),
        "joint in cells": replace(rules["gentle strata"], choice="joint in cells"),
    }
    return rules | {name: rule for name, rule in joint.items() if name in set(choices)}
