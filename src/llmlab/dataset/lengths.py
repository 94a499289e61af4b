"""How long a dataset's examples are, in few enough numbers for its manifest: exact to 256 tokens, above in steps of a sixteenth at most.

Each step is named by the longest length in it, and powers of two end one: for a `max_length` of 512 or 2,048 the count is exact.
"""

from collections import Counter
from collections.abc import Mapping

EXACT = 256
STEPS = 16
"""Of each doubling."""


def steps(lengths: Mapping[int, int]) -> dict[str, int]:
    """Examples by the step of their length, the shortest first."""
    counts: Counter[int] = Counter()
    for length, count in lengths.items():
        counts[_step(length)] += count
    return {str(length): counts[length] for length in sorted(counts)}


def fitting(counted: Mapping[str, int], most: int) -> int:
    """How many examples are at most so long; those of a step that goes beyond do not count."""
    return sum(count for length, count in counted.items() if length.isdecimal() and int(length) <= most)


def _step(length: int) -> int:
    if length <= EXACT:
        return length
    width = 1 << ((length - 1).bit_length() - 1)
    size = width // STEPS
    return -(-length // size) * size
