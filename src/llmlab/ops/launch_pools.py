"""Select the pools that a launch may use: the judged offers of its market, without those that would surprise the user.

Where the user names no types, offers that cost far more than the best are left out, and so are those that the run's own limits would cut
off while others finish. A market without a single offer is an error that names the obstacle, and the command that mends it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from llmlab.aws import quotas
from llmlab.contract import Pool
from llmlab.errors import LabError, QuotaExceeded, UsageError
from llmlab.lifecycle import billing
from llmlab.ops import estimate, instance_offers
from llmlab.ops.instance_offers import MARKETS, Need, Obstacle, Offer, OfferVerdict
from llmlab.ops.market_snapshot import Supply

DEAREST = 3.0
"""Times the best offer's dollars for the same work: a dearer type is not used unless the user names it."""
MOST_TYPES = 8
"""More types add hardly any capacity, and raise what the run may cost."""
FEW = 4


@dataclass(frozen=True)
class MarketLimits:
    """The user's limits for the run. `spot` is the market that was asked for; `fallback` allows the other market."""

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
    best: Offer
    options: tuple[Offer, ...]
    """The offers of the pools, the best first."""
    most_hourly: float
    """US dollars an hour of the dearest pool that may be asked, disk and address included."""
    notes: tuple[str, ...]


def choose(offers: Sequence[Offer], need: Need, supply: Supply, limits: MarketLimits) -> Choice:
    """Select the pools of a launch from the offers.

    Raises:
        QuotaExceeded: the account may not run any of the types that fit.
        UsageError: the cost limit does not pay for an hour of anything that fits.
        LabError: nothing fits, is sold, or has a price.
    """
    notes: list[str] = []
    aside: dict[str, list[str]] = {}
    main, other = _possible(offers, spot=limits.spot), _possible(offers, spot=False) if limits.fallback else []
    spot, fallback = limits.spot, limits.fallback
    if not main and not other:
        raise _refusal(offers, need, supply, limits)
    if not main:
        notes.append(f"no spot is possible ({_because(offers, spot=True)}), so it is on demand from the start")
        spot, fallback, main, other = False, False, other, []
    elif fallback and not other:
        notes.append(f"on demand is not possible ({_because(offers, spot=False)}), so there is nothing to fall back on")
        fallback = False
    _check_cost(min(main, key=lambda offer: offer.places[0].price), supply, limits)
    if not need.preferred:
        main = [_unsurprising_zones(offer, main[0], supply) for offer in _unsurprising(main, need, limits, aside)]
        other = [
            offer
            for offer in other
            if (offer.comparable <= main[0].comparable * DEAREST and _same_format(offer, main[0], need))
            or offer.instance_type in {chosen.instance_type for chosen in main}
        ]
    notes += _left_out(offers, need, aside)
    notes += _ceilings(main[0], limits)
    kept = [*main, *other]
    prices = [zone_offer.price for offer in kept for zone_offer in offer.places]
    return Choice(_pools(main, other, supply, spot=spot), spot, fallback, main[0], tuple(kept), max(prices) + supply.beside, tuple(notes))


def _possible(offers: Iterable[Offer], *, spot: bool) -> list[Offer]:
    return [offer for offer in offers if offer.market == MARKETS[spot] and offer.verdict is not OfferVerdict.REJECTED]


def _same_format(offer: Offer, best: Offer, need: Need) -> bool:
    """Whether a run that moves from one type to the other goes on in the number format it began in."""
    return need.recipe.precision != "auto" or offer.has_bf16 == best.has_bf16


