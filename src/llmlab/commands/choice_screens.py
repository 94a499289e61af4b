"""The screens for choosing an instance: the options of an estimate, and the plan of a launch."""

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from llmlab.commands.formatting import count, dollars, duration, hours
from llmlab.ops.estimate import REACHED, START_HOURS
from llmlab.ops.instance_offers import MARKETS, ON_DEMAND, SPOT, Obstacle, Offer, OfferVerdict
from llmlab.ui import Hanging, empty_table

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from llmlab.contract import Charge
    from llmlab.ops.compare import Estimate
    from llmlab.ops.keeping import Keeping
    from llmlab.ops.preflight import LaunchPlan

START_WORDS = f"{START_HOURS * 60:.0f}m of it to start, as assumed"
WIDE = 110
BEST = 6
"""How many of the best options an estimate shows without `--all`."""
NAMED = 5
"""How many instance types a plan names."""
NEAREST = {Obstacle.QUOTA: 2, Obstacle.MEMORY: 2}
"""How many rejected options are shown for each kind of obstacle; one for any other kind."""


# ---------------------------------------------------------------- an estimate


def estimate(facts: "Estimate", *, every: bool, more: str) -> Iterator["RenderableType"]:
    """The screen of an estimate: model, memory, options, and sources of the numbers; `more` is the command that shows `every` option."""
    yield _size_words(facts)
    if facts.parts_gib:
        parts = ", ".join(f"{name} {amount:.1f}" for name, amount in facts.parts_gib.items())
        yield Hanging("memory ", f"of one GPU: about {facts.memory_gib:.1f} GiB ({parts})")
    if facts.data:
        yield f"data   {facts.data}: {count(facts.tokens)} tokens an epoch" + (
            f", {count(facts.steps)} steps in all" if facts.steps else ""
        )
    yield ""
    shown = [option for option in facts.options if every or option in _worth_showing(facts.options)]
    yield OptionsTable(shown)
    hidden = len(facts.options) - len(shown)
    if hidden:
        yield f"\n{hidden} more: {more}"
    yield ""
    yield Hanging("$      ", price_words(facts.charges, facts.options))
    if facts.keeping:
        yield Hanging("kept   ", keeping_words(facts.keeping))
    yield Hanging("time   ", time_words(facts))
    for note in facts.notes:
        yield Hanging("note   ", note)


def next_step(facts: "Estimate", first: str, words: Sequence[str], market: Sequence[str] = ()) -> str:
    """The command to run after an estimate: `first` where an option was chosen, which is a launch or what a launch needs before.

    `words` are the options that name recipe and data, `market` is the market option that was typed.
    """
    chosen = next((option for option in facts.options if option.verdict is OfferVerdict.CHOSEN), None)
    if chosen and not first.startswith("llmlab launch"):
        return first
    if chosen:
        return shlex.join([*shlex.split(first)[:2], *words, *shlex.split(first)[2:], *(["--spot"] if chosen.market == SPOT else [])])
    if any(option.obstacle is Obstacle.QUOTA for option in facts.options):
        return "llmlab doctor --request-quota"
    return shlex.join(["llmlab", "estimate", *words, *market, "--all"])


def _size_words(facts: "Estimate") -> str:
    if facts.parameters:
        return f"model  {facts.model}: {count(facts.parameters)} parameters by {facts.source}, {facts.method}"
    if facts.missing:
        return f"{facts.missing}, so memory and time are not estimated"
    return f"{facts.model}: of unknown size, so memory and time are not estimated"


def _worth_showing(options: Sequence[Offer]) -> list[Offer]:
    """The best options, and the nearest rejected ones for each kind of obstacle."""
    shown = [option for option in options if option.verdict is not OfferVerdict.REJECTED][:BEST]
    for kind in Obstacle:
        shown += [option for option in options if option.obstacle is kind][: NEAREST.get(kind, 1)]
    return shown


