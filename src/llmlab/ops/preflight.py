"""The checks before a run costs anything: limits, recipe, data, model, image, types, zones, quota, memory, price.

Nothing is created here. The requests to AWS go out at once; problems are reported in the order in which the user can mend them.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from llmlab import contract
from llmlab.aws import amis, documents, ecr_images, secrets, subnets_by_zone
from llmlab.aws.ecr_images import Image
from llmlab.aws.session import Aws, NotFound
from llmlab.config import Settings
from llmlab.contract import Charge, Manifest, Pool
from llmlab.errors import LabError, Refused, UsageError
from llmlab.ops import (
    at_hand,
    estimate,
    instance_offers,
    keeping,
    launch_pools,
    market_snapshot,
    model_size,
    suited,
    throughput_history,
    uploaded,
)
from llmlab.ops.estimate import START_HOURS
from llmlab.ops.hub import Hub
from llmlab.ops.instance_offers import Need, Offer
from llmlab.ops.keeping import Keeping
from llmlab.ops.launch_pools import MarketLimits
from llmlab.ops.naming import check_free, check_name
from llmlab.recipe import Recipe

MOST_HOURS = 168
STORED_BYTES = 2
"""Bytes of a parameter as the hub's models are stored: in 16 bits."""


@dataclass(frozen=True)
class Wish:
    """What the user asked for. Empty strings and tuples mean: the default."""

    recipe: Recipe
    data: str = ""
    instance_types: tuple[str, ...] = ()
    spot: bool = False
    fallback_on_demand: bool = False
    max_hours: float = 6
    max_cost: float | None = None
    auto_shutdown: bool = True
    resume: bool = True
    image: str = ""
    fallback_interruptions: int = 3
    fallback_minutes: float = 15
    wait_hours: float = 24
    idle_minutes: float = 20
    command: str = ""
    """The line as it was typed."""
    name: str | None = None
    """What the run is to be called."""


@dataclass(frozen=True)
class LaunchPlan:
    """A run that can start. `spot` and `fallback_on_demand` are what is left of the wish: a market may have nothing to give."""

    request: Wish
    data: Manifest
    model: Manifest | None
    image: Image
    ami: str
    pools: tuple[Pool, ...]
    spot: bool
    fallback_on_demand: bool
    options: tuple[Offer, ...]
    """What the pools were chosen by, the best first."""
    charges: tuple[Charge, ...]
    memory_gib: float | None
    """Of one GPU of the best."""
    most_cost: float
    """The most that the run can cost in US dollars, disk and address included: all its hours in the dearest of its pools."""
    notes: tuple[str, ...]
    """What was left out or is not known, and why."""
    preferred: tuple[str, ...] = ()
    """The types that the user named, in order."""
    keeping: Keeping | None = None
    """What the run leaves in S3 and in CloudWatch, which `most_cost` does not count."""
    training_network: bool = False
    hub_bytes: int = 0
    """About what the hub's model takes of a disk, 0 where nobody knows."""


def check_limits(wish: Wish) -> None:
    """Check the limits of a launch and its recipe, without asking AWS.

    Raises:
        UsageError: hours or dollars that make no sense.
        Refused: spot without checkpoints.
    """
    check_hours(wish.max_hours)
    check_cost(wish.max_cost)
    check_patience(wish)
    check_device(wish.recipe)
    suited.check_own_template(wish.recipe)
    if wish.max_hours <= START_HOURS:
        raise UsageError(
            f"max-hours {wish.max_hours:g} is over before training begins: an instance takes about {START_HOURS * 60:.0f} minutes to start",
            "llmlab launch --max-hours 1",
        )
    if wish.fallback_on_demand and not wish.spot:
        raise UsageError("--fallback-on-demand is for --spot", "llmlab launch --spot --fallback-on-demand")
    if wish.spot and wish.recipe.save_steps is None and wish.recipe.save_minutes >= wish.max_hours * 60:
        raise Refused(
            f"a spot instance without checkpoints would lose everything: save_minutes is {wish.recipe.save_minutes:g}, "
            f"the run takes at most {wish.max_hours * 60:g} minutes",
            "llmlab launch --spot --set save_minutes=10",
        )


def check_hours(hours: float) -> None:
    if not 0 < hours <= MOST_HOURS:
        raise UsageError(f"max-hours must be more than 0 and at most {MOST_HOURS} (a week), not {hours:g}", "llmlab launch --max-hours 6")


def check_device(recipe: Recipe) -> None:
    """Check that a CPU can train in the recipe's number format.

    Raises:
        UsageError: it cannot.
    """
    if recipe.device == "cpu" and recipe.precision == "fp16":
        raise UsageError("precision fp16 needs a GPU, and the recipe says device: cpu", "llmlab launch --set precision=auto")


def check_patience(wish: Wish) -> None:
    """Check how often and how long the run may be interrupted, wait for capacity or stand still.

    Raises:
        UsageError: a number that makes no sense.
    """
    for option, value, least, most, usual in (
        ("fallback-after", wish.fallback_interruptions, 1, 100, 3),
        ("fallback-minutes", wish.fallback_minutes, 0, 1440, 15),
        ("wait-hours", wish.wait_hours, 0, MOST_HOURS, 24),
        ("idle-minutes", wish.idle_minutes, 0, 1440, 20),
    ):
        if not least <= value <= most:
            raise UsageError(f"{option} must be between {least} and {most}, not {value:g}", f"llmlab launch --{option} {usual}")


