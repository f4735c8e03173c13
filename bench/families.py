"""Synthetic influence matrices: each family a rule, each instance a shape and a seed.

Row i of S plays the part of the parameter change caused by leaving example i out. Real ones have
uneven row norms, a decaying spectrum and a sum that is not zero; each family isolates some of that.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

FloatMatrix = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

# The common drift of the rows, as a share of the root-mean-square row norm: near that of a trained
# head with the ridge left out.
_DRIFT = 0.1
_CHUNK = 65_536
# Share of the hidden subset of the planted family.
PLANTED_SHARE = 0.4
# Planted entries are multiples of this, so that their sums are exact in floating point.
_GRID = 2.0**-12


def generator(family: str, n: int, d: int, seed: int, chunk: int = 0) -> np.random.Generator:
    """Random numbers that depend on the instance's name alone."""
    return np.random.default_rng([seed, zlib.crc32(family.encode()), n, d, chunk])


def gaussian(n: int, d: int, seed: int) -> FloatMatrix:
    """Independent standard normal entries."""
    rng = generator("gaussian", n, d, seed)
    return rng.standard_normal((n, d), dtype=np.float32)


def heavytail(n: int, d: int, seed: int, sigma: float) -> FloatMatrix:
    """Uniform directions times log-normal row norms exp(sigma z)."""
    rng = generator(f"heavytail{sigma:g}", n, d, seed)
    S = rng.standard_normal((n, d), dtype=np.float32)
    S *= _lognormal_over_norm(S, sigma, rng)
    return S


def powerlaw(n: int, d: int, seed: int) -> FloatMatrix:
    """Draw normal rows; coordinate j has the standard deviation j^-1/2; add a common drift."""
    rng = generator("powerlaw", n, d, seed)
    deviations = _decay(d)
    S = rng.standard_normal((n, d), dtype=np.float32)
    S *= deviations
    S += _drift(deviations, rng)
    return S


def mixed(n: int, d: int, seed: int) -> FloatMatrix:
    """Power-law spectrum, log-normal row norms (sigma 1) and a common drift, all at once.

    Made in chunks, so that no temporary is as large as S.
    """
    deviations = _decay(d)
    drift = _drift(deviations, generator("mixed", n, d, seed))
    S = np.empty((n, d), dtype=np.float32)
    for number, start in enumerate(range(0, n, _CHUNK)):
        rng = generator("mixed", n, d, seed, chunk=number + 1)
        part = S[start : start + _CHUNK]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
        part *= deviations
        part *= np.exp(rng.standard_normal((len(part), 1))).astype(np.float32)
        part += drift
    return S


def planted(n: int, d: int, seed: int) -> FloatMatrix:
    """Hide a subset whose rows sum to exactly zero; the other rows drift one way.

    Entries are multiples of 2^-12, so the zero is exact in any order of summation.
    """
    rng = generator("planted", n, d, seed)
    grid = np.rint(rng.standard_normal((n, d)) / _GRID).astype(np.int64)
    hidden = np.flatnonzero(planted_mask(n, seed))
    # Spread the subset's sum over its rows; what does not divide goes one unit a row.
    share, rest = np.divmod(grid[hidden].sum(axis=0), len(hidden))
    grid[hidden] -= share
    for column in range(d):
        grid[rng.choice(hidden, size=int(rest[column]), replace=False), column] -= 1
    others = np.ones(n, dtype=np.bool_)
    others[hidden] = False
    grid[others] += np.rint(_drift(np.ones(d), rng) / _GRID).astype(np.int64)
    return (grid * _GRID).astype(np.float32)


def planted_mask(n: int, seed: int) -> BoolArray:
    """Reveal the hidden subset of `planted`."""
    rng = generator("planted-mask", n, 0, seed)
    mask = np.zeros(n, dtype=np.bool_)
    mask[rng.choice(n, size=round(PLANTED_SHARE * n), replace=False)] = True
    return mask


def tiny(n: int, d: int, seed: int) -> FloatMatrix:
    """Draw normal entries and a drift, for sizes where every subset can be tried."""
    rng = generator("tiny", n, d, seed)
    return (rng.standard_normal((n, d)) + 3 * _drift(np.ones(d), rng)).astype(np.float32)


def _decay(d: int) -> NDArray[np.float32]:
    deviations: NDArray[np.float32] = (np.arange(1, d + 1) ** -0.5).astype(np.float32)
    return deviations


def _drift(deviations: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a shift of `_DRIFT` times the root-mean-square row norm, shaped like the spectrum."""
    direction = rng.standard_normal(len(deviations)) * deviations
    length = _DRIFT * np.linalg.norm(deviations)
    shift: NDArray[np.float32] = (direction * (length / np.linalg.norm(direction))).astype(
        np.float32
    )
    return shift


def _lognormal_over_norm(S: FloatMatrix, sigma: float, rng: np.random.Generator) -> FloatMatrix:
    norms = np.sqrt(np.einsum("ij,ij->i", S, S, dtype=np.float64))
    wanted = np.exp(sigma * rng.standard_normal(len(S)))
    factors: FloatMatrix = (wanted / norms).astype(np.float32)[:, None]
    return factors


FAMILIES: dict[str, Callable[[int, int, int], FloatMatrix]] = {
    "gaussian": gaussian,
    "heavytail1": partial(heavytail, sigma=1.0),
    "heavytail2": partial(heavytail, sigma=2.0),
    "powerlaw": powerlaw,
    "planted": planted,
    "mixed": mixed,
    "tiny": tiny,
}
"""name -> builder of (n, d, seed)."""
