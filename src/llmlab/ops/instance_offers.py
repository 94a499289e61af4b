"""The offers for a recipe: every instance type in every market judged, the cheapest for the whole training first.

Dollars are (price + disk + address) x hours. The hours are this recipe's tokens at a speed that is estimated, or was measured by an
earlier run of the lab; what one type was measured at also corrects the estimates of the others. Where the tokens are not known the same
ratios are taken of an hour's work.
Pure functions: `llmlab.ops.market_snapshot` asks AWS, `compare` shows the offers, `llmlab.ops.launch_pools` selects those of a launch.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from statistics import median

from llmlab import footprint, gpus
from llmlab.aws import prices, quotas
from llmlab.aws.instance_types import InstanceType
from llmlab.aws.prices import SpotPrice
from llmlab.aws.quotas import Quota
from llmlab.errors import UsageError
from llmlab.lifecycle import billing
from llmlab.ops import estimate
from llmlab.ops.market_snapshot import Supply
from llmlab.ops.model_size import ModelSize
from llmlab.ops.throughput_history import Measurement
from llmlab.recipe import Recipe

SPOT, ON_DEMAND = "spot", "on-demand"
MARKETS = {True: SPOT, False: ON_DEMAND}


class OfferVerdict(StrEnum):
    CHOSEN = "chosen"
    POSSIBLE = "possible"
    REJECTED = "rejected"


class Obstacle(StrEnum):
    """Why an offer is rejected. In order: the first are those that the user can remove most easily."""

    QUOTA = "quota"
    MEMORY = "memory"
    GPUS = "gpus"
    MARKET = "market"
    ZONE = "zone"
    PRICE = "price"
    REGION = "region"


@dataclass(frozen=True)
class ZoneOffer:
    """A zone: US dollars an hour now, the lowest and the highest of the last week for spot, and how likely spot capacity is (1 to 10)."""

    zone: str
    price: float
    low: float | None = None
    high: float | None = None
    score: int | None = None


@dataclass(frozen=True)
class Offer:
    """A type in a market, or in either ("") where both are rejected for the same reason. GiB of one GPU; None where nobody knows."""

    instance_type: str
    market: str
    verdict: OfferVerdict
    reason: str
    gpu: str = ""
    gpus: int = 0
    gpu_memory_gib: float | None = None
    needed_gib: float | None = None
    obstacle: Obstacle | None = None
    vcpus: int = 0
    places: tuple[ZoneOffer, ...] = ()
    """The cheapest first."""
    approximate: bool = False
    hours: float | None = None
    """Of the instance, its start included, in one go."""
    measured: bool = False
    """The speed is an earlier run's and not an estimate."""
    costs: dict[str, float] = field(default_factory=dict)
    """US dollars of the whole run in the cheapest zone, by part."""
    cost: float | None = None
    work: float | None = None
    """The hours of the run, or how long it takes the type beside others; None where nobody knows."""
    dollars: float | None = None
    """What the work costs in the cheapest zone, disk and address included: what options are ranked by."""

    @property
    def has_bf16(self) -> bool:
        return self.gpu not in estimate.NO_BF16

    @property
    def comparable(self) -> float:
        """`dollars` to compare offers by: infinite where they are not known."""
        return math.inf if self.dollars is None else self.dollars


@dataclass(frozen=True)
class Need:
    """The training that offers are judged for. `preferred`: the user's types in order. `tokens` are those of the whole training."""

    recipe: Recipe
    size: ModelSize | None
    tokens: float | None
    seen: Mapping[str, Measurement] = field(default_factory=dict)
    preferred: tuple[str, ...] = ()


def judge(need: Need, supply: Supply, markets: Sequence[bool]) -> tuple[Offer, ...]:
    """The offers of every type in these markets, and of the known types that the region lacks.

    The chosen offer first, then dearer ones, then rejected ones, the nearest to being possible first.

    Raises:
        UsageError: no type can do what the recipe asks of the model.
    """
    if need.recipe.method == "qlora" and need.size and need.size.experts > 1:
        raise UsageError(footprint.EXPERTS_IN_16_BITS.format(model=need.recipe.model), "llmlab launch --set method=lora")
    factor = correction(need, supply.types)
    judged = [offer for kind in supply.types for offer in _judged(kind, need, supply, markets, factor)]
    fits = sorted((offer for offer in judged if offer.verdict is not OfferVerdict.REJECTED), key=lambda offer: _rank(offer, need))
    judged = [offer for offer in judged if offer.verdict is OfferVerdict.REJECTED]
    if not need.preferred:
        here = {kind.name for kind in supply.types}
        judged += [_absent(name) for name in prices.APPROXIMATE if name not in here]
    return (*_compared(fits, need.preferred), *sorted(judged, key=_distance))


