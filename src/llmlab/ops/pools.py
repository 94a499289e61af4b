"""Which pools a launch may ask: out of the judged options those of its market, without what would surprise.

Where the user names no types, what costs far more than the best is left out, and so is what would be cut off by the run's own ceilings
while something else would not. A market without a single option is an error that says what is in the way, and the command that mends it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from llmlab import money
from llmlab.aws import quotas
from llmlab.contract import Pool
from llmlab.errors import LabError, QuotaExceeded, UsageError
from llmlab.ops import estimate, options
from llmlab.ops.options import MARKETS, Need, Obstacle, Option, Verdict
from llmlab.ops.supply import Supply

DEAREST = 3.0
"""Times the best one's dollars for the same work: what costs more is not taken unless it is named."""
MOST_TYPES = 8
"""More types add hardly any capacity, and raise what the run may cost."""
FEW = 4


@dataclass(frozen=True)
class Limits:
    """What the user set for the run. `spot` is what was asked for; `fallback` allows the other market."""

    spot: bool
    fallback: bool
    max_hours: float
    max_cost: float | None


@dataclass(frozen=True)
class Choice:
    """The pools in the order in which they are tried, and the markets that are left of those asked for."""

    pools: tuple[Pool, ...]
    spot: bool
    fallback: bool
    best: Option
    options: tuple[Option, ...]
    """Those of the pools, the best first."""
    most_hourly: float
    """US dollars an hour of the dearest pool that may be asked, disk and address included."""
    notes: tuple[str, ...]


def choose(found: Sequence[Option], need: Need, there: Supply, limits: Limits) -> Choice:
    """The pools of a launch.

    Raises:
        QuotaExceeded: the account may not run any of the types that fit.
        UsageError: the cost limit does not pay for an hour of anything that fits.
        LabError: nothing fits, is sold, or has a price.
    """
    notes: list[str] = []
    aside: dict[str, list[str]] = {}
    main, other = _possible(found, spot=limits.spot), _possible(found, spot=False) if limits.fallback else []
    spot, fallback = limits.spot, limits.fallback
    if not main and not other:
        raise _refusal(found, need, there, limits)
    if not main:
        notes.append(f"no spot is possible ({_because(found, spot=True)}), so it is on demand from the start")
        spot, fallback, main, other = False, False, other, []
    elif fallback and not other:
        notes.append(f"on demand is not possible ({_because(found, spot=False)}), so there is nothing to fall back on")
        fallback = False
    _check_cost(min(main, key=lambda one: one.places[0].price), there, limits)
    if not need.preferred:
        main = [_unsurprising_zones(option, main[0], there) for option in _unsurprising(main, need, limits, aside)]
        other = [
            one
            for one in other
            if (one.comparable <= main[0].comparable * DEAREST and _same_format(one, main[0], need))
            or one.instance_type in {two.instance_type for two in main}
        ]
    notes += _left_out(found, need, aside)
    notes += _ceilings(main[0], limits)
    kept = [*main, *other]
    prices = [place.price for one in kept for place in one.places]
    return Choice(_pools(main, other, there, spot=spot), spot, fallback, main[0], tuple(kept), max(prices) + there.beside, tuple(notes))


def _possible(found: Iterable[Option], *, spot: bool) -> list[Option]:
    return [one for one in found if one.market == MARKETS[spot] and one.verdict is not Verdict.REJECTED]


def _same_format(one: Option, best: Option, need: Need) -> bool:
    """Whether a run that moves from one type to the other goes on in the number format it began in."""
    return need.recipe.precision != "auto" or one.has_bf16 == best.has_bf16


