"""Which examples an optimizer step trains, and which of them share a row. The first changes the training, the second only its speed.

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

from llmlab.recipe import Recipe
from llmlab.trainer.data.token_dataset import Tokens
from llmlab.trainer.model.collate import MicroBatch, packed_row, padded_row


@dataclass(frozen=True)
class StepPlan:
    """Which items each step of a training over `count` items trains."""

    count: int
    per_step: int
    steps: int
    seed: int

    @classmethod
    def of(cls, recipe: Recipe, count: int) -> "StepPlan":
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
        """How many epochs are done after `steps` steps."""
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
class StepBatch:
    """This process's rows of one step, and the counts of items, tokens and trained tokens over all processes."""

    rows: tuple[MicroBatch, ...]
    items: int
    tokens: int
    trained: int


class Batches:
    """Makes rows of a step's items, for one of several processes."""

    def __init__(self, tokens: Tokens, recipe: Recipe, *, packed: bool, rank: int = 0, world_size: int = 1) -> None:
        self.tokens = tokens
        self.lengths = tokens.lengths()
        self.trained = np.asarray(tokens.trained).reshape(len(tokens), tokens.width).sum(1)
        self.capacity = recipe.batch_size * recipe.max_length * tokens.width
        self.batch_size = recipe.batch_size
        self.packed = packed
        self.rank, self.world_size = rank, world_size

    def step(self, items: Sequence[int] | np.ndarray[Any, Any]) -> StepBatch:
        groups = self.groups(np.asarray(items))
        mine = groups[self.rank]
        most = max(len(assigned) for assigned in groups)
        rows = [self.row(group) for group in mine]
        rows += [self._idle(int(np.asarray(items)[0]))] * (most - len(rows))
        return StepBatch(tuple(rows), len(items), int(self.lengths[items].sum()), int(self.trained[items].sum()))

    def groups(self, items: np.ndarray[Any, Any]) -> list[list[list[int]]]:
        """Items by process and row. Every process gets a like share of the tokens."""
        lengths = [int(self.lengths[item]) for item in items]
        if self.packed:
            fair = math.ceil(sum(lengths) / self.world_size)
            bins = pack(lengths, max(*lengths, min(self.capacity, fair)) if len(lengths) > 1 else max(lengths))
        else:
            order = sorted(range(len(items)), key=lambda at: (-lengths[at], at))
            size = min(self.batch_size, math.ceil(len(items) / self.world_size))
            bins = [order[start : start + size] for start in range(0, len(order), size)]
        shares: list[list[list[int]]] = [[] for _ in range(self.world_size)]
        loads = [0] * self.world_size
        for group in sorted(bins, key=lambda group: -sum(lengths[at] for at in group)):
            to = loads.index(min(loads))
            shares[to].append([int(items[at]) for at in group])
            loads[to] += sum(lengths[at] for at in group)
        return shares

    def row(self, items: Sequence[int]) -> MicroBatch:
        """The row of some items."""
        numbers = [item * self.tokens.width + side for item in items for side in range(self.tokens.width)]
        read = [self.tokens.sequence(number) for number in numbers]
        return packed_row(read, len(items)) if self.packed else padded_row(read, len(items))

    def _idle(self, item: int) -> MicroBatch:
        row = self.row([item])
        nothing = torch.zeros(0, dtype=torch.long)
        return MicroBatch(row.ids, row.position_ids, row.mask, row.documents, nothing, nothing, nothing, row.sequences, 0, 0)


def ahead(plan: StepPlan, batches: Batches, start: int) -> Iterator[StepBatch]:
    """The batch of each step from `start` on, made by a thread one step ahead."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        upcoming: Future[StepBatch] = pool.submit(lambda: batches.step(plan.items(start)))
        for step in range(start, plan.steps):
            ready = upcoming.result()
            if step + 1 < plan.steps:
                upcoming = pool.submit(lambda number: batches.step(plan.items(number)), step + 1)
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
