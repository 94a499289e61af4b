"""Play many schedules, and count their events and violations."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from tests.simulation import invariants, scenario, weather
from tests.simulation.invariants import Violation
from tests.simulation.world import Parts, World

Make = Callable[[int, Parts], World]


def make(seed: int, parts: Parts) -> World:
    """The world of a seed, on the account in memory."""
    return World(scenario.made(seed), parts)


def make_on_sandbox(seed: int, parts: Parts) -> World:
    """The world of a seed on the sandbox's own AWS, which takes some ten times as long."""
    from tests.simulation.moto_cloud import MotoCloud

    return World(scenario.made(seed), parts, MotoCloud)


@dataclass
class ScheduleSummary:
    """The counts of one or more schedules: `seen` by the names of `History.seen`, `ends` by end reason; hours are simulated ones."""

    schedules: int = 0
    attempts: int = 0
    invocations: int = 0
    hours: float = 0.0
    checks: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    def add(self, other: "ScheduleSummary") -> None:
        for name in ("schedules", "attempts", "invocations", "hours", "checks"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.seen += other.seen
        self.ends += other.ends
        self.violations += other.violations

    @property
    def interruptions(self) -> dict[str, int]:
        """How often each fault struck."""
        return {str(strike): self.seen[str(strike)] for strike in weather.Strike if self.seen[str(strike)]}

    def document(self) -> dict[str, Any]:
        """The summary as plain data for JSON."""
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
            "violations": [asdict(violation) for violation in self.violations],
        }


def play(seed: int, parts: Parts = Parts(), make: Make = make) -> ScheduleSummary:  # noqa: B008 - frozen
    """Play one schedule, and check every invariant after it."""
    world = make(seed, parts)
    try:
        history, after = world.play(), world.after()
        marker, violations = after.marker, invariants.check(after)
    finally:
        world.cloud.close()
    hours = (world.timeline.moment - world.scenario.begin.timestamp()) / 3600
    return ScheduleSummary(
        1, len(history.lives), world.function.invocations, hours, len(invariants.ALL), history.seen,
        Counter([str(marker.reason) if marker else "never started"]), violations,
    )  # fmt: skip


def play_all(seeds: Iterable[int], workers: int = 1, make: Make = make) -> Iterator[ScheduleSummary]:
    """Play all seeds; one summary a seed, in their order."""
    play_seed = partial(play, make=make)
    if workers == 1:
        yield from map(play_seed, seeds)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(play_seed, seeds, chunksize=4)
