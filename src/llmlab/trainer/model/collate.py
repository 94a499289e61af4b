"""How sequences lie in memory for one forward pass: packed behind each other, or padded under each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llmlab.trainer.model.varlen_attention import Documents

ROUND = 64
"""Packed rows are this many tokens or a multiple. A CPU's matrix library keeps 8 MB and compiles anew for each length it meets (measured:
331 MB over ten lengths, 258 rounded), and a GPU's tiles are whole."""

Read = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


@dataclass(frozen=True)
class MicroBatch:
    """The input of one forward pass. `ids`, `position_ids` and `mask` are (batch, length); `documents` is None in a padded batch.

    `loss_positions` (n,) are the flattened positions that predict, `targets` (n,) the tokens they should predict, `sequence_ids` (n,) which
    of the row's `sequences` each belongs to. A row without items (`items == 0`) keeps a process in step with the others and weighs nothing.
    """

    ids: Tensor
    position_ids: Tensor
    mask: Tensor | None
    documents: Documents | None
    loss_positions: Tensor
    targets: Tensor
    sequence_ids: Tensor
    sequences: int
    items: int
    tokens: int

    def to(self, device: str) -> "MicroBatch":
        if device == "cpu":
            return self
        moved: dict[str, Any] = {
            name: value.pin_memory().to(device, non_blocking=True) if isinstance(value, Tensor) else value
            for name, value in self.__dict__.items()
        }
        if self.documents:
            cu_seqlens = self.documents.on_device.pin_memory().to(device, non_blocking=True)
            moved["documents"] = Documents(self.documents.cu_seqlens, cu_seqlens, self.documents.max_seqlen)
        return MicroBatch(**moved)


def packed_row(read: Sequence[Read], items: int) -> MicroBatch:
    """Pack sequences behind each other; positions start again at each. What rounds the row up is a document of its own, without loss."""
    lengths = np.array([len(ids) for ids, _ in read])
    count, tokens = len(read), int(lengths.sum())
    spare = -tokens % ROUND
    if spare:
        read = [*read, (np.zeros(spare, np.int64), np.zeros(spare, bool))]
        lengths = np.append(lengths, spare)
    cu_seqlens = np.concatenate([[0], lengths.cumsum()])
    ids = np.concatenate([ids for ids, _ in read]).astype(np.int64)
    mask = np.concatenate([mask for _, mask in read]).astype(bool)
    mask[cu_seqlens[:-1]] = False  # nothing comes before a sequence's first token, so nothing can predict it
    spoken = np.flatnonzero(mask)
    positions = np.arange(len(ids)) - np.repeat(cu_seqlens[:-1], lengths)
    documents = Documents(tuple(cu_seqlens.tolist()), torch.from_numpy(cu_seqlens.astype(np.int32)), int(lengths.max()))
    sequence_ids = np.repeat(np.arange(len(read)), lengths)[spoken]
    known, spot = _tensors(ids[None], positions[None]), _tensors(spoken - 1, ids[spoken], sequence_ids)
    return MicroBatch(known[0], known[1], None, documents, spot[0], spot[1], spot[2], count, items, tokens)


def padded_row(read: Sequence[Read], items: int) -> MicroBatch:
    """Put sequences under each other, padded on the right to the longest."""
    longest = max(len(ids) for ids, _ in read)
    shape = (len(read), longest)
    ids, mask, loss = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, bool)
    for at, (sequence, spoken) in enumerate(read):
        ids[at, : len(sequence)], mask[at, : len(sequence)], loss[at, : len(sequence)] = sequence, 1, spoken
    loss[:, 0] = False
    places = np.flatnonzero(loss)
    positions = np.broadcast_to(np.arange(longest), shape).copy()
    known, spot = _tensors(ids, positions, mask), _tensors(places - 1, ids.reshape(-1)[places], places // longest)
    return MicroBatch(known[0], known[1], known[2], None, spot[0], spot[1], spot[2], len(read), items, int(mask.sum()))


def _tensors(*arrays: np.ndarray[Any, Any]) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(array) for array in arrays)
