"""The rules that are turned on in addition to those that always hold: by name, or by a mode."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from llmlab.sandbox.refusals.rule import On, Rule

MODES = {"new-account": On.NEW_ACCOUNT}


@dataclass
class Switch:
    """The rules turned on. `named`: rule → amount, None for the rule's own; `mended`: rules of the modes that are turned off."""

    named: dict[str, float | None] = field(default_factory=dict)
    modes: set[On] = field(default_factory=set)
    mended: set[str] = field(default_factory=set)

    def holds(self, rule: Rule) -> bool:
        return rule.on is On.ALWAYS or rule.name in self.named or (rule.on in self.modes and rule.name not in self.mended)

    def amount(self, rule: Rule) -> float:
        override = self.named.get(rule.name)
        return rule.amount if override is None else override

    def set(self, other: "Switch") -> None:
        """Copy the rules and modes of another switch."""
        self.named, self.modes, self.mended = dict(other.named), set(other.modes), set(other.mended)

    def turn_on(self, rules: Iterable[str], modes: Iterable[str] = ()) -> None:
        """Turn on rules, each as `name` or `name=amount`, and modes. Raises ValueError for an unknown rule or mode."""
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
            self.mended.clear()

    def turn_off(self, *names: str) -> None:
        """Turn off rules, also those of a mode, or whole modes; without a name, all rules and modes."""
        if not names:
            self.set(Switch())
        for name in names:
            self.named.pop(name, None)
            self.mended.add(name)
            if name in MODES:
                self.modes.discard(MODES[name])


SWITCH = Switch()


def holds(name: str) -> bool:
    """Whether a rule holds now."""
    from llmlab.sandbox.refusals.table import BY_NAME

    return SWITCH.holds(BY_NAME[name])


def amount(name: str) -> float:
    """How many calls or seconds a temporary rule lasts now."""
    from llmlab.sandbox.refusals.table import BY_NAME

    return SWITCH.amount(BY_NAME[name])


@contextmanager
def switched(*rules: str, modes: Iterable[str] = ()) -> Iterator[Switch]:
    """Turn on rules and modes in this process while the context lasts."""
    before = Switch(dict(SWITCH.named), set(SWITCH.modes), set(SWITCH.mended))
    SWITCH.turn_on(rules, modes)
    try:
        yield SWITCH
    finally:
        SWITCH.set(before)
