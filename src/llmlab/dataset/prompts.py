"""Read a chat as a prompt with the answer that a reward compares with, for `objective: grpo` and for a trial of a reward."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from llmlab.dataset.formats import Example, Kind, Message
from llmlab.dataset.forms import keys_of, plan_of
from llmlab.dataset.reasons import BadRow

OWN = frozenset({"prompts", "completions", "completion_ids", "answer", "trainer_state", "log_extra", "log_metric", "environments"})
"""Names of arguments that TRL itself passes to a reward function:
https://huggingface.co/docs/trl/grpo_trainer#using-a-custom-reward-function."""


class Prompt(NamedTuple):
    """A prompt and its answer. `prompt` is what a reward function gets, a string or messages; `columns` are keys the form does not read."""

    prompt: str | list[Message]
    messages: list[Message]
    tools: list[dict[str, Any]]
    answer: str
    columns: dict[str, Any]

    def completion(self, text: str) -> str | list[Message]:
        """A text as the completion of this prompt."""
        return completion_of(self.prompt, text)


def completion_of(prompt: str | list[Message], text: str) -> str | list[Message]:
    """A text as the completion of a prompt: a string of a string, messages of messages, as TRL has it."""
    return text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]


def prompt_of(row: Mapping[str, Any], example: Example) -> Prompt:
    """The prompt and the answer of a row.

    Raises:
        BadRow: it is no chat, nothing is asked in it, or its last answer is not words alone.
    """
    if example.kind is not Kind.CHAT:
        raise BadRow(f"a {example.kind} has no prompt with an answer")
    *messages, last = example.messages
    if not messages or last["role"] != "assistant" or last.get("tool_calls") or not isinstance(last.get("content"), str):
        raise BadRow("no prompt with an answer in words as the last message")
    form = plan_of(keys_of(row)).form
    needs = form.needs if form else ()
    reads = form.reads | OWN if form else OWN
    question = row.get(needs[0]) if len(needs) == 2 and len(messages) == 1 else None
    columns = {key: value for key, value in row.items() if key not in needs and key not in reads}
    return Prompt(question if isinstance(question, str) else messages, messages, example.tools, last["content"], columns)