class OptionsTable:
    """The table of options; zones, the week's price range and the placement score only on a wide terminal.

    An empty column is not drawn.
    """

    def __init__(self, options: Sequence[Offer]) -> None:
        self.options = options

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        wide = options.max_width >= WIDE
        rows = [_cells(option, wide=wide) for option in self.options]
        columns = [name for name in (rows[0] if rows else ()) if any(row[name] for row in rows)]
        drawn = empty_table(padding=(0, 1, 0, 0))
        for name in columns:
            right, folded = name in {"GiB", "$/h", "week's $/h", "score", "time", "total"}, name in {"GPU", "verdict"}
            narrow = 8 if name == "GPU" and not wide else None
            drawn.add_column(name, justify="right" if right else "left", no_wrap=not folded, overflow="fold", max_width=narrow)
        for option, row in zip(self.options, rows, strict=True):
            style = "bold" if option.verdict is OfferVerdict.CHOSEN else "dim" if option.verdict is OfferVerdict.REJECTED else ""
            drawn.add_row(*(row[name] for name in columns), style=style)
        yield drawn


def _cells(option: Offer, *, wide: bool) -> dict[str, str]:
    """The cells of an option's row, by column."""
    place = option.places[0] if option.places else None
    about = "~" if option.approximate else ""
    gpu = option.gpu.replace(" Server", "")
    cells = {
        "type": option.instance_type,
        "GPU": f"{option.gpus} x {gpu}" if option.gpus > 1 else gpu,
        "GiB": memory_words(option),
        "market": option.market,
        "$/h": about + dollars(place.price) if place else "",
        "time": duration(option.hours and option.hours * 3600),
        "total": dollars(option.cost),
        "verdict": ", ".join(filter(None, (_verdict(option), "measured" if option.measured else ""))),
    }
    if not wide:
        return cells
    extra = {
        "zone": "" if place is None or option.market == ON_DEMAND else place.zone + _others(len(option.places) - 1),
        "week's $/h": f"{dollars(place.low)}-{dollars(place.high)}" if place and place.low is not None and place.high is not None else "",
        "score": str(place.score) if place and place.score is not None else "",
    }
    order = ("type", "GPU", "GiB", "market", "zone", "$/h", "week's $/h", "score", "time", "total", "verdict")
    return {name: (cells | extra)[name] for name in order}


def _verdict(option: Offer) -> str:
    return ", ".join(filter(None, ("chosen", option.reason))) if option.verdict is OfferVerdict.CHOSEN else option.reason


def _others(number: int) -> str:
    return f" +{number}" if number > 0 else ""


def memory_words(option: Offer) -> str:
    """The memory that is needed and that one GPU has, in GiB."""
    available = "" if option.gpu_memory_gib is None else f"{option.gpu_memory_gib:.0f}"
    return available if option.needed_gib is None else f"{option.needed_gib:.1f}/{available}"


def price_words(charges: "Sequence[Charge]", options: Sequence[Offer]) -> str:
    """The parts of a run's price, and their sources."""
    beside = " + ".join(f"{charge.what} {'~' if charge.approximate else ''}{dollars(charge.hourly)}" for charge in charges)
    sources = ", ".join(dict.fromkeys(charge.source for charge in charges))
    listed = "~ by the shipped table" if any(option.approximate for option in options) else "by the Pricing API"
    return f"instance + {beside} an hour ({sources}), x time; spot: the cheapest zone's of now; on-demand: {listed}"


def keeping_words(facts: "Keeping") -> str:
    """What storage and logs cost in addition to instances."""
    return (
        f"about {size(facts.stored_gb)} in S3 afterwards ({facts.checkpoints} checkpoints of {size(facts.checkpoint_gb)}, and the result), "
        f"about {dollars(facts.monthly)} a month until it is deleted; logs at most {dollars(facts.logs)} an attempt"
    )


def size(gb: float) -> str:
    return f"{gb:,.0f} GB" if gb >= 10 else f"{gb:.1f} GB" if gb >= 1 else f"{gb * 1000:,.0f} MB"


