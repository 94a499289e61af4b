"""Options judged, ranked and turned into pools, on a market made by hand."""

from dataclasses import replace

import pytest

from llmlab import recipe as recipes
from llmlab.aws.instance_types import InstanceType
from llmlab.aws.prices import Price, SpotPrice
from llmlab.aws.quotas import CODES, Quota
from llmlab.contract import Charge
from llmlab.errors import LabError, QuotaExceeded, UsageError
from llmlab.lifecycle import pool_order
from llmlab.ops import estimate, instance_offers, launch_pools, model_size
from llmlab.ops.instance_offers import Need, Obstacle, Offer, OfferVerdict
from llmlab.ops.launch_pools import MarketLimits
from llmlab.ops.market_snapshot import BOTH, Supply
from llmlab.ops.throughput_history import Measurement

RECIPE = recipes.load("lora-1b", {"precision": "fp16"})
"""In a number format that every GPU here has, so that dollars alone tell them apart."""
SIZE = model_size.from_name(RECIPE.model)
ZONES = {"us-east-1a": "subnet-a", "us-east-1b": "subnet-b"}
T4 = InstanceType("g4dn.xlarge", "T4", 1, 16, 4, 16, spot=True)
L4 = InstanceType("g6.xlarge", "L4", 1, 22, 4, 16, spot=True)
L40S = InstanceType("g6e.xlarge", "L40S", 1, 44, 4, 32, spot=True)
H100 = InstanceType("p5.4xlarge", "H100", 1, 80, 16, 256, spot=True)
HOURLY = {"g4dn.xlarge": 0.526, "g6.xlarge": 0.805, "g6e.xlarge": 1.861, "p5.4xlarge": 6.88, "g6.12xlarge": 4.6}
TOKENS = 20e6
SPOT = MarketLimits(spot=True, fallback=False, max_hours=24, max_cost=None)


def supply(*types: InstanceType, limit: float | None = 64, used: int = 0) -> Supply:
    """Spot at a third of on-demand in a, a twentieth more in b."""
    names = [one.name for one in types]
    return Supply(
        region="us-east-1",
        types=types,
        subnets=dict(ZONES),
        offers=dict.fromkeys(names, tuple(ZONES)),
        on_demand={name: Price(HOURLY[name]) for name in names},
        spot={
            (name, zone): SpotPrice(HOURLY[name] / 3 * factor, 0.1, 1.0)
            for name in names
            for zone, factor in (("us-east-1a", 1.0), ("us-east-1b", 1.05))
        },
        spot_known=True,
        quotas={key: Quota(*key, code, limit, used) for key, code in CODES.items()},
        charges=(Charge("disk", 0.022, "test"), Charge("address", 0.005, "test")),
        notes=(),
    )


def need(tokens: float | None = TOKENS, *preferred: str, **seen: float) -> Need:
    measurements = {name.replace("_", "."): Measurement("r", name.replace("_", "."), speed) for name, speed in seen.items()}
    return Need(RECIPE, SIZE, tokens, measurements, preferred)


def hours(kind: InstanceType, tokens: float = TOKENS) -> float:
    assert SIZE
    speed = estimate.tokens_per_second(kind, RECIPE, SIZE)
    assert speed
    return estimate.hours(tokens, speed)


def possible(found: tuple[Offer, ...]) -> list[Offer]:
    return [one for one in found if one.verdict is not OfferVerdict.REJECTED]


def test_the_dollars_of_a_run_are_instance_disk_and_address_for_its_hours() -> None:
    there = supply(L4)
    (one,) = possible(instance_offers.judge(need(), there, (True,)))
    price = 0.805 / 3
    assert one.hours == pytest.approx(hours(L4))
    assert one.costs == pytest.approx({"instance": price * hours(L4), "disk": 0.022 * hours(L4), "address": 0.005 * hours(L4)})
    assert one.cost == pytest.approx((price + 0.027) * hours(L4)) == one.dollars
    assert [place.zone for place in one.places] == ["us-east-1a", "us-east-1b"]
    assert one.needed_gib == pytest.approx(sum(estimate.spread(L4, RECIPE, SIZE).values())) if SIZE else False


