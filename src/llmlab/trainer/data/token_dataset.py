"""Tokens on disk: written once in order, then mapped into memory by every process that trains.

A store is a folder of five flat arrays and nothing else. It is as large as the data needs and takes no memory of its own: the system
keeps the pages that are in use. Writing appends, so that a data set larger than memory is tokenised in the memory of one block.
"""

from collections.abc import Sequence as Several
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from llmlab.files import sync

IDS, MASK, OFFSETS, TRAINED, GOOD = "ids.u32", "mask.u8", "offsets.i64", "trained.i64", "good.u8"
TYPES: dict[str, Any] = {IDS: np.uint32, MASK: np.uint8, OFFSETS: np.int64, TRAINED: np.int64, GOOD: np.uint8}

Ids = np.ndarray[Any, np.dtype[np.uint32]]
Mask = np.ndarray[Any, np.dtype[np.uint8]]
Counts = np.ndarray[Any, np.dtype[np.int64]]


class Tokens:
    """The sequences to train on, item by item: one sequence (`width` 1), or a chosen and a rejected one (`width` 2).

    Attributes:
        ids: every sequence's tokens, one sequence behind the other; uint32[T].
        mask: 1 where a token carries loss, that is where it is to be predicted; uint8[T]. A sequence's first token never does.
        offsets: where each sequence begins, and where the last one ends; int64[N * width + 1].
        trained: tokens of each sequence that carry loss; int64[N * width].
        good: 0 for the sequences whose answer is labelled a bad one, 1 for all others; uint8[N * width].
    """

    def __init__(self, folder: Path, width: int) -> None:
        self.folder = folder
        self.width = width
        self.ids: Ids = _mapped(folder, IDS)
        self.mask: Mask = _mapped(folder, MASK)
        self.offsets: Counts = _mapped(folder, OFFSETS)
        self.trained: Counts = _mapped(folder, TRAINED)
        self.good: Mask = _mapped(folder, GOOD)

    def __reduce__(self) -> tuple[type["Tokens"], tuple[Path, int]]:
        """Another process opens the same files."""
        return Tokens, (self.folder, self.width)

    def __len__(self) -> int:
        """Items."""
        return len(self.trained) // self.width

    def lengths(self) -> Counts:
        """Tokens of each item, both sequences of a pair together; int64[N]."""
        return np.diff(self.offsets[:: self.width])

    def sequence(self, index: int) -> tuple[Ids, Mask]:
        """Ids and mask of sequence `index`, of `len(self) * width`."""
        span = slice(int(self.offsets[index]), int(self.offsets[index + 1]))
        return self.ids[span], self.mask[span]


@dataclass(frozen=True)
class Sequences:
    """Some sequences behind each other, with the length and the trained tokens of each."""

    ids: Ids
    mask: Mask
    lengths: Counts
    trained: Counts
    good: Mask

    @classmethod
    def of(cls, pairs: Several[tuple[Ids, Mask]], good: Several[bool] | None = None) -> "Sequences":
        return cls(
            _joined([ids for ids, _ in pairs], np.uint32),
            _joined([mask for _, mask in pairs], np.uint8),
            np.array([len(ids) for ids, _ in pairs], np.int64),
            np.array([mask.sum() for _, mask in pairs], np.int64),
            np.array([True] * len(pairs) if good is None else good, np.uint8),
        )


class Writer:
    """Appends sequences to a new store. Used as a context; the files are on the disk when it ends well."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.end = 0
        self.streams: dict[str, BinaryIO] = {}

    def __enter__(self) -> Self:
        self.streams = {name: (self.folder / name).open("wb") for name in TYPES}
        self._put(OFFSETS, np.zeros(1, np.int64))
        return self

    def __exit__(self, kind: object, _value: object, _trace: object) -> None:
        for stream in self.streams.values():
            stream.close()
        if kind is None:
            for name in TYPES:
                sync(self.folder / name)
            sync(self.folder)

    def append(self, sequences: Sequences) -> None:
        if len(sequences.lengths):
            self._put(IDS, sequences.ids)
            self._put(MASK, sequences.mask)
            self._put(OFFSETS, self.end + np.cumsum(sequences.lengths, dtype=np.int64))
            self._put(TRAINED, sequences.trained)
            self._put(GOOD, sequences.good)
            self.end += int(sequences.lengths.sum())

    def _put(self, name: str, values: Any) -> None:
        self.streams[name].write(np.ascontiguousarray(values, TYPES[name]).data)


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of each file of a store, by name."""
    return {name: (folder / name).stat().st_size for name in TYPES}


def _joined(parts: list[Any], dtype: Any) -> Any:
    """Arrays behind each other, also none of them."""
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _mapped(folder: Path, name: str) -> Any:
    """A file as an array that cannot be written to. An empty file cannot be mapped, and an empty array stands for it."""
    path = folder / name
    return np.memmap(path, dtype=TYPES[name], mode="r").view(np.ndarray) if path.stat().st_size else np.empty(0, TYPES[name])
