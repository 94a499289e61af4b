"""Our policy beside three others on the same traces of a spot market, as ratios of dollars, hours and lost work.

    python -m benchmarks.strategies [--traces 200]

Ours is the real code in the simulator (`tests.simulation`): launch, agent, watchdog. The others are what their makers
document, as arithmetic over the same prices, outages, steps, saves and boot times, and as quick
as they could be: they notice an interruption at once.

on demand      the pool that is cheapest for the work, for as long as it takes.
one zone       spot in the one pool that was cheapest at the start, asked for every minute; an interruption starts the training over.
SkyPilot       managed jobs, whose checkpoints the training loads itself. FAILOVER: the same region first, three launches, then everything,
               cheapest first. EAGER_NEXT_REGION, the default: everything but where it was, then everything. A zone stands for a region
               here, because a lab lives in one. https://docs.skypilot.co/en/latest/examples/managed-jobs.html, and
               https://github.com/skypilot-org/skypilot/blob/master/sky/jobs/recovery_strategy.py
Neither of them asks for a save when AWS announces the interruption, because nothing of theirs listens to it by default.
"""

import argparse
import json
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from llmlab import contract
from tests.simulation import traces
from tests.simulation.dice import SeededRandom
from tests.simulation.history import FREE_SECONDS
from tests.simulation.invariants import CHARGED, lost_seconds
from tests.simulation.scenario import BEGIN, SPEEDS, ZONES, LaunchLimits, Scenario, pools_of
from tests.simulation.traces import HOUR, SpotTraces, Trace
from tests.simulation.trainer import Course
from tests.simulation.weather import Weather
from tests.simulation.world import World

TYPES = ("g5.xlarge", "g6.xlarge", "g6e.xlarge")
COURSE = Course(steps=4320, step_seconds=20.0, save_seconds=600.0, loading_seconds=90.0, writing_seconds=5.0, uploading_seconds=10.0)
"""24 hours on the slowest pool there could be: 12 on a g5 or g6, 6 on a g6e."""
SETUP_SECONDS = 240.0
RETRY_SECONDS = 60.0
"""Between two rounds of launches: SkyPilot's own gap, and what somebody with a loop around `run-instances` would take."""
SAME_PLACE_TRIES = 3
DAYS = 10.0


@dataclass(frozen=True)
class Outcome:
    """Of one run: dollars, hours from launch to result, hours of instances, and hours of work that was done twice."""

    dollars: float
    wall: float
    instance: float
    lost: float
    interruptions: int
    """Instances after the first one."""
    finished: bool


Choose = Callable[[float, Trace | None, int], Trace | None]
"""At a moment, after an instance of a pool (None: the first), at the so many-th try: which pool gives an instance, None for none."""


def per_work(trace: Trace, moment: float, *, spot: bool) -> float:
    return trace.price(moment, spot=spot) / SPEEDS[trace.instance_type]


def cheapest(pools: Iterable[Trace], moment: float) -> Trace | None:
    """The best pool that has spot capacity."""
    return min((one for one in pools if one.open(moment, spot=True)), key=lambda one: per_work(one, moment, spot=True), default=None)


def on_demand(market: SpotTraces, begin: float) -> Outcome:
    trace = min(market.traces.values(), key=lambda one: per_work(one, begin, spot=False))
    hours = (SETUP_SECONDS + COURSE.loading_seconds + work_seconds(trace, COURSE.steps) + last_seconds()) / HOUR
    return Outcome(hours * (trace.on_demand + CHARGED), hours, hours, 0.0, 0, finished=True)


def work_seconds(trace: Trace, steps: float) -> float:
    return steps * COURSE.step_seconds / SPEEDS[trace.instance_type]


def last_seconds() -> float:
    return COURSE.writing_seconds + COURSE.uploading_seconds