def test_the_cheapest_for_the_work_is_chosen_and_not_the_cheapest_an_hour() -> None:
    found = possible(instance_offers.judge(need(), supply(T4, L4, L40S), (True,)))
    assert found[0].verdict is OfferVerdict.CHOSEN
    assert [one.instance_type for one in found] == ["g6e.xlarge", "g6.xlarge", "g4dn.xlarge"]
    dollars = [one.cost or 0 for one in found]
    assert dollars == sorted(dollars)
    assert found[1].reason == f"dearer: {dollars[1] / dollars[0]:.1f}x"
    short = possible(instance_offers.judge(need(1000), supply(T4, L4, L40S), (True,)))
    assert short[0].instance_type == "g4dn.xlarge", "a run of nothing but its start wants the cheapest hour"


def test_without_tokens_the_ratios_are_of_the_same_work() -> None:
    known, unknown = (possible(instance_offers.judge(need(tokens), supply(T4, L4, L40S), (True,))) for tokens in (1e12, None))
    assert [one.instance_type for one in known] == [one.instance_type for one in unknown]
    assert {(one.hours, one.cost) for one in unknown} == {(None, None)}
    for first, second in zip(known, unknown, strict=True):
        assert (first.dollars or 0) / (known[0].dollars or 1) == pytest.approx((second.dollars or 0) / (unknown[0].dollars or 1), rel=1e-3)


def test_the_users_order_counts_before_dollars() -> None:
    found = possible(instance_offers.judge(need(TOKENS, "g4dn.xlarge", "g6e.xlarge"), supply(L40S, T4), (True,)))
    assert [(one.instance_type, one.reason) for one in found] == [("g4dn.xlarge", "fp16, no bf16"), ("g6e.xlarge", "named later")]


def test_each_obstacle_has_its_reason() -> None:
    small = replace(L4, name="g6.xlarge", gpu_memory_gib=4)
    blocks = replace(H100, on_demand=False, spot=False)
    there = supply(small, T4, L40S, blocks, limit=2)
    there = replace(there, offers=there.offers | {"g4dn.xlarge": ()}, on_demand={"g6e.xlarge": Price(1.8), "p5.4xlarge": Price(6.88)})
    found = {(one.instance_type, one.market): one for one in instance_offers.judge(need(), there, BOTH)}
    assert found["g6.xlarge", ""].reason.startswith("needs 6.8 GiB, has 4")
    assert found["g4dn.xlarge", ""].reason == "no zone of the region offers it"
    assert found["g6e.xlarge", "spot"].reason == "quota 2 of 4 vCPUs"
    assert found["p5.4xlarge", "spot"].reason == "not sold as spot"
    assert found["p5.4xlarge", "on-demand"].reason == "sold in capacity blocks alone"
    assert found["g5.xlarge", ""].reason == "not offered in this region"
    assert not possible(tuple(found.values()))
    kinds = [one.obstacle for one in found.values()]
    assert kinds == sorted(kinds, key=lambda kind: list(Obstacle).index(kind or Obstacle.REGION)), "the nearest to being possible first"
    assert set(kinds) == {Obstacle.QUOTA, Obstacle.MEMORY, Obstacle.MARKET, Obstacle.ZONE, Obstacle.REGION}


def test_where_trl_trains_several_gpus_are_not_paid_for() -> None:
    """A type that one copy of the model fits is no bargain with three idle GPUs beside it."""
    four = replace(L4, name="g6.12xlarge", gpus=4)
    asked = replace(need(), recipe=RECIPE.model_copy(update={"engine": "trl"}))
    there = supply(L4, four)
    found = {one.instance_type: one for one in instance_offers.judge(asked, there, (False,))}
    assert (found["g6.12xlarge"].reason, found["g6.12xlarge"].obstacle) == (
        "has 4 GPUs, and TRL's trainers train on one here",
        Obstacle.GPUS,
    )
    assert found["g6.xlarge"].verdict is OfferVerdict.CHOSEN
    found = {one.instance_type: one for one in instance_offers.judge(need(), there, (False,))}
    assert found["g6.12xlarge"].verdict is not OfferVerdict.REJECTED, "our own loop trains on all of them"


def test_the_quota_counts_what_runs() -> None:
    (one,) = (one for one in instance_offers.judge(need(), supply(L4, limit=6, used=4), (False,)) if one.instance_type == "g6.xlarge")
    assert (one.verdict, one.reason) == (OfferVerdict.REJECTED, "quota 6 (4 in use) of 4 vCPUs")
    assert possible(instance_offers.judge(need(), supply(L4, limit=None, used=99), (False,))), "what AWS does not tell stops nothing"