def correction(need: Need, types: Iterable[InstanceType]) -> float:
    """The ratio of measured to estimated speed, the median of the measured types; 1 without any."""
    if need.size is None:
        return 1.0
    speeds = {kind.name: estimate.tokens_per_second(kind, need.recipe, need.size) for kind in types if kind.name in need.seen}
    return median([need.seen[name].tokens_per_second / speed for name, speed in speeds.items() if speed] or [1.0])


def spot_types(offers: Iterable[Offer]) -> list[str]:
    """The instance types that have a possible spot offer, each once."""
    return list(
        dict.fromkeys(offer.instance_type for offer in offers if offer.market == SPOT and offer.verdict is not OfferVerdict.REJECTED)
    )


def detailed(offers: Iterable[Offer], scores: Mapping[str, int], spreads: Mapping[tuple[str, str], SpotPrice]) -> tuple[Offer, ...]:
    """The offers with the placement scores of their zones and the spreads of their prices, as far as these were read."""

    def place(name: str, zone_offer: ZoneOffer) -> ZoneOffer:
        spread = spreads.get((name, zone_offer.zone))
        known = replace(zone_offer, low=spread.low, high=spread.high) if spread else zone_offer
        return replace(known, score=scores.get(zone_offer.zone))

    return tuple(
        replace(offer, places=tuple(place(offer.instance_type, zone_offer) for zone_offer in offer.places))
        if offer.market == SPOT and offer.verdict is not OfferVerdict.REJECTED
        else offer
        for offer in offers
    )


def _judged(kind: InstanceType, need: Need, supply: Supply, markets: Sequence[bool], factor: float) -> list[Offer]:
    """The offers of a type, one in each market; one for both where the type cannot be used at all."""
    parts = estimate.spread(kind, need.recipe, need.size) if need.size else {}
    needed, available = sum(parts.values()) or None, round(kind.gpu_memory_gib, 1)
    facts = Offer(kind.name, "", OfferVerdict.REJECTED, "", kind.gpu, kind.gpus, available, needed, vcpus=kind.vcpus)
    if reason := estimate.rejection(kind, parts):
        return [replace(facts, reason=reason, obstacle=Obstacle.MEMORY)]
    if reason := estimate.several(kind, need.recipe):
        return [replace(facts, reason=reason, obstacle=Obstacle.GPUS)]
    if not supply.zones(kind.name):
        where = "of the lab offers it" if supply.offers.get(kind.name) else "of the region offers it"
        return [replace(facts, reason=f"no zone {where}", obstacle=Obstacle.ZONE)]
    if kind.name not in supply.on_demand:
        return [replace(facts, reason="no price known", obstacle=Obstacle.PRICE)]
    return [_in_market(replace(facts, market=MARKETS[spot]), kind, need, supply, factor, spot=spot) for spot in markets]


def _in_market(facts: Offer, kind: InstanceType, need: Need, supply: Supply, factor: float, *, spot: bool) -> Offer:
    if not (kind.spot if spot else kind.on_demand):
        reason = "not sold as spot" if spot else "sold in capacity blocks alone"
        return replace(facts, reason=reason, obstacle=Obstacle.MARKET)
    places = tuple(sorted(_places(kind.name, supply, spot=spot), key=lambda zone_offer: (zone_offer.price, zone_offer.zone)))
    if not places:
        return replace(facts, reason="no spot price in any zone", obstacle=Obstacle.PRICE)
    work, exact = _work(kind, need, factor)
    known = work if need.size and need.tokens else None
    costs = billing.parts_of(supply.charges, places[0].price * known, known) if known else {}
    priced = replace(
        facts,
        places=places,
        approximate=not supply.spot_known if spot else supply.on_demand[kind.name].approximate,
        hours=known,
        measured=exact,
        costs=costs,
        cost=billing.total(costs) if costs else None,
        work=work,
        dollars=None if work is None else (places[0].price + supply.beside) * work,
    )
    quota = supply.quotas.get((quotas.family(kind.name, spot=spot), spot))
    if quota and kind.vcpus > quota.free:
        return replace(priced, reason=quota_words(quota, kind.vcpus), obstacle=Obstacle.QUOTA)
    return replace(priced, verdict=OfferVerdict.POSSIBLE, reason="" if priced.has_bf16 else "fp16, no bf16")


