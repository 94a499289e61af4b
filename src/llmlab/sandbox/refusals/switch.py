"""Which rules hold that do not hold always: those called by name, and those of a mode."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from llmlab.sandbox.refusals.rule import On, Rule

MODES = {"new-account": On.NEW_ACCOUNT}


@dataclass
class Switch:
    """Name of a rule → its amount, or None for the rule's own; and the modes."""

    named: dict[str, float | None] = field(default_factory=dict)
    modes: set[On] = field(default_factory=set)

    def holds(self, rule: Rule) -> bool:
        return rule.on is On.ALWAYS or rule.on in self.modes or rule.name in self.named

    def amount(self, rule: Rule) -> float:
        given = self.named.get(rule.name)
        return rule.amount if given is None else given

    def set(self, other: "Switch") -> None:
        """Let exactly those rules and modes hold that another switch names."""
        self.named, self.modes = dict(other.named), set(other.modes)

    def turn_on(self, rules: Iterable[str], modes: Iterable[str] = ()) -> None:
        """Turn on rules, each as `name` or `name=amount`, and modes. Raises ValueError for what is in no table."""
        from llmlab.sandbox.refusals.table import BY_NAME

        for text in rules:
            name, _, amount = text.partition("=")
            if name not in BY_NAME:
                raise ValueError(f"there is no rule {name}")
            self.named[name] = float(amount) if amount else None
        for mode in modes:
            if mode not in MODES:
                raise ValueError(f"there is no mode {mode}, but {', '.join(MODES)}")
            self.modes.add(MODES[mode])

    def turn_off(self, *names: str) -> None:
        """Let rules hold no more: those named, or all and every mode."""
        if not names:
            self.modes.clear()
        for name in names or list(self.named):
            self.named.pop(name, None)
            if name in MODES:
                self.modes.discard(MODES[name])


SWITCH = Switch()


@contextmanager
def switched(*rules: str, modes: Iterable[str] = ()) -> Iterator[Switch]:
    """Rules and modes on for a while, in this process."""
    before = Switch(dict(SWITCH.named), set(SWITCH.modes))
    SWITCH.turn_on(rules, modes)
    try:
        yield SWITCH
    finally:
        SWITCH.set(before)