def test_a_measured_speed_replaces_the_estimate_and_corrects_the_others() -> None:
    assert SIZE
    estimated = estimate.tokens_per_second(L4, RECIPE, SIZE) or 0
    found = {
        one.instance_type: one for one in instance_offers.judge(need(g6_xlarge=estimated / 2), supply(L4, L40S), (True,)) if one.places
    }
    assert [found[name].measured for name in ("g6.xlarge", "g6e.xlarge")] == [True, False]
    for kind in (L4, L40S):
        assert (found[kind.name].hours or 0) - estimate.START_HOURS == pytest.approx(2 * (hours(kind) - estimate.START_HOURS))


# ---------------------------------------------------------------- pools


def choose(wanted: Need, there: Supply, limits: MarketLimits = SPOT) -> launch_pools.Choice:
    markets = BOTH if limits.fallback else (limits.spot,)
    return launch_pools.choose(instance_offers.judge(wanted, there, markets), wanted, there, limits)


def test_the_pools_are_ordered_as_the_options() -> None:
    there = supply(T4, L4, L40S)
    choice = choose(need(), there)
    tiers = pool_order.tiers(choice.pools, (), spot=True, beside=there.beside)
    assert tiers[0][0].instance_type == choice.best.instance_type == "g6e.xlarge"
    assert [pool.instance_type for tier in tiers for pool in tier if pool.zone == "us-east-1a"] == [
        one.instance_type for one in choice.options
    ]
    slowest, quickest = min(choice.pools, key=lambda one: one.speed), max(choice.pools, key=lambda one: one.speed)
    assert (slowest.speed, slowest.instance_type) == (1.0, "g4dn.xlarge")
    assert quickest.speed == pytest.approx(hours(T4) / hours(L40S), rel=1e-3)
    assert choice.most_hourly == pytest.approx(1.861 / 3 * 1.05 + 0.027)


def test_what_is_far_dearer_is_left_out_unless_it_is_named() -> None:
    """A short run on an H100 costs many times what it does on a T4."""
    there = supply(T4, H100)
    choice = choose(need(1000), there)
    assert {pool.instance_type for pool in choice.pools} == {"g4dn.xlarge"}
    assert any(note.startswith("left out: p5.4xlarge (dearer than 3 x the best); ") for note in choice.notes)
    named = choose(need(1000, "g4dn.xlarge", "p5.4xlarge"), there)
    assert {pool.instance_type for pool in named.pools} == {"g4dn.xlarge", "p5.4xlarge"}


def test_what_the_ceilings_would_cut_off_is_left_out_where_something_else_comes_to_its_end() -> None:
    there = supply(T4, L40S)
    limit = (hours(T4) + hours(L40S)) / 2
    choice = choose(need(), there, replace(SPOT, max_hours=limit))
    assert {pool.instance_type for pool in choice.pools} == {"g6e.xlarge"}
    assert any(note.startswith(f"left out: g4dn.xlarge (longer than max-hours {limit:g}); ") for note in choice.notes)
    short = choose(need(), there, replace(SPOT, max_hours=0.2))
    assert {pool.instance_type for pool in short.pools} == {"g6e.xlarge", "g4dn.xlarge"}
    assert any("ends it before, with a checkpoint" in note for note in short.notes)
    costs = {one.instance_type: one.cost or 0 for one in choose(need(), there).options}
    middle = sum(costs.values()) / 2
    cheap = choose(need(), there, replace(SPOT, max_cost=middle))
    assert {pool.instance_type for pool in cheap.pools} == {"g6e.xlarge"}


def test_no_more_types_than_are_of_use() -> None:
    many = [replace(L4, name=f"g6.{number}xlarge") for number in range(1, 13)]
    there = supply(L4)
    names = [one.name for one in many]
    there = replace(
        there,
        types=tuple(many),
        offers=dict.fromkeys(names, tuple(ZONES)),
        on_demand=dict.fromkeys(names, Price(0.8)),
        spot={(name, zone): SpotPrice(0.3, 0.3, 0.3) for name in names for zone in ZONES},
    )
    assert len({pool.instance_type for pool in choose(need(), there).pools}) == launch_pools.MOST_TYPES