def time_words(facts: "Estimate") -> str:
    """How the hours were estimated."""
    if not facts.tokens:
        return "of the run is not known without a dataset, so the order is by dollars for the same work"
    words = f"estimated at {REACHED:.0%} of each GPU's peak; {START_WORDS}, and no interruption"
    if not facts.measurements:
        return f"{words}; a first run of this model measures it"
    seen = ", ".join(
        f"{count(measurement.tokens_per_second)} tokens/s on {measurement.instance_type} (run {measurement.run})"
        for measurement in facts.measurements
    )
    return f"measured {seen}; elsewhere {words}, x {facts.correction:.2f} as measured"


# ---------------------------------------------------------------- before a launch


def plan(facts: "LaunchPlan", recipe: str) -> Iterator[tuple[str, str]]:
    """The plan of a launch, as names and values."""
    wish, best = facts.request, facts.options[0]
    tokens = facts.data.facts.get("tokens")
    yield "recipe", f"{recipe}: {wish.recipe.method} on {wish.recipe.model}"
    examples = facts.data.facts.get("examples")
    words = [
        facts.data.name,
        f"{count(examples)} examples" if isinstance(examples, int) else "",
        f"{count(tokens)} tokens" if tokens else "",
    ]
    yield "data", ", ".join(filter(None, words))
    yield "image", f"{', '.join(facts.image.tags) or facts.image.reference[-12:]} of {facts.image.pushed:%Y-%m-%d}, on {facts.ami}"
    if facts.memory_gib:
        yield "memory", f"about {facts.memory_gib:.1f} of {best.gpu_memory_gib:.0f} GiB of one {best.gpu}"
    yield "instance", chosen_words(facts)
    yield "because", because_words(facts)
    yield "market", market(facts)
    limit = f" (max-cost {dollars(wish.max_cost)})" if wish.max_cost else ""
    yield "at most", f"{hours(wish.max_hours)}, {dollars(facts.most_cost)} with disk and address, wherever it runs{limit}"
    if facts.keeping:
        yield "kept", keeping_words(facts.keeping)
    for note in facts.notes:
        yield "note", note


def question(facts: "LaunchPlan") -> str:
    """The question before a launch."""
    what = f"{facts.options[0].instance_type}, {MARKETS[facts.spot]}"
    return f"start {what}, for at most {hours(facts.request.max_hours)}, {dollars(facts.most_cost)}?"


def chosen_words(facts: "LaunchPlan") -> str:
    """The chosen pool, and the time and cost of the run there."""
    best = facts.options[0]
    place = best.places[0]
    score = f", placement score {place.score} of 10" if place.score is not None else ""
    words = f"{best.instance_type} ({best.gpus} x {best.gpu}), {best.market} in {place.zone} at {dollars(place.price)} an hour{score}"
    if best.hours is None or best.cost is None:
        return words
    how = "by its measured speed" if best.measured else "about"
    return f"{words}: {how} {duration(best.hours * 3600)} ({START_WORDS}), {dollars(best.cost)} with disk and address"


def because_words(facts: "LaunchPlan") -> str:
    """Why the pool was chosen, and which types are tried after it."""
    names = list(dict.fromkeys(option.instance_type for option in facts.options))
    why = "you named it first" if facts.preferred else "the least dollars for the whole run" if facts.options[0].cost else "the best price"
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    after = f"; then {', '.join(names[1:NAMED])}{more}" if len(names) > 1 else ""
    zones = len({pool.zone for pool in facts.pools})
    return f"{why}{after}; in {zones} zone{'' if zones == 1 else 's'}"


def market(facts: "LaunchPlan") -> str:
    """The market of a launch, and its price an hour."""
    on_demand = [pool.on_demand_price for pool in facts.pools]
    about = "about " if any(pool.approximate for pool in facts.pools) else ""
    words = f"on-demand, {about}{_range(on_demand)} an hour"
    if not facts.spot:
        return words
    spot = f"spot, {_range([pool.spot_price for pool in facts.pools if pool.spot_price is not None])} an hour"
    return f"{spot}; then {words}" if facts.fallback_on_demand else f"{spot} ({words})"


def _range(prices: Sequence[float]) -> str:
    low, high = min(prices), max(prices)
    return dollars(low) if low == high else f"{dollars(low)} to {dollars(high)}"
