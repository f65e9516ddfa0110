"""Random numbers that depend on what they are for and on nothing else.

Every draw is a pure function of a key such as (seed, purpose, epoch, row): batch size, device, number of
workers or ranks, and resuming change none of them.
"""

import hashlib

import numpy as np


def seed_of(*key: int | str) -> int:
    """A 63-bit seed for `key`, the same on every machine."""
    text = "\0".join(f"{type(part).__name__}:{part}" for part in key)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(*key: int | str) -> np.random.Generator:
    """A NumPy generator for `key`."""
    return np.random.Generator(np.random.PCG64(seed_of(*key)))


def uniform(rows: np.ndarray, count: int, *key: int | str) -> np.ndarray:
    """`count` numbers in [0, 1) for each of `rows`: float64 `[len(rows), count]`.

    A row's numbers depend on `key` and the row alone (SplitMix64, Steele et al. 2014, over a counter).
    """
    counter = np.asarray(rows, dtype=np.uint64)[:, None] * np.uint64(count) + np.arange(count, dtype=np.uint64)
    with np.errstate(over="ignore"):
        z = np.uint64(seed_of(*key)) + (counter + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
