"""Random numbers keyed by (seed, name): a further draw changes no other one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class SeededRandom:
    """The random numbers of one schedule. `about` are the parts of a draw's name."""

    seed: int

    def roll(self, *about: object) -> float:
        """A number from [0, 1), uniformly distributed."""
        text = "/".join(map(str, (self.seed, *about)))
        return int.from_bytes(blake2b(text.encode(), digest_size=7).digest(), "big") / 2**56

    def happens(self, chance: float, *about: object) -> bool:
        return chance > 0 and self.roll(*about) < chance

    def between(self, low: float, high: float, *about: object) -> float:
        return low + (high - low) * self.roll(*about)

    def wait(self, mean: float, *about: object) -> float:
        """An exponentially distributed waiting time with this mean."""
        return -mean * math.log(1.0 - self.roll(*about))

    def choice(self, options: Sequence[T], *about: object) -> T:
        return options[int(self.roll(*about) * len(options))]
