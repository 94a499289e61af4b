"""Counts of a tokenised dataset, and their sentences for the training log and the model card."""

from collections.abc import Iterator
from dataclasses import dataclass, fields


@dataclass
class Facts:
    """Counts of the data and of what was left out. `sequences`, `tokens` and `trained` are of all examples, held out or not."""

    examples: int = 0
    sequences: int = 0
    tokens: int = 0
    trained: int = 0
    held_out: int = 0
    """Examples that training never sees."""
    bad: int = 0
    left_out: int = 0
    """Rows of logs that teach nothing, such as failed requests."""
    cut: int = 0
    """Answers that were cut off, and are learned without their end."""
    empty: int = 0
    """Texts without a token to predict."""
    too_long: int = 0
    """Examples left out for their length."""
    longest: int = 0
    """Tokens of the longest of those left out or split."""
    split: int = 0
    """Examples made into several."""
    answers_lost: int = 0
    """Answers of split examples that fit nowhere."""
    tools_ignored: int = 0
    thoughts_ignored: int = 0
    control: int = 0
    """Examples whose content spells a control token."""
    control_first: str = ""
    """Where the first of them is, as file:line."""
    endless: int = 0
    """Sequences whose answer ends in no control token."""

    def add(self, more: "Facts") -> None:
        """Add up another part's counts."""
        for field in fields(self):
            if field.name == "longest":
                self.longest = max(self.longest, more.longest)
            elif field.name == "control_first":
                self.control_first = self.control_first or more.control_first
            else:
                setattr(self, field.name, getattr(self, field.name) + getattr(more, field.name))

    def lines(self, max_length: int, share: float = 0.0) -> Iterator[str]:
        """The counts in words. `share` is what the recipe holds out."""
        yield (
            f"data: {self.examples} examples in {self.sequences} sequences, {self.tokens} tokens, "
            f"{self.trained / max(1, self.tokens):.0%} of them trained on"
        )
        if self.held_out:
            how = "chosen by a hash of each" if share else "which are the files named valid"
            yield f"data: {self.held_out} examples held out for evaluation, {how}"
        elif share:
            yield f"warning: no example is held out: {share:.0%} of {self.examples} fell on none, so there is no evaluation loss"
        yield from self._left_out(max_length)
        if self.tools_ignored:
            yield f"warning: {self.tools_ignored} examples have tools, which the model's chat template does not show to the model"
        if self.thoughts_ignored:
            yield f"warning: {self.thoughts_ignored} examples have thoughts, which the model's chat template does not show to the model"
        if self.control:
            yield (
                f"warning: {self.control} examples spell a control token in their content, which the model reads as one, "
                f"as it would when served (the first is {self.control_first})"
            )
        if self.endless:
            yield f"warning: the chat template ends {self.endless} answers with no control token, so that the model may not learn to stop"

    def _left_out(self, max_length: int) -> Iterator[str]:
        """What is not learned from as it stands, in words."""
        if self.too_long:
            yield f"data: {self.too_long} longer than {max_length} tokens left out (the longest has {self.longest})"
        if self.split:
            yield f"data: {self.split} longer than {max_length} tokens split (the longest has {self.longest})"
        if self.answers_lost:
            yield f"warning: {self.answers_lost} answers of split examples left out, which do not fit even with their question alone"
        if self.bad:
            yield f"data: {self.bad} bad lines left out, as the upload allowed"
        if self.left_out:
            yield f"data: {self.left_out} rows of logs left out that teach nothing, such as failed requests"
        if self.cut:
            yield f"data: {self.cut} answers were cut off at their limit, and are learned without an end of turn"
        if self.empty:
            yield f"data: {self.empty} empty texts left out"