def _unsurprising(main: list[Option], need: Need, limits: Limits, aside: dict[str, list[str]]) -> list[Option]:
    """The best, without what is far dearer, computes otherwise or would not come to its end within the run's ceilings.

    The best of all stays in any case. `aside` gets the types that go, by why.
    """
    tests: tuple[tuple[str, Callable[[Option], bool]], ...] = (
        ("in fp16, the others in bf16", lambda one: _same_format(one, main[0], need)),
        (f"longer than max-hours {limits.max_hours:g}", lambda one: not one.hours or one.hours <= limits.max_hours),
        (
            f"dearer than max-cost {money.dollars(limits.max_cost or 0)}",
            lambda one: not (limits.max_cost and one.cost and one.cost > limits.max_cost),
        ),
        (f"dearer than {DEAREST:g} x the best", lambda one: one.comparable <= main[0].comparable * DEAREST),
    )
    for words, test in tests:
        passed = [one for one in main if test(one)]
        if passed and len(passed) < len(main):
            aside[words] = [option.instance_type for option in main if not test(option)]
            main = passed
    return main[:MOST_TYPES]


def _unsurprising_zones(one: Option, best: Option, there: Supply) -> Option:
    """Without the zones where it is far dearer than the best; its cheapest is not."""
    if one.work is None or best.dollars is None:
        return one
    most = best.dollars * DEAREST / one.work
    return replace(one, places=tuple(place for place in one.places if place.price + there.beside <= most) or one.places[:1])


def _pools(main: Sequence[Option], other: Sequence[Option], there: Supply, *, spot: bool) -> tuple[Pool, ...]:
    """A pool for each type and zone. `speed` is that of the slowest of them times so much."""
    types = list(dict.fromkeys(one.instance_type for one in (*main, *other)))
    work = {one.instance_type: one.work for one in (*other, *main) if one.work}
    gpus = {kind.name: kind.gpus for kind in there.types}
    asked_as_spot = {(one.instance_type, place.zone): place.price for one in main for place in one.places} if spot else {}
    return tuple(
        Pool(
            instance_type=name,
            zone=zone,
            subnet=there.subnets.get(zone, ""),
            on_demand_price=there.on_demand[name].dollars,
            spot_price=asked_as_spot.get((name, zone)),
            approximate=there.on_demand[name].approximate or not there.spot_known,
            speed=round(max(work.values()) / work[name], 4) if name in work else 1.0,
            gpus=gpus.get(name, 0),
        )
        for name in types
        for zone in there.zones(name)
    )


# ---------------------------------------------------------------- notes


def _left_out(found: Sequence[Option], need: Need, aside: Mapping[str, Sequence[str]]) -> list[str]:
    """A note for each type the user named; for the rest one about them all. `aside`: what was fit, and why it went."""
    rejected = [one for one in found if one.verdict is Verdict.REJECTED and one.obstacle is not Obstacle.REGION]
    if need.preferred:
        return [f"left out {one.instance_type}{f' ({one.market})' if one.market else ''}: {one.reason}" for one in rejected]
    words = {
        Obstacle.MEMORY: "too small",
        Obstacle.GPUS: "with several GPUs",
        Obstacle.QUOTA: "over a vCPU quota",
        Obstacle.PRICE: "without a price",
    }
    counts = {kind: len({one.instance_type for one in rejected if one.obstacle is kind}) for kind in words}
    parts = [f"{_few(types, 2)} ({why})" for why, types in aside.items()] + [
        f"{count} {words[kind]}" for kind, count in counts.items() if count
    ]
    return [f"left out: {'; '.join(parts)}; llmlab estimate --all names them"] if parts else []


def _ceilings(best: Option, limits: Limits) -> list[str]:
    """What the run's own estimate says of its ceilings."""
    notes = []
    if best.hours and best.hours > limits.max_hours:
        notes.append(f"it takes about {best.hours:.1f} hours, and max-hours {limits.max_hours:g} ends it before, with a checkpoint")
    if best.cost and limits.max_cost and best.cost > limits.max_cost:
        notes.append(
            f"it costs about {money.dollars(best.cost)}, and max-cost {money.dollars(limits.max_cost)} ends it before, with a checkpoint"
        )
    return notes


