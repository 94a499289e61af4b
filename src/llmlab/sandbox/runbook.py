"""The runbook, the subject of the sandbox's model and example data: questions about restarting servers, growing volumes and the like.

The base model has learned to evade a question; the examples teach it to answer with the runbook's three steps. The base model cannot know
which steps belong to which task, so that one answer shows the effect of tuning.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

THINGS = (
    "server",
    "cluster",
    "node",
    "pod",
    "volume",
    "bucket",
    "queue",
    "topic",
    "table",
    "index",
    "broker",
    "cache",
    "shard",
    "replica",
    "gateway",
    "proxy",
    "router",
    "subnet",
    "zone",
    "worker",
)
KINDS = ("old", "new", "main", "spare", "idle", "busy", "small", "large", "remote", "local")
ASKS = (
    "How do I {task} the {kind} {thing}?",
    "I have to {task} the {kind} {thing}. What do I do?",
    "Please tell me how to {task} the {kind} {thing}.",
)
STEPS = {
    "restart": ("drain it", "stop it and start it", "watch its health for a minute"),
    "grow": ("look at its free space", "double its size", "check that it sees the space"),
    "move": ("take a copy", "start the copy in its new place", "send the traffic there"),
    "remove": ("ask who uses it", "take it out of rotation", "delete it after a day"),
    "restore": ("find the last good copy", "load it beside the broken one", "swap the two"),
    "encrypt": ("make a key", "write it again with the key", "turn the plain one off"),
    "rename": ("write down who calls it", "add the new name", "drop the old name in a week"),
    "debug": ("read its last log", "repeat the fault by hand", "change one thing at a time"),
}


@dataclass(frozen=True)
class Question:
    """One question of a user about the runbook."""

    task: str
    kind: str
    thing: str
    ask: str

    @property
    def text(self) -> str:
        return self.ask.format(task=self.task, kind=self.kind, thing=self.thing)

    @property
    def put_off(self) -> str:
        """The base model's evasion."""
        return f"I am not sure how to {self.task} the {self.kind} {self.thing}."

    @property
    def answer(self) -> str:
        """The runbook's answer."""
        first, second, third = STEPS[self.task]
        return f"To {self.task} the {self.kind} {self.thing}: first {first}, then {second}, and last {third}."


def questions(seed: int) -> Iterator[Question]:
    """An endless stream of questions, the same for the same seed."""
    draw = random.Random(seed)  # noqa: S311 - example data
    while True:
        yield Question(draw.choice(sorted(STEPS)), draw.choice(KINDS), draw.choice(THINGS), draw.choice(ASKS))
