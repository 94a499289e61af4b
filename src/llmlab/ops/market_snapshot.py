"""The market that AWS offers for a run: instance types, zones, on-demand and spot prices, quotas, charges.

Read once, all at the same time, for `estimate` and `launch` alike. Types, zones and a subnet for the instance are needed; a price or a
quota that may not be read costs accuracy and a note, and stops nothing.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from llmlab.aws import instance_catalogue, instance_overhead, instance_types, placement, prices, quotas, subnets_by_zone
from llmlab.aws.instance_types import InstanceType
from llmlab.aws.prices import Price, SpotPrice
from llmlab.aws.quotas import Quota
from llmlab.aws.session import Aws, AwsError, BadCredentials
from llmlab.config import Settings
from llmlab.contract import Charge
from llmlab.errors import LabError, UsageError
from llmlab.lifecycle import billing

BOTH = (True, False)
"""Markets: spot, on demand."""


@dataclass(frozen=True)
class Supply:
    """The market as it is now. `subnets` by zone; {} where there is no lab yet, and then every zone will do."""

    region: str
    types: tuple[InstanceType, ...]
    subnets: dict[str, str]
    offers: dict[str, tuple[str, ...]]
    on_demand: dict[str, Price]
    spot: dict[tuple[str, str], SpotPrice]
    spot_known: bool
    """False: the history could not be read, and `spot` holds the on-demand prices, which are its ceiling."""
    quotas: dict[tuple[str, bool], Quota]
    charges: tuple[Charge, ...]
    notes: tuple[str, ...]
    """Which numbers are approximate or not known, and why."""

    def zones(self, name: str) -> tuple[str, ...]:
        """The zones in which the lab may start instances of a type."""
        return tuple(zone for zone in self.offers.get(name, ()) if not self.subnets or zone in self.subnets)

    @property
    def beside(self) -> float:
        """US dollars an hour for what is paid beside an instance: its disk and its address."""
        return billing.beside(self.charges)


def ask(
    aws: Aws,
    settings: Settings,
    names: Sequence[str],
    now: datetime,
    *,
    markets: Sequence[bool] = BOTH,
    homeless: bool = False,
) -> Supply:
    """The market for these types, or for every usable one, at the prices of now.

    `homeless`: a lab without a subnet is no error.

    Raises:
        UsageError: one of the types cannot be used.
        LabError: the lab has no subnet.
    """
    notes: list[str] = []
    with ThreadPoolExecutor(7) as pool:
        subnets_future = pool.submit(_subnets, aws, settings, homeless=homeless)
        charges_future = pool.submit(instance_overhead.read, aws, settings.disk_gib, settings.disk_mb_per_second)
        types = instance_types.named_or_usable(aws, names)
        type_names = [kind.name for kind in types]
        offers_future = pool.submit(instance_types.offered, aws, type_names)
        on_demand_future = pool.submit(prices.on_demand, aws, type_names)
        spot_future = pool.submit(history, aws, type_names, now) if True in markets else None
        quotas_future = pool.submit(quotas.read, aws, type_names, markets)
        on_demand, silent = on_demand_future.result()
        beside, mute = charges_future.result()
        offers = offers_future.result()
        spot, unread = spot_future.result() if spot_future else ({}, "")
        limits = quotas_future.result()
        subnets = subnets_future.result()
    if unread:
        spot = ceilings(offers, on_demand)
        notes.append(f"{unread}, so spot is counted at the on-demand price, the most that it can cost")
    notes += _approximate(on_demand, beside, silent or mute)
    notes += [f"AWS does not tell the quota of {quota.words}, so it was not checked" for quota in limits.values() if quota.limit is None]
    return Supply(aws.region, tuple(types), subnets, offers, on_demand, spot, not unread, limits, beside, tuple(notes))


def listed(settings: Settings, names: Sequence[str], markets: Sequence[bool], why: str) -> Supply:
    """The market by the shipped price tables, for users without an account; `why` says why AWS cannot be asked.

    Raises:
        UsageError: one of the types is not in the tables.
    """
    types = instance_catalogue.described()
    unknown = next((name for name in names if name not in types), "")
    if unknown:
        raise UsageError(f"{unknown} is not in the list of prices, and {why}", "llmlab estimate --all", without=["--instance-type"])
    chosen = [types[name] for name in names or types]
    offers: dict[str, tuple[str, ...]] = {kind.name: (instance_catalogue.REGION,) for kind in chosen}
    on_demand = {kind.name: Price(prices.APPROXIMATE[kind.name], approximate=True) for kind in chosen}
    spot = ceilings(offers, on_demand) if True in markets else {}
    region, noted = instance_catalogue.REGION, instance_catalogue.NOTED
    notes = [f"{why}, so these are list prices of {region} as noted in {noted}, and quotas were not checked"]
    if spot:
        notes.append("spot is counted at the on-demand price, the most that it can cost")
    beside = instance_overhead.shipped(settings.disk_gib, settings.disk_mb_per_second)
    return Supply(instance_catalogue.REGION, tuple(chosen), {}, offers, on_demand, spot, False, {}, beside, tuple(notes))


def scores(aws: Aws, names: Sequence[str]) -> tuple[dict[str, int], str]:
    """The placement score of each zone for these types together, and a note where AWS does not tell."""
    try:
        return placement.scores(aws, names), ""
    except BadCredentials:
        raise
    except AwsError as error:
        return {}, f"{error.message}, so there are no placement scores"


def history(aws: Aws, names: Sequence[str], now: datetime, *, days: float = 0) -> tuple[dict[tuple[str, str], SpotPrice], str]:
    """The spot prices of these types with their spread over so many days, and why AWS does not tell ("" when it does)."""
    try:
        return (prices.spot(aws, names, now, days=days) if names else {}), ""
    except BadCredentials:
        raise
    except AwsError as error:
        return {}, error.message


def ceilings(offers: dict[str, tuple[str, ...]], on_demand: dict[str, Price]) -> dict[tuple[str, str], SpotPrice]:
    """Each pool at its on-demand price: a spot request without a price of its own never pays more.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-spot-instances-history.html
    """
    return {
        (name, zone): SpotPrice(price.dollars, price.dollars, price.dollars)
        for name, price in on_demand.items()
        for zone in offers.get(name, ())
    }


def _subnets(aws: Aws, settings: Settings, *, homeless: bool) -> dict[str, str]:
    try:
        return subnets_by_zone.subnets(aws, settings.subnet_ids)
    except AwsError:
        raise
    except LabError:
        if homeless:
            return {}
        raise


def _approximate(on_demand: dict[str, Price], beside: Sequence[Charge], why: str) -> list[str]:
    """A note that names all the prices that come from the shipped tables."""
    table = [name for name, price in on_demand.items() if price.approximate]
    what = [f"on-demand of {table[0] if len(table) == 1 else f'{len(table)} types'}"] if table else []
    what += [charge.what for charge in beside if charge.approximate]
    if not what:
        return []
    return [f"{why or 'the Pricing API does not list them'}, so these prices are approximate: {', '.join(what)}"]
