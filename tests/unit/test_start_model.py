"""The model of a start: both sides by the same numbers, each with where it is from, and a ratio that follows from the parts."""

import pytest

from benchmarks import start

CASES = [pytest.param(start.MACHINES[name], start.MODELS[model], id=f"{name} {model}") for name, model in start.PAIRS]


def test_every_number_says_where_it_is_from() -> None:
    assert len(start.ASSUMPTIONS) > 15
    for name, one in start.ASSUMPTIONS.items():
        assert one.value > 0, name
        assert one.unit, name
        assert one.source, name
    assert {name.split(".")[0] for name, _ in start.PAIRS} == {"g4dn", "g5", "g6", "g6e", "p5"}


@pytest.mark.parametrize(("machine", "model"), CASES)
def test_a_number_moved_on_both_sides_moves_the_ratio_within_the_range(machine: start.Machine, model: float) -> None:
    low, high = start.swung(machine, model)
    assert low < start.ratio(machine, model, start.rates()) < high
    rates = start.rates() | {"boot": 0.0, "script": 0.0, "imports": 0.0}
    fixed = sum(start.rates()[name] for name in ("boot", "script", "imports"))
    before = start.seconds(start.BEFORE, machine, model, start.rates())
    assert before == pytest.approx(start.seconds(start.BEFORE, machine, model, rates) + fixed), "the parts follow one another"


@pytest.mark.parametrize(("machine", "model"), CASES)
def test_nothing_is_quicker_than_its_slowest_way(machine: start.Machine, model: float) -> None:
    """With a disk and a processor without limits, the network is what is left."""
    endless = start.rates() | {"nvme": 1e12, "zstd speed": 1e12, "hub": 1e12}
    took = start.parts(start.AFTER, machine, model, endless)
    packed = (2730 * 0.937 + 350) * 0.86
    together = max(took["image"], (packed + model) / machine.network)
    assert took["image"] + took["model"] == pytest.approx(together), "they come side by side, over one network"
    assert took["image"] == pytest.approx(packed / min(machine.network, 570), rel=0.01)