def _unsurprising(main: list[Offer], need: Need, limits: MarketLimits, aside: dict[str, list[str]]) -> list[Offer]:
    """The best offers, without those that are far dearer, compute in another format or would not end within the run's limits.

    The best of all stays in any case. `aside` gets the types that are left out, by the reason.
    """
    tests: tuple[tuple[str, Callable[[Offer], bool]], ...] = (
        ("in fp16, the others in bf16", lambda offer: _same_format(offer, main[0], need)),
        (f"longer than max-hours {limits.max_hours:g}", lambda offer: not offer.hours or offer.hours <= limits.max_hours),
        (
            f"dearer than max-cost {billing.dollars(limits.max_cost or 0)}",
            lambda offer: not (limits.max_cost and offer.cost and offer.cost > limits.max_cost),
        ),
        (f"dearer than {DEAREST:g} x the best", lambda offer: offer.comparable <= main[0].comparable * DEAREST),
    )
    for words, test in tests:
        passed = [offer for offer in main if test(offer)]
        if passed and len(passed) < len(main):
            aside[words] = [offer.instance_type for offer in main if not test(offer)]
            main = passed
    return main[:MOST_TYPES]


def _unsurprising_zones(offer: Offer, best: Offer, supply: Supply) -> Offer:
    """The offer without the zones where it is far dearer than the best offer; its cheapest zone stays."""
    if offer.work is None or best.dollars is None:
        return offer
    most = best.dollars * DEAREST / offer.work
    return replace(
        offer, places=tuple(zone_offer for zone_offer in offer.places if zone_offer.price + supply.beside <= most) or offer.places[:1]
    )


def _pools(main: Sequence[Offer], other: Sequence[Offer], supply: Supply, *, spot: bool) -> tuple[Pool, ...]:
    """A pool for each type and zone. `speed` is a multiple of the slowest type's."""
    types = list(dict.fromkeys(offer.instance_type for offer in (*main, *other)))
    work = {offer.instance_type: offer.work for offer in (*other, *main) if offer.work}
    gpus = {kind.name: kind.gpus for kind in supply.types}
    spot_prices = (
        {(offer.instance_type, zone_offer.zone): zone_offer.price for offer in main for zone_offer in offer.places} if spot else {}
    )
    return tuple(
        Pool(
            instance_type=name,
            zone=zone,
            subnet=supply.subnets.get(zone, ""),
            on_demand_price=supply.on_demand[name].dollars,
            spot_price=spot_prices.get((name, zone)),
            approximate=supply.on_demand[name].approximate or not supply.spot_known,
            speed=round(max(work.values()) / work[name], 4) if name in work else 1.0,
            gpus=gpus.get(name, 0),
        )
        for name in types
        for zone in supply.zones(name)
    )


# ---------------------------------------------------------------- notes


def _left_out(offers: Sequence[Offer], need: Need, aside: Mapping[str, Sequence[str]]) -> list[str]:
    """A note for each type that the user named and that is left out, else one about all. `aside`: fitting types, by why they are out."""
    rejected = [offer for offer in offers if offer.verdict is OfferVerdict.REJECTED and offer.obstacle is not Obstacle.REGION]
    if need.preferred:
        return [f"left out {offer.instance_type}{f' ({offer.market})' if offer.market else ''}: {offer.reason}" for offer in rejected]
    words = {
        Obstacle.MEMORY: "too small",
        Obstacle.GPUS: "with several GPUs",
        Obstacle.QUOTA: "over a vCPU quota",
        Obstacle.PRICE: "without a price",
    }
    counts = {kind: len({offer.instance_type for offer in rejected if offer.obstacle is kind}) for kind in words}
    parts = [f"{_few(types, 2)} ({why})" for why, types in aside.items()] + [
        f"{count} {words[kind]}" for kind, count in counts.items() if count
    ]
    return [f"left out: {'; '.join(parts)}; llmlab estimate --all names them"] if parts else []


def _ceilings(best: Offer, limits: MarketLimits) -> list[str]:
    """Notes where the run's own estimate exceeds its limits of hours and dollars."""
    notes = []
    if best.hours and best.hours > limits.max_hours:
        notes.append(f"it takes about {best.hours:.1f} hours, and max-hours {limits.max_hours:g} ends it before, with a checkpoint")
    if best.cost and limits.max_cost and best.cost > limits.max_cost:
        most = billing.dollars(limits.max_cost)
        notes.append(f"it costs about {billing.dollars(best.cost)}, and max-cost {most} ends it before, with a checkpoint")
    return notes