def quota_words(quota: Quota, vcpus: int) -> str:
    used = f" ({quota.used} in use)" if quota.used else ""
    return f"quota {quota.limit or 0:g}{used} of {vcpus} vCPUs"


def _places(name: str, supply: Supply, *, spot: bool) -> Iterable[ZoneOffer]:
    for zone in supply.zones(name):
        if not spot:
            yield ZoneOffer(zone, supply.on_demand[name].dollars)
        elif price := supply.spot.get((name, zone)):
            yield ZoneOffer(zone, price.now)


def _work(kind: InstanceType, need: Need, factor: float) -> tuple[float | None, bool]:
    """Hours of the whole training, or a relative figure where its tokens or its model are not known; and whether the speed is measured."""
    seen = need.seen.get(kind.name)
    if need.size is None:
        peak = gpus.teraflops(kind.gpu)
        return (1 / (peak * kind.gpus) if peak else None), False
    estimated = estimate.tokens_per_second(kind, need.recipe, need.size)
    speed = seen.tokens_per_second if seen else estimated and estimated * factor
    if not speed:
        return None, False
    return (estimate.hours(need.tokens, speed) if need.tokens else 1 / speed), seen is not None


# ---------------------------------------------------------------- order


def _rank(offer: Offer, need: Need) -> tuple[float, bool, float, float, str]:
    """Sort key of an offer: the user's order, then dollars for the work, then the price of an hour where the speed is not known.

    GPUs without bf16 come behind the others where the recipe leaves the number format to the GPU: models are published in bf16, and whole
    families of them have no finite gradients in fp16 (https://github.com/QwenLM/Qwen3/issues/670).
    """
    place = need.preferred.index(offer.instance_type) if offer.instance_type in need.preferred else len(need.preferred)
    return place, need.recipe.precision == "auto" and not offer.has_bf16, offer.comparable, offer.places[0].price, offer.instance_type


def _compared(fits: Sequence[Offer], preferred: Sequence[str]) -> list[Offer]:
    """The offers, of which the first is chosen; each other says how much dearer it is, or that the user named it later."""
    best = fits[0] if fits else None
    return [
        replace(offer, verdict=OfferVerdict.CHOSEN if offer is best else OfferVerdict.POSSIBLE, reason=_why(offer, best, preferred))
        for offer in fits
    ]


def _why(offer: Offer, best: Offer | None, preferred: Sequence[str]) -> str:
    words = [offer.reason]
    if best and offer is not best:
        if offer.dollars is None or best.dollars is None:
            words.append("" if offer.dollars else f"no speed known of {offer.gpu}")
        elif offer.dollars >= best.dollars:
            ratio = offer.dollars / best.dollars
            words.append(f"dearer: {ratio:.1f}x" if ratio >= DEARER else "as good")
        elif offer.instance_type in preferred:
            words.append("named later")
    return ", ".join(filter(None, words))


DEARER = 1.05
"""Ratio below which two prices count as the same."""


def _distance(offer: Offer) -> tuple[float, ...]:
    """Sort key of a rejected offer: the kind of obstacle, then how far it is from being possible."""
    lacks = (offer.needed_gib or 0) / (offer.gpu_memory_gib or 1) if offer.obstacle is Obstacle.MEMORY else offer.comparable
    return list(Obstacle).index(offer.obstacle or Obstacle.REGION), lacks


def _absent(name: str) -> Offer:
    return Offer(name, "", OfferVerdict.REJECTED, "not offered in this region", obstacle=Obstacle.REGION)
