"""The lengths of a dataset's examples in few enough numbers for its manifest: exact to 256 tokens, above in steps of a sixteenth at most.

Each step is named by the longest length in it, and powers of two end one: for a `max_length` of 512 or 2,048 the count is exact.
"""

from collections import Counter
from collections.abc import Mapping

EXACT = 256
STEPS = 16
"""Steps in each doubling of the length."""


def steps(lengths: Mapping[int, int]) -> dict[str, int]:
    """The number of examples in each step of length, the shortest first."""
    counts: Counter[int] = Counter()
    for length, count in lengths.items():
        counts[_step(length)] += count
    return {str(length): counts[length] for length in sorted(counts)}


def fitting(counted: Mapping[str, int], most: int) -> int:
    """How many examples have at most `most` tokens; those in a step that goes beyond do not count."""
    return sum(count for length, count in counted.items() if length.isdecimal() and int(length) <= most)


def _step(length: int) -> int:
    if length <= EXACT:
        return length
    width = 1 << ((length - 1).bit_length() - 1)
    size = width // STEPS
    return -(-length // size) * size