def check_cost(dollars: float | None) -> None:
    if dollars is not None and not dollars > 0:
        raise UsageError(f"max-cost must be more than 0 dollars, not {dollars:g}", "llmlab launch --max-cost 10")


def check(aws: Aws, settings: Settings, wish: Wish, now: datetime, hub: Hub | None = None) -> LaunchPlan:
    """Look up and check everything that a launch needs. With a `hub` the plan's recipe names a commit of its model.

    Raises:
        LabError: the first thing that is missing, with the command that mends it.
        QuotaExceeded: the account may not run any of the types.
        UsageError: a type or a dataset that does not exist.
    """
    check_limits(wish)
    check_name(wish.name)
    wish = replace(wish, recipe=at_hand.with_template(wish.recipe, lambda: aws))
    wanted = wish.instance_types or settings.instance_types
    markets = market_snapshot.BOTH if wish.spot and wish.fallback_on_demand else (wish.spot,)
    with ThreadPoolExecutor(8) as pool:
        bootstrapped = pool.submit(subnets_by_zone.has_launch_template, aws)
        supply_future = pool.submit(market_snapshot.ask, aws, settings, wanted, now, markets=markets)
        data_future = pool.submit(uploaded.dataset, aws, wish.data)
        model_future = pool.submit(uploaded.model, aws, wish.recipe.lab_model)
        size_future = pool.submit(model_size.of, aws, wish.recipe.model, wish.recipe.lab_model)
        seen_future = pool.submit(throughput_history.read, aws, wish.recipe)
        image_future = pool.submit(ecr_images.choose, aws, wish.image)
        recipe_future = pool.submit(hub.pin, wish.recipe, partial(_has_token, aws)) if hub else None
        name_future = pool.submit(check_free, aws, wish.name, now) if wish.name else None
        ami_future = pool.submit(lambda: settings.ami or amis.newest(aws, settings.ubuntu))
        if not bootstrapped.result():
            raise documents.not_bootstrapped(aws)
        if name_future:
            name_future.result()
        market_supply = supply_future.result()
        data, model = data_future.result(), model_future.result()
        fit = suited.check(wish.recipe, data)
        image = _image(image_future.result, aws)
        need = Need(wish.recipe, size_future.result(), estimate.training_tokens(wish.recipe, data), seen_future.result(), wanted)
        ami = ami_future.result()
        recipe, moving = recipe_future.result() if recipe_future else (wish.recipe, "")
        shown = suited.check_template(recipe, data, model)
    offers = instance_offers.judge(need, market_supply, markets)
    choice = launch_pools.choose(
        offers, need, market_supply, MarketLimits(wish.spot, wish.fallback_on_demand, wish.max_hours, wish.max_cost)
    )
    names = instance_offers.spot_types(choice.options)
    scores, silent = market_snapshot.scores(aws, names) if choice.spot else ({}, "")
    unknown = f"the size of {wish.recipe.model} is not known, so its memory was not checked"
    return LaunchPlan(
        request=replace(wish, recipe=recipe),
        training_network=settings.training_network,
        data=data,
        model=model,
        image=image,
        ami=ami,
        pools=choice.pools,
        spot=choice.spot,
        fallback_on_demand=choice.fallback,
        options=instance_offers.detailed(choice.options, scores, {}),
        charges=market_supply.charges,
        memory_gib=choice.best.needed_gib,
        most_cost=min(choice.most_hourly * wish.max_hours, wish.max_cost or math.inf),
        notes=tuple(
            filter(
                None,
                (
                    *(_idle(wish.recipe), _open(settings), *fit, shown, moving, "" if need.size else unknown),
                    *(*market_supply.notes, silent, *choice.notes, estimate.uncertainty(wish.recipe)),
                ),
            )
        ),
        preferred=wanted,
        keeping=keeping.of(wish.recipe, need.size),
        hub_bytes=STORED_BYTES * need.size.parameters if need.size and not wish.recipe.lab_model else 0,
    )


def _has_token(aws: Aws) -> bool:
    """Whether the lab has a token of Hugging Face, as far as the user may know."""
    try:
        return any(secret.name == contract.HF_TOKEN for secret in secrets.find(aws))
    except LabError:
        return True


def _idle(recipe: Recipe) -> str:
    """A note on a recipe that trains on the CPU: instances are chosen, and their GPUs paid for, as for any other."""
    words = "device cpu: it trains on the processor, and the GPU that is paid for stays idle; hours and dollars are those of the GPU"
    return words if recipe.device == "cpu" else ""


def _open(settings: Settings) -> str:
    return (
        "training_network: the training container may reach the network, and what runs in it may send data there"
        * settings.training_network
    )


def _image(ask: Callable[[], Image], aws: Aws) -> Image:
    """The training image, once its labels show that the instance will not refuse it."""
    try:
        image = ask()
    except NotFound as error:
        raise documents.not_bootstrapped(aws) from error
    says = ecr_images.described(aws, image)
    if says is None:
        return image
    name = f"the image {image.tags[0] if image.tags else image.reference}"
    if says.architecture != ecr_images.ARCHITECTURE:
        raise Refused(f"{name} is for {says.architecture} and the lab's machines are {ecr_images.ARCHITECTURE}", "llmlab image push")
    if not says.contract:
        raise Refused(f"{name} is no training image of llmlab", "llmlab image push")
    if says.contract != str(contract.VERSION):
        raise Refused(
            f"{name} has version {says.contract} of the names that programs share, and this llmlab has {contract.VERSION}",
            "llmlab image push",
        )
    return image
