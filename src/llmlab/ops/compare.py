"""`estimate`: a recipe and a dataset on every instance type in every market, priced and ranked, and why a type is rejected."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from llmlab.aws.session import Aws
from llmlab.config import Settings
from llmlab.contract import Charge, Manifest
from llmlab.errors import LabError
from llmlab.ops import estimate, instance_offers, keeping, market_snapshot, throughput_history
from llmlab.ops.instance_offers import Need, Offer
from llmlab.ops.keeping import Keeping
from llmlab.ops.market_snapshot import Supply
from llmlab.ops.model_size import ModelSize
from llmlab.ops.throughput_history import Measurement
from llmlab.recipe import Recipe

WEEK = 7
"""Days of spot price history of which the lowest and the highest price are shown."""
SPREADS = 10
"""How many instance types have their price history read: that of all of them is thousands of points, and seconds."""


@dataclass(frozen=True)
class Estimate:
    """All offers for a recipe and a dataset: the chosen one first, then the more expensive ones, then those that are rejected."""

    model: str
    method: str
    parameters: int | None
    source: str
    missing: str
    """The upload without which the estimate is incomplete, with its command in `hint`; "" when there is none."""
    hint: str
    data: str
    tokens: int | None
    """Tokens of one epoch."""
    steps: int | None
    memory_gib: float | None
    """Of one GPU that holds a whole copy."""
    parts_gib: dict[str, float]
    charges: tuple[Charge, ...]
    keeping: Keeping | None
    """What the run leaves in S3 and in CloudWatch."""
    measurements: tuple[Measurement, ...]
    correction: float
    """By what every estimated speed was multiplied, as the measured types tell."""
    notes: tuple[str, ...]
    options: tuple[Offer, ...]


def compare(
    aws: Aws,
    settings: Settings,
    recipe: Recipe,
    size: ModelSize | None,
    data: Manifest | None,
    now: datetime,
    *,
    names: Sequence[str] = (),
    markets: Sequence[bool] = market_snapshot.BOTH,
    lacking: LabError | None = None,
    every: bool = False,
) -> Estimate:
    """Every offer of these types at the prices of now, and the week's price spread of the best few, or of `every` one.

    `lacking` is the error why `size` is not known, where the user can do something about it.
    """
    wanted = tuple(names) or settings.instance_types
    with ThreadPoolExecutor(1) as pool:
        seen_future = pool.submit(throughput_history.read, aws, recipe)
        market_supply = market_snapshot.ask(aws, settings, names, now, markets=markets, homeless=True)
        seen = seen_future.result()
    need = _need(recipe, size, data, seen, wanted)
    offers = instance_offers.judge(need, market_supply, markets)
    names_of_spot = instance_offers.spot_types(offers)
    with ThreadPoolExecutor(2) as pool:
        scores_future = pool.submit(market_snapshot.scores, aws, names_of_spot)
        spreads_future = pool.submit(market_snapshot.history, aws, names_of_spot[: None if every else SPREADS], now, days=WEEK)
        (scores, unscored), (spreads, unread) = scores_future.result(), spreads_future.result()
    silent = [unscored, unread if market_supply.spot_known else ""]
    return _estimate(need, market_supply, data, instance_offers.detailed(offers, scores, spreads), lacking, silent)


def by_list_prices(
    settings: Settings,
    recipe: Recipe,
    size: ModelSize | None,
    data: Manifest | None,
    why: str,
    *,
    names: Sequence[str] = (),
    markets: Sequence[bool] = (False,),
) -> Estimate:
    """As `compare`, by the shipped price tables alone; `why` says why AWS cannot be asked."""
    wanted = tuple(names) or settings.instance_types
    market_supply = market_snapshot.listed(settings, names, markets, why)
    need = _need(recipe, size, data, {}, wanted)
    return _estimate(need, market_supply, data, instance_offers.judge(need, market_supply, markets), None, [])


def _need(recipe: Recipe, size: ModelSize | None, data: Manifest | None, seen: Mapping[str, Measurement], wanted: Sequence[str]) -> Need:
    tokens = estimate.training_tokens(recipe, data) if data else None
    return Need(recipe, size, tokens, seen, tuple(wanted))


def _estimate(
    need: Need, market_supply: Supply, data: Manifest | None, offers: tuple[Offer, ...], lacking: LabError | None, silent: Sequence[str]
) -> Estimate:
    recipe, size = need.recipe, need.size
    parts = estimate.memory(recipe, size) if size else {}
    return Estimate(
        model=recipe.model,
        method=recipe.method if recipe.objective == "sft" else f"{recipe.method} {recipe.objective}",
        parameters=size.parameters if size else None,
        source=size.source if size else "",
        missing=lacking.message if lacking else "",
        hint=lacking.hint if lacking else "",
        data=data.name if data else "",
        tokens=estimate.data_tokens(data, need.recipe) if data else None,
        steps=estimate.steps(recipe, data) if data else None,
        memory_gib=sum(parts.values()) if parts else None,
        parts_gib=parts,
        charges=market_supply.charges,
        keeping=keeping.of(recipe, size),
        measurements=tuple(need.seen.values()),
        correction=instance_offers.correction(need, market_supply.types),
        notes=(*market_supply.notes, *filter(None, (*silent, estimate.uncertainty(recipe)))),
        options=offers,
    )
