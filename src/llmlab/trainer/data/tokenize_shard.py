"""Tokenises a range of a dataset's lines into a block: sequences, counts, and the first fatal line, if there is one.

Examples wait as text until there are enough for the tokenizer to take at once. Each is held out or not by its own content, kept, split or
left out by its length, and counted whatever happens to it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import orjson

from llmlab import dataset
from llmlab.dataset import BadRow, Example, Kind, LeftOut, Line
from llmlab.dataset.origin import origin_of
from llmlab.dataset.prompts import Prompt, prompt_of
from llmlab.dataset.rendering.drafts import Draft, OtherObjective
from llmlab.trainer.data import grpo_prompts, split_long
from llmlab.trainer.data.example_encoder import Encoder, Sequence
from llmlab.trainer.data.facts import Facts
from llmlab.trainer.data.token_dataset import Sequences

MOST_LINES, MOST_CHARACTERS = 256, 1 << 19
"""Limits of what is tokenised at once: the tokenizer takes some hundred bytes for each token while it works."""

Tick = Callable[[], None]


@dataclass(frozen=True)
class Rules:
    """The recipe's settings for the data."""

    max_length: int
    split: bool
    share: float
    skip_bad: bool
    completion: int = 0
    """Most tokens of a completion that the model generates (grpo; else 0); the row's own answer takes none then."""
    valid: tuple[int, ...] = ()
    """Indexes of files that are held out whole; where there are any, nothing of the other files is."""

    def of(self, file: int) -> "Rules":
        """The rules for one file."""
        return replace(self, share=1.0) if file in self.valid else self


@dataclass
class Block:
    """The sequences and counts of a range of lines. Line numbers are relative to its start."""

    lines: int = 0
    facts: Facts = field(default_factory=Facts)
    train: Sequences = field(default_factory=lambda: Sequences.of([]))
    held_out: Sequences = field(default_factory=lambda: Sequences.of([]))
    train_prompts: list[bytes] = field(default_factory=list)
    held_out_prompts: list[bytes] = field(default_factory=list)
    """For rewards: the prompt row of each sequence, as a line of JSON."""
    control_at: int = 0
    """The first line that spells a control token; 0 for none."""
    bad_at: int | None = None
    """The bad line that ended tokenisation; None where there is none or bad lines are left out."""
    reason: str = ""
    origin: str = ""
    """That line's file:line before the upload rewrote the file; "" where it was not rewritten."""
    objective: str = ""
    """The objective that the bad line suits, when its objective is all that is wrong with it."""


def make(lines: Iterable[Line], encoder: Encoder, rules: Rules, tick: Tick = lambda: None) -> Block:
    """Tokenise some lines; blank ones are counted too."""
    making = _Making(encoder, rules)
    try:
        for line in lines:
            making.add(line)
            if making.is_full:
                making.flush()
                tick()
        making.flush()
    except _Fatal as fatal:
        making.block.bad_at, making.block.reason, making.block.objective = fatal.number, str(fatal), fatal.objective
        making.block.origin = fatal.origin
    return making.done()


class _Fatal(Exception):
    """A bad line that ends tokenisation."""

    def __init__(self, number: int, error: BadRow, origin: str) -> None:
        super().__init__(str(error))
        self.number = number
        self.origin = origin
        self.objective = error.objective if isinstance(error, OtherObjective) else ""


@dataclass
class _Pending:
    number: int
    example: Example
    drafts: list[Draft]
    held_out: bool
    origin: str
    prompt: Prompt | None = None


