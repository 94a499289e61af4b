"""Which examples an optimizer step trains, and how they lie in memory. The first changes the training, the second only its speed.

A step is the next `batch_size x accumulate` items of an order shuffled by seed and epoch: arithmetic, so that resuming at a step needs
nothing but its number, and so that one, two or four processes train the same. A step's items then become rows of at most
`batch_size x max_length` tokens: packed behind each other by best fit (Johnson 1973), or padded together with others of their length.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmlab.recipe import Recipe
from llmlab.trainer.attention import Documents
from llmlab.trainer.store import Tokens


@dataclass(frozen=True)
class Plan:
    """The steps of a training over `count` items."""

    count: int
    per_step: int
    steps: int
    seed: int

    @classmethod
    def of(cls, recipe: Recipe, count: int) -> "Plan":
        per_epoch = math.ceil(count / recipe.step_examples)
        return cls(count, recipe.step_examples, recipe.max_steps or max(1, math.ceil(recipe.epochs * per_epoch)), recipe.seed)

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch; the last may be short."""
        return math.ceil(self.count / self.per_step)

    def items(self, step: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The items that step `step` (from 0) trains."""
        epoch, at = divmod(step, self.per_epoch)
        order = self._order(epoch)
        return order[at * self.per_step : (at + 1) * self.per_step]

    def epoch(self, steps: int) -> float:
        """How often the data was gone through after `steps` steps."""
        whole, rest = divmod(steps, self.per_epoch)
        return whole + min(1.0, rest * self.per_step / self.count)

    def _order(self, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        cached: tuple[int, Any] | None = getattr(self, "_cached", None)
        if cached is None or cached[0] != epoch:
            cached = (epoch, np.random.default_rng((self.seed, epoch)).permutation(self.count))
            object.__setattr__(self, "_cached", cached)
        order: np.ndarray[Any, np.dtype[np.int64]] = cached[1]
        return order


@dataclass(frozen=True)
class Row:
    """What one forward pass reads. `ids`, `positions` and `mask` are (batch, length); `documents` is None in a padded batch.

    `places` (n,) are the flattened positions that predict, `targets` (n,) what they should say, `owners` (n,) which of the row's
    `sequences` each belongs to. A row without items (`items == 0`) keeps a process in step with the others and weighs nothing.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor | None
    documents: Documents | None
    places: Tensor
    targets: Tensor
    owners: Tensor
    sequences: int
    items: int
    tokens: int

    def to(self, device: str) -> "Row":
        if device == "cpu":
            return self
        moved: dict[str, Any] = {
            name: value.pin_memory().to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in self.__dict__.items()
        }
        if self.documents:
            bounds = self.documents.on_device.pin_memory().to(device, non_blocking=True)
            moved["documents"] = Documents(self.documents.bounds, bounds, self.documents.longest)
        return Row(**moved)


@dataclass(frozen=True)
class Step:
    """This process's rows of one step, and what all processes together train in it."""

    rows: tuple[Row, ...]
    items: int
    tokens: int
    trained: int


class Batches:
    """Rows of a set of items for one of several processes, the next step's made while this one trains."""

    def __init__(self, tokens: Tokens, recipe: Recipe, *, packed: bool, rank: int = 0, processes: int = 1) -> None:
        self.tokens = tokens
        self.lengths = tokens.lengths()
        self.trained = np.asarray(tokens.trained).reshape(len(tokens), tokens.width).sum(1)
        self.capacity = recipe.batch_size * recipe.max_length * tokens.width
        self.batch_size = recipe.batch_size
        self.packed = packed
        self.rank, self.processes = rank, processes

    def step(self, items: Sequence[int] | np.ndarray[Any, Any]) -> Step:
        groups = self.groups(np.asarray(items))
        mine = groups[self.rank]
        most = max(len(one) for one in groups)
        rows = [self.row(group) for group in mine]
        rows += [self._idle(int(np.asarray(items)[0]))] * (most - len(rows))
        return Step(tuple(rows), len(items), int(self.lengths[items].sum()), int(self.trained[items].sum()))

    def groups(self, items: np.ndarray[Any, Any]) -> list[list[list[int]]]:
        """Items by process and row. Every process gets a like share of the tokens."""
        lengths = [int(self.lengths[item]) for item in items]
        if self.packed:
            fair = math.ceil(sum(lengths) / self.processes)
            bins = pack(lengths, max(*lengths, min(self.capacity, fair)) if len(lengths) > 1 else max(lengths))
        else:
            order = sorted(range(len(items)), key=lambda at: (-lengths[at], at))
            size = min(self.batch_size, math.ceil(len(items) / self.processes))
            bins = [order[start : start + size] for start in range(0, len(order), size)]
        shares: list[list[list[int]]] = [[] for _ in range(self.processes)]
        loads = [0] * self.processes
        for group in sorted(bins, key=lambda group: -sum(lengths[at] for at in group)):
            to = loads.index(min(loads))
            shares[to].append([int(items[at]) for at in group])
            loads[to] += sum(lengths[at] for at in group)
        return shares

    def row(self, items: Sequence[int]) -> Row:
        """The row of some items."""
        numbers = [item * self.tokens.width + one for item in items for one in range(self.tokens.width)]
        read = [self.tokens.sequence(number) for number in numbers]
        return packed_row(read, len(items)) if self.packed else padded_row(read, len(items))

    def _idle(self, item: int) -> Row:
        row = self.row([item])
        nothing = torch.zeros(0, dtype=torch.long)
        return Row(row.ids, row.positions, row.mask, row.documents, nothing, nothing, nothing, row.sequences, 0, 0)


def ahead(plan: Plan, batches: Batches, start: int) -> Iterator[Step]:
    """Each step from `start` on, made one step before it is asked for."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        asked: Future[Step] = pool.submit(lambda: batches.step(plan.items(start)))
        for step in range(start, plan.steps):
            ready = asked.result()
            if step + 1 < plan.steps:
                asked = pool.submit(lambda number: batches.step(plan.items(number)), step + 1)
            yield ready


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Bins of at most `capacity` (or of one longer item), the longest first, each into the fullest bin that still has room."""
    bins: list[list[int]] = []
    room: list[int] = []
    for at in sorted(range(len(lengths)), key=lambda at: (-lengths[at], at)):
        fitting = [(left, number) for number, left in enumerate(room) if left >= lengths[at]]
        if fitting:
            _, number = min(fitting)
            bins[number].append(at)
            room[number] -= lengths[at]
        else:
            bins.append([at])
            room.append(capacity - lengths[at])
    return bins


ROUND = 64
"""Packed rows are this many tokens or a multiple. A CPU's matrix library keeps 8 MB and compiles anew for each length it meets (measured:
331 MB over ten lengths, 258 rounded), and a GPU's tiles are whole."""

Read = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def packed_row(read: Sequence[Read], items: int) -> Row:
    """Sequences behind each other; positions start again at each. What rounds the row up is a document of its own, without loss."""
    lengths = np.array([len(ids) for ids, _ in read])
    count, tokens = len(read), int(lengths.sum())
    spare = -tokens % ROUND
    if spare:
        read = [*read, (np.zeros(spare, np.int64), np.zeros(spare, bool))]
        lengths = np.append(lengths, spare)
    bounds = np.concatenate([[0], lengths.cumsum()])
    ids = np.concatenate([ids for ids, _ in read]).astype(np.int64)
    mask = np.concatenate([mask for _, mask in read]).astype(bool)
    mask[bounds[:-1]] = False  # nothing comes before a sequence's first token, so nothing can predict it
    spoken = np.flatnonzero(mask)
    positions = np.arange(len(ids)) - np.repeat(bounds[:-1], lengths)
    documents = Documents(tuple(bounds.tolist()), torch.from_numpy(bounds.astype(np.int32)), int(lengths.max()))
    owners = np.repeat(np.arange(len(read)), lengths)[spoken]
    known, spot = _tensors(ids[None], positions[None]), _tensors(spoken - 1, ids[spoken], owners)
    return Row(known[0], known[1], None, documents, spot[0], spot[1], spot[2], count, items, tokens)


def padded_row(read: Sequence[Read], items: int) -> Row:
    """Sequences under each other, padded on the right to the longest."""
    longest = max(len(ids) for ids, _ in read)
    shape = (len(read), longest)
    ids, mask, loss = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, bool)
    for at, (one, spoken) in enumerate(read):
        ids[at, : len(one)], mask[at, : len(one)], loss[at, : len(one)] = one, 1, spoken
    loss[:, 0] = False
    places = np.flatnonzero(loss)
    positions = np.broadcast_to(np.arange(longest), shape).copy()
    known, spot = _tensors(ids, positions, mask), _tensors(places - 1, ids.reshape(-1)[places], places // longest)
    return Row(known[0], known[1], known[2], None, spot[0], spot[1], spot[2], len(read), items, int(mask.sum()))


def _tensors(*arrays: np.ndarray[Any, Any]) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(array) for array in arrays)
