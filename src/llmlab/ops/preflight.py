"""What is checked before a run costs anything: limits, recipe, data, model, image, types, zones, quota, memory, price.

Nothing is created here. The questions to AWS go out at once; what is wrong is told in the order in which the user can mend it.
"""

import difflib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from llmlab import contract, fleet
from llmlab.aws import amis, documents, images, instance_types, launch_zones, prices, quotas
from llmlab.aws.images import Image
from llmlab.aws.instance_types import InstanceType
from llmlab.aws.quotas import Quota
from llmlab.aws.session import Aws, NotFound
from llmlab.config import Settings
from llmlab.contract import MANIFEST, Manifest, Pool
from llmlab.errors import LabError, QuotaExceeded, Refused, UsageError
from llmlab.ops import model_size
from llmlab.ops.estimate import ROOM, memory, rejection, spread
from llmlab.ops.model_size import ModelSize
from llmlab.recipe import LAB_MODEL, Recipe

MOST_HOURS = 168
T = TypeVar("T")


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


@dataclass(frozen=True)
class Plan:
    """A run that can start. `notes` say what was left out and why, `most_cost` the most its instance time can cost in US dollars."""

    wish: Wish
    data: Manifest
    model: Manifest | None
    image: Image
    ami: str
    pools: tuple[Pool, ...]
    types: tuple[InstanceType, ...]
    memory_gib: float | None
    most_cost: float
    notes: tuple[str, ...]


def check_limits(wish: Wish) -> None:
    """What needs no AWS.

    Raises:
        UsageError: hours or dollars that make no sense.
        Refused: spot without checkpoints.
    """
    check_hours(wish.max_hours)
    check_cost(wish.max_cost)
    check_patience(wish)
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