class _Making:
    """Builder of a block: examples wait as text until there are enough for the tokenizer."""

    def __init__(self, encoder: Encoder, rules: Rules) -> None:
        self.encoder = encoder
        self.rules = rules
        self.block = Block()
        self.pending: list[_Pending] = []
        self.characters = 0
        self.train: list[Sequence] = []
        self.held_out: list[Sequence] = []

    @property
    def is_full(self) -> bool:
        return len(self.pending) >= MOST_LINES or self.characters >= MOST_CHARACTERS

    def done(self) -> Block:
        for side, sequences in (("train", self.train), ("held_out", self.held_out)):
            setattr(
                self.block,
                side,
                Sequences.of([(sequence.ids, sequence.mask) for sequence in sequences], [sequence.good for sequence in sequences]),
            )
        return self.block

    def add(self, line: Line) -> None:
        self.block.lines = line.number
        if line.skipped:
            self.block.facts.left_out += 1
        elif line.reason:
            self._bad(line.number, BadRow(line.reason))
        if line.row is None:
            return
        try:
            self._example(line.number, line.row)
        except LeftOut:
            self.block.facts.left_out += 1
        except RecursionError:
            self._bad(line.number, BadRow("nested too deeply"), origin_of(line.row))
        except BadRow as error:
            self._bad(line.number, error, origin_of(line.row))

    def _example(self, number: int, row: dict[str, Any]) -> None:
        example = dataset.to_example(row)
        place = place_of(example)
        prompt = None
        if self.rules.completion and example.kind is Kind.CHAT:
            prompt = prompt_of(row, example)
            example = example._replace(trained=[len(example.messages) - 1])
        drafts = self.encoder.drafter.drafts(example)
        facts = self.block.facts
        facts.tools_ignored += bool(example.tools) and not self.encoder.template.shows_tools
        facts.thoughts_ignored += self.encoder.drafter.drops_thoughts(example, drafts)
        if self.encoder.drafter.spells_control(example):
            facts.control += 1
            self.block.control_at = self.block.control_at or number
        facts.cut += sum("cut" in example.messages[at] for at in example.trained)
        self.pending.append(_Pending(number, example, drafts, place < self.rules.share, origin_of(row), prompt))
        self.characters += sum(len(draft.text) for draft in drafts)

    def _bad(self, number: int, error: BadRow, origin: str = "") -> None:
        if self.rules.skip_bad and not isinstance(error, OtherObjective):
            self.block.facts.bad += 1
            return
        waiting, self.pending = self.pending, []
        self._code([pending for pending in waiting if pending.number < number])  # one of them may be the first that is at fault
        raise _Fatal(number, error, origin)

    def flush(self) -> None:
        """Tokenise all pending examples at once."""
        waiting, self.pending, self.characters = self.pending, [], 0
        self._code(waiting)

    def _code(self, waiting: list[_Pending]) -> None:
        coded = iter(self.encoder.sequences([draft for pending in waiting for draft in pending.drafts]))
        for pending in waiting:
            sequences = self.encoder.paired(pending.example, [next(coded) for _ in pending.drafts])
            if isinstance(sequences, BadRow):
                self._bad(pending.number, sequences, pending.origin)
            else:
                self._keep(pending, sequences)

    def _keep(self, pending: _Pending, sequences: list[Sequence]) -> None:
        facts = self.block.facts
        facts.endless += sum(not self.encoder.drafter.stops(draft) for draft in pending.drafts)
        kept = self._fitting(pending.example, sequences)
        if not kept:
            return
        facts.examples += 1
        facts.held_out += pending.held_out
        facts.sequences += len(kept)
        facts.tokens += sum(len(sequence.ids) for sequence in kept)
        facts.trained += sum(sequence.trained for sequence in kept)
        if pending.example.label is False:
            kept = [replace(sequence, good=False) for sequence in kept]
        (self.held_out if pending.held_out else self.train).extend(kept)
        if pending.prompt:
            side = self.block.held_out_prompts if pending.held_out else self.block.train_prompts
            side.append(grpo_prompts.line_of(pending.prompt, pending.number, pending.origin))

    def _fitting(self, example: Example, sequences: list[Sequence]) -> list[Sequence]:
        """The sequences as they are, split, or none of them."""
        facts, most = self.block.facts, self.rules.max_length
        longest = max(len(sequence.ids) for sequence in sequences)
        if self.rules.completion:
            longest = int(sequences[0].mask.argmax()) + self.rules.completion
        if longest <= most:
            if not any(sequence.trained for sequence in sequences):
                facts.empty += 1
                return []
            return sequences
        facts.longest = max(facts.longest, longest)
        kept: list[Sequence] = []
        if self.rules.split and example.kind is Kind.TEXT:
            kept = list(split_long.windows(sequences[0], most))
        elif self.rules.split and example.kind is Kind.CHAT:
            kept, lost = split_long.conversations(self.encoder, example, most)
            facts.answers_lost += lost if kept else 0
        facts.split += bool(kept)
        facts.too_long += not kept
        return kept


def place_of(example: Example) -> float:
    """Hash of an example's content as a number from 0 to 1: the example is held out when it is less than the share.

    Ids of tool calls do not count, because they differ from log to log, nor does which answers are trained: equal content gets an equal
    number.

    Raises:
        BadRow: its strings are not Unicode text.
    """
    sides = [
        [
            [
                message["role"],
                message["content"],
                message.get("reasoning_content"),
                [call["function"] for call in message.get("tool_calls", ())],
            ]
            for message in side
        ]
        for side in (example.messages, example.chosen, example.rejected)
    ]
    try:
        content = orjson.dumps([*sides, example.tools, example.text], option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:
        surrogate = "surrogates" in str(error)
        raise BadRow("its characters are not Unicode text: half of a surrogate pair" if surrogate else f"not JSON: {error}") from error
    return int.from_bytes(blake2b(content, digest_size=7).digest(), "big") / 2**56
