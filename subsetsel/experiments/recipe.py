"""How a network is trained, validated once."""

from __future__ import annotations

from dataclasses import dataclass

from subsetsel.errors import OptionError


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; the defaults are the paper's (Section 6.1).

    Parameters
    ----------
    epochs : int or None
        Passes over what is kept: a smaller set takes fewer steps.
    iterations : int or None
        Steps, whatever the size of the set. Exactly one of the two is given.
    batch_size : int
    lr : float
        Of the first step; it falls to zero along a cosine.
    momentum, weight_decay : float
    padding : int
        Of the random crop; 0 for no augmentation at all.
    precision : {"float32", "bfloat16"}
        Of the forward pass, by automatic mixed precision.

    Raises
    ------
    OptionError
        For values that make no sense.
    """

    epochs: int | None = 200
    iterations: int | None = None
    batch_size: int = 128
    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    padding: int = 4
    precision: str = "float32"

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.iterations is None):
            raise OptionError("give exactly one of epochs and iterations; the other is None.")
        for name in ("epochs", "iterations", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} must be at least 1, got {value}.")
        if not (self.lr > 0 and self.weight_decay >= 0 and 0 <= self.momentum < 1):
            raise OptionError(
                f"lr must be positive, weight_decay at least 0 and momentum in [0, 1); got "
                f"{self.lr}, {self.weight_decay}, {self.momentum}."
            )
        if self.precision not in {"float32", "bfloat16"}:
            raise OptionError(f"precision must be float32 or bfloat16, got {self.precision!r}.")

    def num_steps(self, num_examples: int) -> int:
        """Count the steps of a whole training on so many examples."""
        if self.iterations is not None:
            return self.iterations
        assert self.epochs is not None
        return self.epochs * steps_per_epoch(num_examples, self.batch_size)


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
    """Count the batches of one pass; a last batch of a single example is left out.

    Batch normalization has no spread over a batch of one. The order is drawn anew every epoch, so
    no example is left out for long.
    """
    whole, rest = divmod(num_examples, batch_size)
    return max(1, whole + (rest > 1))