def check_patience(wish: Wish) -> None:
    """How long it waits, and for what.

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


def check(aws: Aws, settings: Settings, wish: Wish, now: datetime) -> Plan:
    """Everything a launch needs, looked up and judged.

    Raises:
        LabError: the first thing that is missing, with the command that mends it.
        QuotaExceeded: the account may not run any of the types.
        UsageError: a type or a dataset that does not exist.
    """
    check_limits(wish)
    wanted = wish.instance_types or settings.instance_types
    with ThreadPoolExecutor(12) as pool:
        bootstrapped = pool.submit(launch_zones.has_launch_template, aws)
        asked_types = pool.submit(instance_types.describe, aws, wanted)
        asked_zones = pool.submit(launch_zones.subnets, aws, settings.subnet_ids)
        asked_offers = pool.submit(instance_types.offered, aws, wanted)
        asked_on_demand = pool.submit(prices.on_demand, aws, wanted)
        asked_spot = pool.submit(prices.spot, aws, wanted, now)
        asked_quotas = [pool.submit(quotas.read, aws, one, spot=wish.spot) for one in {quotas.family(name) for name in wanted}]
        asked_data = pool.submit(dataset, aws, wish.data)
        asked_model = pool.submit(uploaded_model, aws, wish.recipe.lab_model)
        asked_size = pool.submit(model_size.of, aws, wish.recipe.model, wish.recipe.lab_model)
        asked_image = pool.submit(images.choose, aws, wish.image)
        asked_ami = pool.submit(lambda: settings.ami or amis.newest(aws, settings.ubuntu))
        if not bootstrapped.result():
            raise documents.not_bootstrapped(aws)
        types = asked_types.result()
        data, model = asked_data.result(), asked_model.result()
        image = _image(asked_image.result, aws)
        found = [quota.result() for quota in asked_quotas]
        sieve = Sieve(list(types.values()))
        sieve.market(spot=wish.spot)
        size = asked_size.result()
        sieve.memory(wish.recipe, size)
        sieve.quota(found, aws.region)
        offered = pools(sieve.types, asked_zones.result(), asked_offers.result(), asked_on_demand.result(), asked_spot.result())
        ordered = sieve.priced(offered, wish, asked_on_demand.result(), aws.region)
        ami = asked_ami.result()
    parts = memory(wish.recipe, size) if size else {}
    if not size:
        sieve.notes.append(f"the size of {wish.recipe.model} is not known, so its memory was not checked")
    return Plan(
        wish=wish,
        data=data,
        model=model,
        image=image,
        ami=ami,
        pools=ordered,
        types=tuple(sieve.types),
        memory_gib=sum(parts.values()) if parts else None,
        most_cost=most_cost(ordered, wish),
        notes=tuple(sieve.notes),
    )


def _image(ask: Callable[[], Image], aws: Aws) -> Image:
    try:
        return ask()
    except NotFound as error:
        raise documents.not_bootstrapped(aws) from error


class Sieve:
    """The instance types that are left, and a note about each that is not. Raises when none is left."""

    def __init__(self, types: list[InstanceType]) -> None:
        self.types = types
        self.notes: list[str] = []

    def drop(self, unfit: dict[str, str]) -> None:
        """Leave out the types that are keys of `unfit`, whose values say why."""
        self.types = [one for one in self.types if one.name not in unfit]
        self.notes += [f"left out {name}: {reason}" for name, reason in unfit.items()]

    def market(self, *, spot: bool) -> None:
        self.drop({one.name: "not offered as spot" for one in self.types if spot and not one.spot})
        if not self.types:
            raise LabError("none of these types is offered as spot", "llmlab launch --on-demand")

    def memory(self, recipe: Recipe, size: ModelSize | None) -> None:
        if size is None:
            return
        parts = memory(recipe, size)
        largest = max((one.gpu_memory_gib for one in self.types), default=0)
        self.drop({one.name: reason for one in self.types if (reason := rejection(one, spread(one, recipe, size)))})
        if not self.types:
            part = max(parts, key=lambda name: parts[name])
            raise LabError(
                f"the recipe needs about {sum(parts.values()):.1f} GiB on one GPU, most of it {part}, and the largest of these types has "
                f"{largest:.0f} GiB, of which {ROOM:.0%} may be filled",
                f"llmlab launch --set batch_size={max(1, recipe.batch_size // 2)} --set max_length={max(8, recipe.max_length // 2)}",
            )

    def quota(self, found: Sequence[Quota], region: str) -> None:
        """Leave out what the account may not start."""
        by_family = {quota.family: quota for quota in found}
        unfit: dict[str, str] = {}
        for one in self.types:
            quota = by_family[quotas.family(one.name)]
            if one.vcpus > quota.free:
                unfit[one.name] = f"needs {one.vcpus} vCPUs, {_allowed(quota)}"
        smallest = min(self.types, key=lambda one: one.vcpus)
        self.drop(unfit)
        if not self.types:
            quota = by_family[quotas.family(smallest.name)]
            raise QuotaExceeded(
                f"{smallest.name} needs {smallest.vcpus} vCPUs, and {_allowed(quota)} in {region}",
                quotas.request_command(quota, smallest.vcpus, region),
            )
        self.notes += [f"AWS does not tell the quota of {quota.words}" for quota in found if quota.limit is None]

    def priced(self, offered: Sequence[Pool], wish: Wish, on_demand: dict[str, prices.Price], region: str) -> tuple[Pool, ...]:
        """The pools in order. A type without a price, or that no zone of the lab offers, is left out."""
        self.drop({one.name: "no price is known" for one in self.types if one.name not in on_demand})
        zones = {pool.instance_type for pool in offered}
        self.drop({one.name: "no zone of the lab offers it" for one in self.types if one.name not in zones})
        ordered = fleet.order(offered, [one.name for one in self.types], spot=wish.spot)
        if not ordered:
            kind = "spot " if wish.spot else ""
            why = "; ".join(self.notes) or "AWS names no price"
            raise LabError(f"no {kind}instance of these types can be had in {region}: {why}", "llmlab estimate")
        if wish.fallback_on_demand:
            ordered += tuple(pool for pool in fleet.order(offered, [one.name for one in self.types], spot=False) if pool not in ordered)
        return ordered


def _allowed(quota: Quota) -> str:
    used = f", {quota.used} of them in use" if quota.used else ""
    return f"the quota of {quota.words} is {quota.limit or 0:g} vCPUs{used}"


def pools(
    types: Sequence[InstanceType],
    subnets: dict[str, str],
    offers: dict[str, tuple[str, ...]],
    on_demand: dict[str, prices.Price],
    spot: dict[tuple[str, str], float],
) -> list[Pool]:
    """Every type in every zone of the lab that offers it, with its prices."""
    return [
        Pool(
            instance_type=one.name,
            zone=zone,
            subnet=subnet,
            on_demand_price=on_demand[one.name].dollars,
            spot_price=spot.get((one.name, zone)) if one.spot else None,
            approximate=on_demand[one.name].approximate,
        )
        for one in types
        if one.name in on_demand
        for zone, subnet in subnets.items()
        if zone in offers.get(one.name, ())
    ]


def most_cost(ordered: Sequence[Pool], wish: Wish) -> float:
    """The most that the instance time of a run can cost: the dearest pool it may come from for all its hours, or the limit the user set."""
    on_demand = not wish.spot or wish.fallback_on_demand
    dearest = max(pool.on_demand_price if on_demand else pool.spot_price or 0.0 for pool in ordered)
    return min(dearest * wish.max_hours, wish.max_cost or float("inf"))


def dataset(aws: Aws, name: str) -> Manifest:
    """The manifest of a dataset; of the only one when no name is given.

    Raises:
        UsageError: it does not exist, or there are several.
    """
    bucket = aws.names.data_bucket
    if name:
        manifest = documents.read(aws, Manifest, bucket, contract.dataset_prefix(name) + MANIFEST)
        if manifest:
            return manifest
    names = documents.names_under(aws, bucket, contract.DATASETS)
    if not names:
        raise UsageError(
            "no dataset has been uploaded yet" if not name else f"there is no dataset {name}, and no other one", "llmlab upload data/"
        )
    if name:
        near = difflib.get_close_matches(name, names, n=1) or names[:1]
        raise UsageError(f"there is no dataset {name}; there are: {', '.join(names)}", f"llmlab launch --data {near[0]}")
    if len(names) > 1:
        raise UsageError(f"there are several datasets, name one: {', '.join(names)}", f"llmlab launch --data {names[0]}")
    manifest = documents.read(aws, Manifest, bucket, contract.dataset_prefix(names[0]) + MANIFEST)
    if manifest is None:
        raise UsageError(f"the upload of dataset {names[0]} was not finished", f"llmlab upload data/ --name {names[0]}")
    return manifest


def dataset_if_any(aws: Aws, name: str) -> Manifest | None:
    """As `dataset`, but None where there is none at all, or several and none was named: an estimate does without."""
    if not name and len(documents.names_under(aws, aws.names.data_bucket, contract.DATASETS)) != 1:
        return None
    return dataset(aws, name)


def not_uploaded(aws: Aws, name: str | None) -> LabError | None:
    """As `uploaded_model`, but what is missing is told instead of raised: an estimate goes on without."""
    try:
        uploaded_model(aws, name)
    except UsageError as error:
        return error
    return None


def uploaded_model(aws: Aws, name: str | None) -> Manifest | None:
    """The manifest of an uploaded model, None for a model of Hugging Face.

    Raises:
        UsageError: nothing of that name has been uploaded.
    """
    if name is None:
        return None
    bucket = aws.names.data_bucket
    manifest = documents.read(aws, Manifest, bucket, contract.model_prefix(name) + MANIFEST)
    if manifest is None:
        names = documents.names_under(aws, bucket, contract.MODELS)
        others = f"; there are: {', '.join(LAB_MODEL + one for one in names)}" if names else ""
        raise UsageError(f"the model {LAB_MODEL}{name} has not been uploaded{others}", f"llmlab upload {name}/ --model {name}")
    return manifest
