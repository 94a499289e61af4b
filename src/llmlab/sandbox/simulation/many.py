"""Schedule after schedule: what was seen in all of them, and what did not hold."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from llmlab.sandbox.simulation import invariants, scenario, weather
from llmlab.sandbox.simulation.invariants import Violation
from llmlab.sandbox.simulation.world import Parts, World

Make = Callable[[int, Parts], World]


def make(seed: int, parts: Parts) -> World:
    """The schedule of a seed, in memory."""
    return World(scenario.made(seed), parts)


@dataclass
class Summary:
    """What was seen: `seen` by the names of `History.seen`, `ends` by end reason; hours are simulated ones."""

    schedules: int = 0
    attempts: int = 0
    invocations: int = 0
    hours: float = 0.0
    checks: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    def add(self, other: "Summary") -> None:
        for name in ("schedules", "attempts", "invocations", "hours", "checks"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.seen += other.seen
        self.ends += other.ends
        self.violations += other.violations

    @property
    def interruptions(self) -> dict[str, int]:
        """By what struck."""
        return {str(one): self.seen[str(one)] for one in weather.Strike if self.seen[str(one)]}

    def document(self) -> dict[str, Any]:
        """As plain data."""
        decisions = {name: count for name, count in sorted(self.seen.items()) if name.startswith("decision: ")}
        rest = {name: count for name, count in sorted(self.seen.items()) if name not in {*decisions, *self.interruptions}}
        return {
            "schedules": self.schedules,
            "instances": self.attempts,
            "invocations of the watchdog": self.invocations,
            "simulated hours": round(self.hours),
            "struck": self.interruptions,
            "weather": rest,
            "decisions": {name.removeprefix("decision: "): count for name, count in decisions.items()},
            "ends": dict(sorted(self.ends.items())),
            "invariants": len(invariants.ALL),
            "checks": self.checks,
            "violations": [asdict(one) for one in self.violations],
        }


def play(seed: int, parts: Parts = Parts(), make: Make = make) -> Summary:  # noqa: B008 - frozen
    """One schedule, and every invariant after it."""
    world = make(seed, parts)
    history = world.play()
    after = world.after()
    marker = after.marker
    hours = (world.timeline.moment - world.scenario.begin.timestamp()) / 3600
    return Summary(
        1, len(history.lives), world.function.invocations, hours, len(invariants.ALL), history.seen,
        Counter([str(marker.reason) if marker else "never started"]), invariants.check(after),
    )  # fmt: skip


def play_all(seeds: Iterable[int], workers: int = 1) -> Iterator[Summary]:
    """One summary a seed, in their order."""
    if workers == 1:
        yield from map(play, seeds)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(play, seeds, chunksize=4)
