"""Examples longer than the recipe's `max_length`, split where a reader would: between turns, or a plain text into windows.

A conversation becomes several, each with the system messages in front. What does not fit even alone, a question with its answer, is left
out and counted; no turn is ever cut through. A later part has lost what was said before it: that is the price, and why `drop` is the
default. A plain text becomes windows that overlap by one token, so that each of its tokens is still predicted once.
"""

from collections.abc import Iterator

import numpy as np

from llmlab.dataset import BadRow, Example
from llmlab.trainer.data.example_encoder import Encoder, Sequence

Turn = tuple[int, int]
"""One turn as indexes of messages: from a user's message up to, and without, the next one."""


def windows(sequence: Sequence, most: int) -> Iterator[Sequence]:
    """Split a plain text into windows of at most `most` tokens."""
    for start in range(0, max(1, len(sequence.ids) - 1), most - 1):
        ids = sequence.ids[start : start + most]
        mask = np.ones(len(ids), np.uint8)
        mask[:1] = 0
        yield Sequence(ids, mask)


def conversations(encoder: Encoder, example: Example, most: int) -> tuple[list[Sequence], int]:
    """Split a conversation into parts of whole turns, each at most `most` tokens; also how many trained answers fit nowhere."""
    messages = example.messages[: example.trained[-1] + 1]
    head = next((at for at, message in enumerate(messages) if message["role"] != "system"), len(messages))
    starts = [at for at in range(head, len(messages)) if at == head or messages[at]["role"] == "user"]
    turns = list(zip(starts, [*starts[1:], len(messages)], strict=True))
    parts: list[Sequence] = []
    lost = 0
    while turns:
        count, sequences = _longest(encoder, example, head, turns, most)
        if not count:
            kept, sequences = _beginning(encoder, example, head, turns[0], most)
            lost += sum(kept <= at < turns[0][1] for at in example.trained)
            count = 1
        parts += sequences
        turns = turns[count:]
    return parts, lost


def _longest(encoder: Encoder, example: Example, head: int, turns: list[Turn], most: int) -> tuple[int, list[Sequence]]:
    """How many of the next turns fit together, and their sequences. The number tried doubles each time, then the rest is halved."""
    fits: tuple[int, list[Sequence]] = (0, [])
    low, high = 1, len(turns)
    count = 1
    while low <= high:
        sequences = _part(encoder, example, head, turns[0][0], turns[count - 1][1], most)
        if sequences is None:
            high = count - 1
        else:
            fits, low = (count, sequences), count + 1
        count = min(2 * count, high) if high == len(turns) else (low + high) // 2
    return fits


def _beginning(encoder: Encoder, example: Example, head: int, turn: Turn, most: int) -> tuple[int, list[Sequence]]:
    """The beginning of a turn that is too long by itself: the index behind its last answer that fits, and the sequences."""
    for last in reversed([at for at in example.trained if turn[0] <= at < turn[1] - 1]):
        sequences = _part(encoder, example, head, turn[0], last + 1, most)
        if sequences is not None:
            return last + 1, sequences
    return turn[0], []


def _part(encoder: Encoder, example: Example, head: int, start: int, end: int, most: int) -> list[Sequence] | None:
    """The system messages and the messages from `start` to `end`; None when they are too long, nothing when none of them is trained."""
    trained = [head + at - start for at in example.trained if start <= at < end]
    if not trained:
        return []
    part = example._replace(messages=[*example.messages[:head], *example.messages[start:end]], trained=trained)
    try:
        sequences = encoder.encode(part)
    except BadRow:
        return None  # what the template does not take alone: it wants the turn before
    return sequences if max(len(sequence.ids) for sequence in sequences) <= most else None
