"""The scenario that a seed determines: the run's limits, training, spot traces, weather, faults of its instances, and user actions."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from llmlab.contract import Charge, Pool
from tests.simulation import traces, weather
from tests.simulation.dice import SeededRandom
from tests.simulation.traces import SpotTraces
from tests.simulation.trainer import Course
from tests.simulation.weather import InstanceFault, Weather

BEGIN = datetime(2026, 11, 2, 8, 0, tzinfo=UTC)
TYPES = ("g4dn.xlarge", "g5.xlarge", "g6.xlarge", "g6.2xlarge", "g6e.xlarge")
SPEEDS = {"g4dn.xlarge": 1.0, "g5.xlarge": 2.0, "g6.xlarge": 2.0, "g6.2xlarge": 2.0, "g6e.xlarge": 4.0}
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
CHARGES = (Charge("disk", 0.0219, "200 GiB of gp3"), Charge("address", 0.005, "a public IPv4 address"))
DAYS = 5


@dataclass(frozen=True)
class LaunchLimits:
    """The options of `launch`."""

    spot: bool = True
    max_hours: float = 8.0
    max_cost: float | None = None
    fallback_on_demand: bool = False
    resume: bool = True
    auto_shutdown: bool = True
    wait_hours: float = 24.0
    max_attempts: int = 10


@dataclass(frozen=True)
class User:
    """The user's actions, in hours after the launch; None for no action."""

    stops: float | None = None
    resumes: float | None = None


@dataclass(frozen=True)
class Scenario:
    """All parameters of a schedule.

    `setup_seconds` are from the launch of an instance to its agent; `interruption_hours` is the mean time between two interruptions in
    addition to those of the spot traces, infinite for none; `trouble` the chance of any other fault in an attempt.
    """

    seed: int
    limits: LaunchLimits
    course: Course
    market: SpotTraces
    pools: tuple[Pool, ...]
    weather: Weather
    setup_seconds: float = 180.0
    interruption_hours: float = 3.0
    trouble: float = 0.0
    user: User = User()
    begin: datetime = BEGIN
    days: float = DAYS
    keep: int = 3
    """How many checkpoints stay in S3, by the recipe."""

    @property
    def dice(self) -> SeededRandom:
        return SeededRandom(self.seed)

    @property
    def horizon(self) -> datetime:
        """The end of the simulation, by which the run must be over."""
        return self.begin + timedelta(days=self.days)

    def fate(self, attempt: int) -> InstanceFault:
        """The fault of an attempt's instance, as if it were a spot instance."""
        if math.isinf(self.interruption_hours):
            return InstanceFault()
        return weather.fate(self.dice, attempt, spot=True, mean_hours=self.interruption_hours, trouble=self.trouble)


def pools_of(market: SpotTraces, begin: datetime) -> tuple[Pool, ...]:
    """The pools as `launch` would record them: with the spot prices of that moment, and one subnet a zone."""
    return tuple(
        Pool(trace.instance_type, trace.zone, f"subnet-{trace.zone[-1]}", trace.on_demand, trace.price(begin.timestamp(), spot=True),
             speed=SPEEDS.get(trace.instance_type, 1.0))
        for trace in market.traces.values()
    )  # fmt: skip


def made(seed: int) -> Scenario:
    """The scenario of a seed."""
    dice = SeededRandom(seed)
    hours = dice.choice((1.0, 2.0, 4.0, 8.0, 12.0), "max hours")
    types = sorted({dice.choice(TYPES, "type", number) for number in range(3)})
    zones = ZONES[: 1 + int(3 * dice.roll("zones"))]
    up_hours = dice.choice((1.5, 4.0, 10.0, 30.0), "up")
    market = traces.made(
        dice, [(name, zone) for name in types for zone in zones], BEGIN.timestamp(), DAYS * 24, up_hours=up_hours,
        out_hours=dice.choice((0.3, 1.0, 3.0), "out"),
    )  # fmt: skip
    pools = pools_of(market, BEGIN)
    spot = dice.happens(0.85, "spot")
    hour = max((pool.spot_price or 0.0) if spot else pool.on_demand_price for pool in pools) + sum(charge.hourly for charge in CHARGES)
    step_seconds = dice.choice((2.0, 10.0, 45.0), "step")
    wanted = hours * dice.choice((0.3, 0.6, 0.9, 1.5), "length")
    course = Course(
        steps=max(3, int(wanted * 3600 / step_seconds)),
        step_seconds=step_seconds,
        save_seconds=dice.choice((300.0, 600.0), "save"),
        loading_seconds=dice.between(20, 200, "loading"),
        writing_seconds=dice.between(0.5, 20, "writing"),
        uploading_seconds=dice.between(0.5, 20, "uploading"),
    )
    limits = LaunchLimits(
        spot=spot,
        max_hours=hours,
        max_cost=round(hour * dice.between(1.0, max(1.2, hours), "cost"), 2) if dice.happens(0.5, "limited") else None,
        fallback_on_demand=dice.happens(0.3, "fallback"),
        resume=not dice.happens(0.05, "no resume"),
        auto_shutdown=not dice.happens(0.05, "keep"),
        wait_hours=dice.choice((2.0, 12.0, 24.0), "wait"),
    )
    user = User(
        stops=dice.between(0, hours, "stops at") if dice.happens(0.1, "stops") else None,
        resumes=dice.between(0, hours * 1.5, "resumes at") if dice.happens(0.1, "resumes") else None,
    )
    return Scenario(
        seed, limits, course, market, pools, weather.made(dice), dice.between(60, 400, "setup"),
        dice.choice((0.5, 1.5, 4.0, 20.0), "interruptions"), 0.3 * dice.roll("trouble"), user, keep=dice.choice((2, 3), "keep"),
    )  # fmt: skip
