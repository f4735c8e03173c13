"""The user's own training as the judge of what is kept: called, timed, and not believed blindly."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from subsetsel.errors import OptionError
from subsetsel.rows.base import IndexArray

Train = Callable[..., float]


class TrainingFault(Exception):
    """A training that gave no score; the text says why."""


class Referee:
    """Calls ``train``, and tells its faults apart.

    Parameters
    ----------
    train : callable
        ``train(kept, held_out, seed) -> float``, higher is better; perhaps with ``budget``.

    Attributes
    ----------
    takes_budget : bool
        Whether ``train`` can be told to train shorter.

    Raises
    ------
    OptionError
        If ``train`` is no function of three arguments.
    """

    def __init__(self, train: Train) -> None:
        self._train = train
        self.takes_budget = _takes_budget(train)

    def score(
        self, kept: IndexArray, held_out: IndexArray, seed: int, budget: float = 1.0
    ) -> float:
        """Train on ``kept``, judge on ``held_out``.

        Raises
        ------
        TrainingFault
            If ``train`` raises or returns what is not finite.
        OptionError
            If it returns no number at all.
        """
        more = {"budget": budget} if self.takes_budget else {}
        try:
            # Copies, so that a training that shuffles in place disturbs nobody.
            found = self._train(kept.copy(), held_out.copy(), seed, **more)
        except Exception as error:
            raise TrainingFault(f"raised {type(error).__name__}: {error}") from error
        return _number(found)


def _takes_budget(train: Any) -> bool:
    """Check how ``train`` can be called, before hours are spent."""
    if not callable(train):
        raise OptionError(
            f"train must be a function train(kept, held_out, seed) -> float, got {train!r}."
        )
    try:
        signature = inspect.signature(train)
    except (TypeError, ValueError):  # some built-in functions do not tell
        return False
    parameters = signature.parameters.values()
    takes = "budget" in signature.parameters or any(p.kind is p.VAR_KEYWORD for p in parameters)
    try:
        signature.bind(None, None, None, **({"budget": 1.0} if takes else {}))
    except TypeError as error:
        raise OptionError(
            f"train must take (kept, held_out, seed) and perhaps budget; its signature is "
            f"{signature} ({error}). Fix other arguments with functools.partial."
        ) from error
    return takes


def _number(found: Any) -> float:
    if found is None:
        raise OptionError(
            "train returned None; let it return the score on held_out, a float, higher is better."
        )
    try:
        if isinstance(found, (str, bytes, bool, np.bool_)):
            raise TypeError
        value = float(found)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"train must return one number, the score on held_out; got {found!r}."
        ) from error
    if not math.isfinite(value):
        raise TrainingFault(f"returned {value}")
    return value


def set_aside(n: int, share: float, seed: int) -> IndexArray:
    """Draw the referee's part of the data: sorted indices."""
    generator = np.random.default_rng(seed)
    drawn = generator.choice(n, max(1, round(share * n)), replace=False)
    return np.sort(drawn).astype(np.int64)


def seed_of(*numbers: int) -> int:
    """Turn numbers into one seed below 2^31, which every library takes."""
    # As a spawn key each number counts; as entropy (0,) and (0, 0) are the same.
    sequence = np.random.SeedSequence(numbers[0], spawn_key=numbers[1:])
    return int(sequence.generate_state(1)[0] >> 1)