def test_a_market_that_is_not_possible_gives_way_where_the_other_is_allowed() -> None:
    both = replace(SPOT, fallback=True)
    there = supply(L4)
    shut = {key: replace(quota, limit=0.0) if key[1] else quota for key, quota in there.quotas.items()}
    no_spot = choose(need(), replace(there, quotas=shut), both)
    assert (no_spot.spot, no_spot.fallback) == (False, False)
    assert any(note.startswith("no spot is possible (g6.xlarge: quota 0 of 4 vCPUs)") for note in no_spot.notes)
    shut = {key: quota if key[1] else replace(quota, limit=0.0) for key, quota in there.quotas.items()}
    spot_alone = choose(need(), replace(there, quotas=shut), both)
    assert (spot_alone.spot, spot_alone.fallback) == (True, False)
    free = choose(need(), there, both)
    assert (free.spot, free.fallback) == (True, True)
    assert free.most_hourly == pytest.approx(0.805 + 0.027), "the dearest pool that may be asked is the on-demand one"


def test_nothing_left_is_an_error_with_the_way_out() -> None:
    with pytest.raises(
        QuotaExceeded, match=r"^g6.xlarge needs 4 vCPUs, and the quota of spot G and VT instances \(L-3819A6DF\) is 0"
    ) as over:
        choose(need(), supply(L4, limit=0))
    assert over.value.hint.endswith("# or: llmlab doctor --request-quota")
    with pytest.raises(QuotaExceeded, match=r"p5\.4xlarge needs 16 vCPUs") as over:
        choose(need(), supply(H100, limit=0))
    assert over.value.hint.endswith("# or: LLMLAB_INSTANCE_TYPES=p5.4xlarge llmlab doctor --request-quota")
    with pytest.raises(LabError, match=r"the recipe needs about 6\.8 GiB on one GPU"):
        choose(need(), supply(replace(L4, gpu_memory_gib=4)))
    with pytest.raises(LabError, match="sold as spot") as no_spot:
        choose(need(), supply(replace(L4, spot=False)))
    assert no_spot.value.hint == "llmlab launch --on-demand"
    with pytest.raises(UsageError, match=r"max-cost \$0.10 pays for less than an hour .* g6.xlarge spot, \$0.30 with disk and address"):
        choose(need(), supply(L4), replace(SPOT, max_cost=0.1))


# ------------------------------------------------------------ number formats


def test_a_gpu_without_bf16_comes_after_those_with_it_and_in_no_run_of_theirs() -> None:
    """However cheap it is: the run would go on in fp16 where it is moved there."""
    there = supply(T4, L4, L40S)
    cheap = replace(
        there, spot={key: SpotPrice(price.now / (20 if key[0] == T4.name else 1), 0.01, 1.0) for key, price in there.spot.items()}
    )
    auto = replace(need(), recipe=recipes.load("lora-1b"))
    judged = instance_offers.judge(auto, cheap, (True,))
    possible = [one for one in judged if one.verdict is not OfferVerdict.REJECTED]
    assert (possible[-1].instance_type, possible[-1].reason) == (T4.name, "fp16, no bf16")
    choice = launch_pools.choose(judged, auto, cheap, SPOT)
    assert {pool.instance_type for pool in choice.pools} == {L4.name, L40S.name}
    assert any(note.startswith(f"left out: {T4.name} (in fp16, the others in bf16); ") for note in choice.notes)
    fp16 = need()
    assert launch_pools.choose(instance_offers.judge(fp16, cheap, (True,)), fp16, cheap, SPOT).best.instance_type == T4.name


def test_a_gpu_without_bf16_is_chosen_where_there_is_no_other_or_the_user_names_it() -> None:
    auto = replace(need(), recipe=recipes.load("lora-1b"))
    alone = supply(T4)
    assert launch_pools.choose(instance_offers.judge(auto, alone, (True,)), auto, alone, SPOT).best.instance_type == T4.name
    named, both = replace(auto, preferred=(T4.name,)), supply(T4, L4)
    assert launch_pools.choose(instance_offers.judge(named, both, (True,)), named, both, SPOT).best.instance_type == T4.name


def test_no_instance_is_chosen_for_experts_in_4_bits() -> None:
    """They stay in 16 bits, which is several times the memory that 4 bits are estimated at."""
    for model in ("Qwen/Qwen3-30B-A3B", "openai/gpt-oss-20b"):
        recipe = recipes.load("lora-1b", {"method": "qlora", "model": model})
        with pytest.raises(UsageError, match="it is a mixture of experts") as caught:
            instance_offers.judge(replace(need(), recipe=recipe, size=model_size.from_name(model)), supply(L4), (True,))
        assert caught.value.hint == "llmlab launch --set method=lora"
    dense = recipes.load("lora-1b", {"method": "qlora"})
    assert instance_offers.judge(replace(need(), recipe=dense), supply(L4), (True,))[0].verdict is OfferVerdict.CHOSEN
