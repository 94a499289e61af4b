"""Find duplicate examples of a dataset by their digests, in memory that does not grow with the data."""

import tempfile
from array import array
from typing import IO

BUCKETS = 256
HELD = 4 << 20
"""Digests held in memory, 16 bytes each with their place; beyond that they wait on disk."""
SHOWN_PLACES = 20
"""Places of a kind that a report names."""
LINE_BITS = 40
LINE_MASK = (1 << LINE_BITS) - 1


class Digests:
    """Finds repeated digests in bounded memory: they are dealt into buckets by value, and one bucket is searched at a time."""

    def __init__(self, held: int = HELD) -> None:
        self._limit = held
        self._held = 0
        self._buckets = [array("Q") for _ in range(BUCKETS)]
        self._spilled: list[IO[bytes]] = []

    def add(self, digests: "array[int]", numbers: "array[int]", file: int, base: int) -> None:
        """Add digests and their lines, which count from `base`, of file number `file`."""
        start = (file << LINE_BITS) + base
        buckets = self._buckets
        for digest, number in zip(digests, numbers, strict=True):
            buckets[digest >> 56].extend((digest, start + number))
        self._held += len(digests)
        if self._held > self._limit:
            self._spill()

    def _spill(self) -> None:
        if not self._spilled:
            self._spilled = [tempfile.TemporaryFile(prefix="llmlab-") for _ in range(BUCKETS)]  # noqa: SIM115 - closed by close()
        for file, bucket in zip(self._spilled, self._buckets, strict=True):
            bucket.tofile(file)
            del bucket[:]
        self._held = 0

    def repeated(self) -> tuple[int, list[tuple[int, int]]]:
        """The number of repeated digests, and of the first of them the place and the place that it repeats."""
        count = 0
        pairs: list[tuple[int, int]] = []
        for index, held in enumerate(self._buckets):
            if not held and not self._spilled:
                continue
            bucket = held
            if self._spilled:
                bucket = array("Q")
                self._spilled[index].seek(0)
                bucket.frombytes(self._spilled[index].read())
                bucket.extend(held)
            if len(set(bucket[::2])) * 2 == len(bucket):
                continue
            first: dict[int, int] = {}
            for place, digest in sorted(zip(bucket[1::2], bucket[::2], strict=True)):
                if first.setdefault(digest, place) != place:
                    count += 1
                    pairs.append((place, first[digest]))
            pairs = sorted(pairs)[:SHOWN_PLACES]
        return count, pairs

    def close(self) -> None:
        for file in self._spilled:
            file.close()
