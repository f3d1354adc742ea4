"""Small damage to a seed, as networks, broken peers and attackers do it."""

import random
from collections.abc import Sequence
from typing import Protocol

__all__ = ["Source", "mutate"]

LONGEST_RUN = 8000  # of one word; near the limit of a header line, where a slow pattern shows


class Source(Protocol):
    """What a mutation draws from."""

    @property
    def seeds(self) -> Sequence[bytes]: ...

    @property
    def words(self) -> Sequence[bytes]: ...


def mutate(data: bytes, source: Source, chance: random.Random) -> bytes:
    """``data`` after one to six changes."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        data = _change(data, source, chance)
    return data


def _change(data: bytes, source: Source, chance: random.Random) -> bytes:
    start = chance.randint(0, len(data))
    end = min(len(data), start + chance.choice((0, 1, 1, 2, 8, 64)))
    kind = chance.randrange(8)
    if kind == 0:  # one octet changed
        return data[:start] + bytes((chance.randrange(256),)) + data[start + 1 :]
    if kind == 1:  # lost
        return data[:start] + data[end:]
    if kind == 2:  # doubled
        return data[:end] + data[start:end] + data[end:]
    if kind == 3:  # cut off
        return data[:start]
    if kind == 4:  # two messages grown together
        other = chance.choice(source.seeds)
        return data[:start] + other[chance.randint(0, len(other)) :]
    if kind == 5:  # a run
        count = chance.choice((2, 3, 17, 300, LONGEST_RUN))
        word = chance.choice(source.words)
        return data[:start] + word * (count // len(word) + 1) + data[start:]
    return data[:start] + chance.choice(source.words) + data[end:]  # a word put in