def _few(names: Iterable[str], most: int = FEW) -> str:
    every = list(dict.fromkeys(names))
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")


# ---------------------------------------------------------------- refusals


def _check_cost(cheapest: Offer, supply: Supply, limits: MarketLimits) -> None:
    hour = cheapest.places[0].price + supply.beside
    if limits.max_cost is not None and limits.max_cost < hour:
        what = f"{cheapest.instance_type} {cheapest.market}, {billing.dollars(hour)} with disk and address"
        raise UsageError(
            f"max-cost {billing.dollars(limits.max_cost)} pays for less than an hour of the cheapest that fits: {what}",
            f"llmlab launch --max-cost {max(1, round(hour * limits.max_hours + 0.5))}",
        )


def _because(offers: Sequence[Offer], *, spot: bool) -> str:
    """The obstacles of a market, the nearest one's words first."""
    markets = {MARKETS[spot], ""}
    rejected = [
        offer
        for offer in offers
        if offer.verdict is OfferVerdict.REJECTED and offer.market in markets and offer.obstacle is not Obstacle.REGION
    ]
    return _few(f"{offer.instance_type}: {offer.reason}" for offer in rejected[:2]) or "none of these types"


def _refusal(offers: Sequence[Offer], need: Need, supply: Supply, limits: MarketLimits) -> LabError:
    """Why no pool is left: the obstacle of the types that came furthest."""
    markets = {MARKETS[limits.spot], "", *([MARKETS[False]] if limits.fallback else [])}
    rejected = [offer for offer in offers if offer.market in markets and offer.obstacle is not Obstacle.REGION]
    over = [offer for offer in rejected if offer.obstacle is Obstacle.QUOTA]
    if over:
        return _over_quota(min(over, key=lambda offer: offer.vcpus), need, supply)
    market = [offer for offer in rejected if offer.obstacle is Obstacle.MARKET]
    if market and limits.spot:
        return LabError("none of these types that fits is sold as spot", "llmlab launch --on-demand", without=["--fallback-on-demand"])
    if rejected and all(offer.obstacle is Obstacle.MEMORY for offer in rejected):
        return _too_large(need, rejected)
    why = "; ".join(f"{offer.instance_type}: {offer.reason}" for offer in rejected[:FEW]) or "none is offered"
    return LabError(f"no {MARKETS[limits.spot]} instance for this recipe can be had in {supply.region}: {why}", "llmlab estimate --all")


def _over_quota(smallest: Offer, need: Need, supply: Supply) -> QuotaExceeded:
    spot = smallest.market == instance_offers.SPOT
    quota = supply.quotas[quotas.family(smallest.instance_type, spot=spot), spot]
    used = f", {quota.used} of them in use" if quota.used else ""
    named = "" if need.preferred or quota.family == "G" else f"LLMLAB_INSTANCE_TYPES={smallest.instance_type} "
    return QuotaExceeded(
        f"{smallest.instance_type} needs {smallest.vcpus} vCPUs, and the quota of {quota.words} ({quota.code}) is "
        f"{quota.limit or 0:g} vCPUs{used} in {supply.region}",
        f"{quotas.request_command(quota, smallest.vcpus, supply.region)}  # or: {named}llmlab doctor --request-quota",
    )


def _too_large(need: Need, rejected: Sequence[Offer]) -> LabError:
    parts = estimate.memory(need.recipe, need.size) if need.size else {}
    largest = max(offer.gpu_memory_gib or 0 for offer in rejected)
    part = max(parts, key=lambda name: parts[name], default="")
    smaller = {"batch_size": max(need.recipe.least_batch, need.recipe.batch_size // 2), "max_length": max(8, need.recipe.max_length // 2)}
    return LabError(
        f"the recipe needs about {sum(parts.values()):.1f} GiB on one GPU, most of it {part}, and the largest of these types has "
        f"{largest:.0f} GiB, of which {estimate.ROOM:.0%} may be filled",
        " ".join(["llmlab launch", *(f"--set {name}={value}" for name, value in smaller.items())]),
    )