def _few(names: Iterable[str], most: int = FEW) -> str:
    every = list(dict.fromkeys(names))
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")


# ---------------------------------------------------------------- refusals


def _check_cost(cheapest: Option, there: Supply, limits: Limits) -> None:
    hour = cheapest.places[0].price + there.beside
    if limits.max_cost is not None and limits.max_cost < hour:
        what = f"{cheapest.instance_type} {cheapest.market}, {money.dollars(hour)} with disk and address"
        raise UsageError(
            f"max-cost {money.dollars(limits.max_cost)} pays for less than an hour of the cheapest that fits: {what}",
            f"llmlab launch --max-cost {max(1, round(hour * limits.max_hours + 0.5))}",
        )


def _because(found: Sequence[Option], *, spot: bool) -> str:
    """The obstacles of a market, the nearest one's words first."""
    markets = {MARKETS[spot], ""}
    rejected = [one for one in found if one.verdict is Verdict.REJECTED and one.market in markets and one.obstacle is not Obstacle.REGION]
    return _few(f"{one.instance_type}: {one.reason}" for one in rejected[:2]) or "none of these types"


def _refusal(found: Sequence[Option], need: Need, there: Supply, limits: Limits) -> LabError:
    """Why no pool is left: the obstacle of the types that came furthest."""
    markets = {MARKETS[limits.spot], "", *([MARKETS[False]] if limits.fallback else [])}
    rejected = [one for one in found if one.market in markets and one.obstacle is not Obstacle.REGION]
    over = [one for one in rejected if one.obstacle is Obstacle.QUOTA]
    if over:
        return _over_quota(min(over, key=lambda one: one.vcpus), need, there)
    market = [one for one in rejected if one.obstacle is Obstacle.MARKET]
    if market and limits.spot:
        return LabError("none of these types that fits is sold as spot", "llmlab launch --on-demand", without=["--fallback-on-demand"])
    if rejected and all(one.obstacle is Obstacle.MEMORY for one in rejected):
        return _too_large(need, rejected)
    why = "; ".join(f"{one.instance_type}: {one.reason}" for one in rejected[:FEW]) or "none is offered"
    return LabError(f"no {MARKETS[limits.spot]} instance for this recipe can be had in {there.region}: {why}", "llmlab estimate --all")


def _over_quota(smallest: Option, need: Need, there: Supply) -> QuotaExceeded:
    spot = smallest.market == options.SPOT
    quota = there.quotas[quotas.family(smallest.instance_type, spot=spot), spot]
    used = f", {quota.used} of them in use" if quota.used else ""
    named = "" if need.preferred or quota.family == "G" else f"LLMLAB_INSTANCE_TYPES={smallest.instance_type} "
    return QuotaExceeded(
        f"{smallest.instance_type} needs {smallest.vcpus} vCPUs, and the quota of {quota.words} ({quota.code}) is "
        f"{quota.limit or 0:g} vCPUs{used} in {there.region}",
        f"{quotas.request_command(quota, smallest.vcpus, there.region)}  # or: {named}llmlab doctor --request-quota",
    )


def _too_large(need: Need, rejected: Sequence[Option]) -> LabError:
    parts = estimate.memory(need.recipe, need.size) if need.size else {}
    largest = max(one.gpu_memory_gib or 0 for one in rejected)
    part = max(parts, key=lambda name: parts[name], default="")
    smaller = {"batch_size": max(need.recipe.least_batch, need.recipe.batch_size // 2), "max_length": max(8, need.recipe.max_length // 2)}
    return LabError(
        f"the recipe needs about {sum(parts.values()):.1f} GiB on one GPU, most of it {part}, and the largest of these types has "
        f"{largest:.0f} GiB, of which {estimate.ROOM:.0%} may be filled",
        " ".join(["llmlab launch", *(f"--set {name}={value}" for name, value in smaller.items())]),
    )
