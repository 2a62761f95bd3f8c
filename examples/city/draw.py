"""Drawing by number: the same seed, word and row numbers always draw the same values."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

#: The city everybody sees unless another seed is asked for.
DEFAULT_SEED = 2026

Index = npt.NDArray[np.uint64]


class Draw:
    """Draws for one seed. `index` are row numbers; `word` names what is drawn."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def bits(self, word: str, index: Index) -> Index:
        """64 bits a row (splitmix64 of seed, word and number)."""
        salt = (zlib.crc32(word.encode()) << 32 ^ self.seed * 0x9E3779B97F4A7C15) & (2**64 - 1)
        mixed = index * np.uint64(0x9E3779B97F4A7C15) + np.uint64(salt)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))

    def below(self, word: str, index: Index, bound: int) -> npt.NDArray[np.int64]:
        """An integer from 0 to bound - 1."""
        return (self.bits(word, index) % np.uint64(bound)).astype(np.int64)

    def share(self, word: str, index: Index) -> npt.NDArray[np.float64]:
        """A number from 0 to 1."""
        return self.bits(word, index) / np.float64(2**64)

    def pick(self, word: str, index: Index, words: Sequence[str]) -> pl.Series:
        """One of the words, all equally likely."""
        return pl.Series(list(words), dtype=pl.String).gather(self.below(word, index, len(words)))

    def weigh(self, word: str, index: Index, weights: dict[str, float]) -> pl.Series:
        """One of the words by weight."""
        cumulated = np.cumsum(list(weights.values()))
        place = np.searchsorted(cumulated, self.share(word, index) * cumulated[-1], side="right")
        return pl.Series(list(weights), dtype=pl.String).gather(np.minimum(place, len(weights) - 1))


#: Parts of keys that are drawn are the same for every seed: a load need not know the city's seed.
KEYS = Draw(0)


def text(matrix: npt.NDArray[np.uint8]) -> pl.Series:
    """Rows of ASCII codes as texts of equal length, without a Python object each."""
    rows, width = matrix.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(width)
    data = pa.py_buffer(np.ascontiguousarray(matrix).tobytes())
    array = pa.StringArray.from_buffers(rows, pa.py_buffer(offsets.tobytes()), data)
    return pl.Series(pl.from_arrow(array))


def digits(number: npt.ArrayLike, width: int) -> npt.NDArray[np.uint8]:
    """Numbers as ASCII digits with leading noughts, one row each."""
    powers = 10 ** np.arange(width - 1, -1, -1, dtype=np.int64)
    return (np.asarray(number, dtype=np.int64)[:, None] // powers % 10 + ord("0")).astype(np.uint8)