def spot(begin: float, choose: Choose, *, resumes: bool) -> Outcome:
    """A run on spot by a way to choose pools; with `resumes` from its last save, else from the start."""
    now, last, tries, safe = begin, None, 0, 0.0
    dollars = instance = lost = 0.0
    interruptions = 0
    while now < begin + DAYS * 24 * HOUR:
        trace = choose(now, last, tries)
        if trace is None:
            now, tries = now + RETRY_SECONDS, tries + 1
            continue
        trains = now + SETUP_SECONDS + COURSE.loading_seconds
        done = trains + work_seconds(trace, COURSE.steps - safe) + last_seconds()
        closes = trace.closes(now)
        gone = done if closes is None else min(done, closes + 120)
        free = gone < done and gone - now < FREE_SECONDS
        dollars += (0.0 if free else trace.dollars(now, gone, spot=True)) + CHARGED * (gone - now) / HOUR
        instance += (gone - now) / HOUR
        if gone >= done:
            return Outcome(dollars, (done - begin) / HOUR, instance, lost / HOUR, interruptions, finished=True)
        trained = max(0.0, gone - trains)
        saves = max(0, int((trained - last_seconds()) // COURSE.save_seconds)) if resumes else 0
        safe += saves * COURSE.save_seconds / COURSE.step_seconds * SPEEDS[trace.instance_type]
        lost += trained - saves * COURSE.save_seconds
        interruptions += 1
        now, last, tries = gone, trace, 0
    return Outcome(dollars, (now - begin) / HOUR, instance, lost / HOUR, interruptions, finished=False)


def one_zone(market: SpotTraces, begin: float) -> Outcome:
    first = cheapest(market.traces.values(), begin) or next(iter(market.traces.values()))
    return spot(begin, lambda now, _last, _tries: cheapest([first], now), resumes=False)


def failover(market: SpotTraces, begin: float) -> Outcome:
    def choose(now: float, last: Trace | None, tries: int) -> Trace | None:
        same = last is not None and tries < SAME_PLACE_TRIES
        return cheapest([one for one in market.traces.values() if not same or (last and one.zone == last.zone)], now)

    return spot(begin, choose, resumes=True)


def eager(market: SpotTraces, begin: float) -> Outcome:
    def choose(now: float, last: Trace | None, tries: int) -> Trace | None:
        elsewhere = last is not None and tries < SAME_PLACE_TRIES
        return cheapest([one for one in market.traces.values() if not elsewhere or (last and one.zone != last.zone)], now)

    return spot(begin, choose, resumes=True)


def ours(market: SpotTraces, begin: float, seed: int) -> Outcome:
    """The simulator, in calm weather: only the market interrupts."""
    limits = LaunchLimits(max_hours=DAYS * 24, wait_hours=DAYS * 24, max_attempts=1000)
    scenario = Scenario(
        seed,
        limits,
        COURSE,
        market,
        pools_of(market, BEGIN),
        Weather(),
        setup_seconds=SETUP_SECONDS,
        interruption_hours=math.inf,
        days=DAYS,
    )
    world = World(scenario)
    history = world.play()
    marker = world.after().marker
    lives = [life for life in history.lives if life.stopped is not None]
    finished = marker is not None and marker.reason is contract.EndReason.COMPLETED
    end = contract.parse_timestamp(marker.ended).timestamp() if marker else begin + DAYS * 24 * HOUR
    return Outcome(
        sum(life.dollars(CHARGED) for life in lives),
        (end - begin) / HOUR,
        sum((life.stopped or 0.0) - life.launched for life in lives) / HOUR,
        sum(lost_seconds(scenario, life) for life in lives) / HOUR,
        len(lives) - 1,
        finished=finished,
    )


PEERS: dict[str, Callable[[SpotTraces, float], Outcome]] = {
    "on demand": on_demand,
    "spot, one zone, starts over": one_zone,
    "SkyPilot FAILOVER": failover,
    "SkyPilot EAGER_NEXT_REGION": eager,
}
MARKETS = {"busy": (6.0, 1.5), "calm": (24.0, 1.0)}
"""Hours that a pool gives and then does not, on average."""


def compare(kind: str, count: int) -> dict[str, list[Outcome]]:
    """Every strategy on the same traces."""
    begin = BEGIN.timestamp()
    found: dict[str, list[Outcome]] = {"ours": [], **{name: [] for name in PEERS}}
    up, out = MARKETS[kind]
    for seed in range(count):
        market = traces.made(
            SeededRandom(seed), [(name, zone) for name in TYPES for zone in ZONES], begin, (DAYS + 1) * 24, up_hours=up, out_hours=out
        )
        found["ours"].append(ours(market, begin, seed))
        for name, peer in PEERS.items():
            found[name].append(peer(market, begin))
    return found


def median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 3)


def ratios(ours_: Sequence[Outcome], theirs: Sequence[Outcome]) -> dict[str, float]:
    """Medians of theirs alone, and of ours divided by theirs, trace by trace; lost work as a difference, because it may be none."""
    pairs = list(zip(ours_, theirs, strict=True))
    return {
        "dollars": median(one.dollars for one in theirs),
        "wall hours": median(one.wall for one in theirs),
        "instance hours": median(one.instance for one in theirs),
        "lost hours": median(one.lost for one in theirs),
        "interruptions": median(one.interruptions for one in theirs),
        "finished": sum(one.finished for one in theirs),
        "our dollars by theirs": median(a.dollars / b.dollars for a, b in pairs),
        "our wall hours by theirs": median(a.wall / b.wall for a, b in pairs),
        "our instance hours by theirs": median(a.instance / b.instance for a, b in pairs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", type=int, default=200)
    count = parser.parse_args().traces
    document = {"traces": count}
    for kind in MARKETS:
        found = compare(kind, count)
        document[kind] = {name: ratios(found["ours"], outcomes) for name, outcomes in found.items()}
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
