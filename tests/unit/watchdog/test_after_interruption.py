"""Where and when a run goes on after an interruption: pools, markets, pauses, half the batch."""

import dataclasses
from datetime import timedelta

import pytest
from botocore.exceptions import ReadTimeoutError

from llmlab import contract
from llmlab.contract import EndReason
from llmlab.watchdog import capacity
from tests.unit.watchdog.lab import BY_API, KEYS, SPOT, Lab, ended, gone


def zones(lab: Lab) -> list[str]:
    return [attempt.zone[-1] for attempt in lab.attempts()]


# ---------------------------------------------------------------- pools


@pytest.mark.parametrize("reason", [EndReason.SPOT_INTERRUPTED, EndReason.INSTANCE_LOST, EndReason.HARDWARE_FAILED])
def test_the_pool_that_failed_is_left_out_for_half_an_hour(lab: Lab, reason: EndReason) -> None:
    lab.price(0.1, "us-east-1a")
    lab.price(0.4, "us-east-1b")
    first = lab.launch()
    lab.clock.sleep(600)
    ended(lab, 1, reason)
    lab.wake(lab.kill(first))
    assert zones(lab) == ["a", "b"]
    lab.clock.sleep(1700)
    lab.wake(lab.kill(lab.attempts()[-1].instance))  # b has failed now, and a not half an hour ago: the cheaper of the two that failed
    assert zones(lab) == ["a", "b", "a"]


def test_after_half_an_hour_it_is_the_cheapest_again(lab: Lab) -> None:
    lab.price(0.1, "us-east-1a")
    lab.price(0.4, "us-east-1b")
    lab.wake(lab.kill(lab.launch()))
    assert zones(lab) == ["a", "b"]
    lab.clock.sleep(31 * 60)
    lab.wake(lab.kill(lab.attempts()[-1].instance))
    assert zones(lab) == ["a", "b", "a"]
    assert lab.attempts()[-1].price == 0.1


def test_a_pool_that_failed_is_better_than_none(lab: Lab) -> None:
    lab.refuse(zone="us-east-1b")
    lab.wake(lab.kill(lab.launch()))
    assert zones(lab) == ["a", "a"]


def test_prices_of_now_count_and_speed_too(lab: Lab) -> None:
    """A type that is three times as fast is worth nearly three times the price."""
    fast = [dataclasses.replace(pool, instance_type="g6e.xlarge", speed=3.0, spot_price=0.5) for pool in lab.pools]
    lab.change(pools=(*lab.pools, *fast))
    lab.wake(lab.kill(lab.launch()))
    assert lab.attempts()[-1].instance_type == "g6e.xlarge"
    lab.price(0.05, "us-east-1b")
    lab.clock.sleep(3600)
    lab.wake(lab.kill(lab.attempts()[-1].instance))
    assert (lab.attempts()[-1].instance_type, lab.attempts()[-1].zone, lab.attempts()[-1].price) == ("g6.xlarge", "us-east-1b", 0.05)


# ---------------------------------------------------------------- waiting


def test_without_capacity_it_asks_again_after_growing_pauses(lab: Lab) -> None:
    first = lab.launch()
    lab.refuse()
    start = lab.clock.now()
    lab.wake(lab.kill(first))
    assert lab.end(2).reason is EndReason.NO_CAPACITY
    assert set(lab.end(2).refused) == {"g6.xlarge/us-east-1a", "g6.xlarge/us-east-1b"}
    pauses = []
    for _ in range(8):
        before = lab.clock.now()
        for _ in range(3):
            assert set(lab.wake(gone(first)) + lab.wake({"sweep": True})) == {"wait", "swept"}  # nothing is asked before its time
        while "no instance" not in lab.sleep_until_alarm():  # the alarm that was set before EC2 was asked may still come first
            assert lab.alarm
        pauses.append((lab.clock.now() - before).total_seconds() / 60)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    assert len(lab.attempts()) == 10
    assert [name for name in lab.schedules() if not name.endswith("wake")] == []
    lab.allow()
    while "resumed" not in lab.sleep_until_alarm():
        assert lab.alarm
    last = lab.attempts()[-1]
    assert (last.number, last.hours_before) == (11, 0.0)
    assert last.deadline == pytest.approx(lab.clock.now().timestamp() + 6 * 3600, abs=1)
    assert (lab.clock.now() - start) > timedelta(hours=2)


def test_in_the_end_it_is_given_up(lab: Lab) -> None:
    lab.change(wait_hours=1.0)
    first = lab.launch()
    lab.refuse()
    start = lab.clock.now()
    lab.wake(lab.kill(first))
    while lab.marker() is None:
        lab.sleep_until_alarm()
    marker = lab.marker()
    assert marker
    assert marker.reason is EndReason.NO_CAPACITY
    assert "in 1 hours" in marker.detail
    assert lab.clock.now() - start == timedelta(hours=1)
    assert lab.schedules() == {}


def test_a_stop_while_it_waits_counts_at_the_next_try(lab: Lab) -> None:
    first = lab.launch()
    lab.refuse()
    lab.wake(lab.kill(first))
    lab.clock.sleep(1)
    lab.write(KEYS.stop, contract.Stop(lab.attempts()[0].run, contract.build_timestamp(lab.clock.now())))
    lab.sleep_until_alarm()
    marker = lab.marker()
    assert marker
    assert marker.reason is EndReason.STOPPED_BY_USER


# ---------------------------------------------------------------- on demand


def test_on_demand_after_so_many_interruptions_and_then_it_stays(lab: Lab) -> None:
    lab.change(fallback_on_demand=True, fallback_interruptions=2)
    lab.wake(lab.kill(lab.launch()))
    lab.wake(lab.kill(lab.attempts()[-1].instance))
    lab.wake(lab.kill(lab.attempts()[-1].instance, "Server.InternalError"))
    assert [attempt.spot for attempt in lab.attempts()] == [True, True, False, False]
    assert [attempt.price for attempt in lab.attempts()[2:]] == [0.8, 0.8]
    assert lab.live()[0].get("InstanceLifecycle") is None


def test_on_demand_after_so_many_minutes_without_spot(lab: Lab) -> None:
    lab.change(fallback_on_demand=True, fallback_minutes=10.0)
    first = lab.launch()
    lab.refuse(market=SPOT)
    start = lab.clock.now()
    lab.wake(lab.kill(first))
    while not lab.live():
        lab.sleep_until_alarm()
    assert lab.clock.now() - start == timedelta(minutes=10)
    assert not lab.attempts()[-1].spot


def test_without_the_wish_it_never_goes_on_demand(lab: Lab) -> None:
    lab.change(fallback_interruptions=1)
    first = lab.launch()
    lab.refuse(market=SPOT)
    lab.wake(lab.kill(first))
    for _ in range(6):
        lab.sleep_until_alarm()
    assert lab.live() == []


def test_on_demand_is_not_started_with_less_than_it_needs(lab: Lab) -> None:
    """Three minutes of spot are left of the limit, and one of on demand."""
    lab.change(fallback_on_demand=True, fallback_interruptions=1)
    left = 0.8 * capacity.LEAST_HOURS * 0.9
    attempt = lab.launch(max_cost=1.0, cost_before=1.0 - left)
    lab.refuse(market=SPOT)
    lab.clock.sleep(5)
    lab.wake(lab.kill(attempt))
    assert lab.live() == []
    lab.allow()
    lab.sleep_until_alarm()
    assert lab.attempts()[-1].spot


def test_nothing_is_started_with_what_pays_for_no_start(lab: Lab) -> None:
    attempt = lab.launch(max_cost=1.0, cost_before=0.99)
    lab.wake(lab.kill(attempt))
    marker = lab.marker()
    assert marker
    assert marker.reason is EndReason.COST_REACHED
    assert "do not pay for another start" in marker.detail


# ---------------------------------------------------------------- memory


def test_out_of_memory_is_tried_once_more_with_half_the_batch(lab: Lab) -> None:
    lab.change(recipe={"batch_size": 8, "accumulate": 2})
    first = lab.launch()
    ended(lab, 1, EndReason.OUT_OF_MEMORY, hours=0.2, cost=0.06)
    lab.wake(lab.kill(first, "Client.InstanceInitiatedShutdown"))
    second = lab.attempts()[-1]
    assert (second.number, second.shrink, second.hours_before, second.cost_before) == (2, 2, 0.2, 0.06)
    assert "batch 4 x accumulate 4 instead of batch 8 x accumulate 2" in lab.sent()[0][1]
    lab.wake(lab.kill(second))  # an interruption in between changes nothing about that
    assert lab.attempts()[-1].shrink == 2
    ended(lab, 3, EndReason.OUT_OF_MEMORY)
    lab.wake(lab.kill(lab.attempts()[-1], "Client.InstanceInitiatedShutdown"))
    marker = lab.marker()
    assert marker
    assert (marker.reason, marker.attempts) == (EndReason.OUT_OF_MEMORY, 3)


@pytest.mark.parametrize(
    "recipe", [{"batch_size": 1}, {"batch_size": 3}, {"batch_size": 8, "on_out_of_memory": "stop"}], ids=["one", "odd", "told not to"]
)
def test_out_of_memory_that_cannot_be_mended_is_the_end(lab: Lab, recipe: dict[str, object]) -> None:
    lab.change(recipe=recipe)
    first = lab.launch()
    ended(lab, 1, EndReason.OUT_OF_MEMORY)
    lab.wake(lab.kill(first, "Client.InstanceInitiatedShutdown"))
    marker = lab.marker()
    assert marker
    assert marker.reason is EndReason.OUT_OF_MEMORY
    assert len(lab.attempts()) == 1


@pytest.mark.parametrize("reason", [EndReason.STALLED, EndReason.DATA_ERROR, EndReason.TRAINING_ERROR, EndReason.SETUP_FAILED])
def test_what_another_machine_does_not_mend_is_not_tried_again(lab: Lab, reason: EndReason) -> None:
    first = lab.launch()
    ended(lab, 1, reason)
    lab.wake(lab.kill(first, "Client.InstanceInitiatedShutdown"))
    marker = lab.marker()
    assert marker
    assert marker.reason is reason
    assert lab.live() == []


# ---------------------------------------------------------------- answers that do not come


class Unanswered:
    """EC2 does what it is asked, and the answer is lost."""

    def __init__(self, client: object, losses: int) -> None:
        self.client, self.losses, self.asked = client, losses, 0

    def create_fleet(self, **request: object) -> object:
        answer = self.client.create_fleet(**request)  # type: ignore[attr-defined]
        self.asked += 1
        if self.asked <= self.losses:
            raise ReadTimeoutError(endpoint_url="https://ec2")
        return answer


@pytest.mark.parametrize("losses", [1, 2])
def test_a_lost_answer_makes_no_second_instance(lab: Lab, losses: int) -> None:
    """The same token gets the same instance; and without any answer it is found by its tag."""
    first = lab.launch()
    lab.clock.sleep(600)
    event = lab.kill(first)
    ours = lab.watchdog()
    client = Unanswered(ours.fleet_client, losses)
    dataclasses.replace(ours, fleet_client=client).look_after(first.run)
    assert client.asked == 2
    assert len(lab.live()) == 1
    second = lab.attempts()[-1]
    assert (second.number, second.instance) == (2, lab.live()[0]["InstanceId"])
    assert second.price == 0.3
    assert second.launched
    for _ in range(3):
        assert "resumed" not in lab.wake(event)
    assert len(lab.live()) == 1


def test_an_instance_that_came_for_an_attempt_that_was_given_up_is_ended(lab: Lab) -> None:
    lab.launch(by="watchdog", noted=False)
    ended(lab, 1, EndReason.NO_CAPACITY)
    decisions = lab.wake({"sweep": True})
    assert "terminated" in decisions
    assert len(lab.live()) <= 1
    assert all(attempt.number > 1 for attempt in lab.attempts() if attempt.instance)


def test_a_second_instance_of_one_attempt_is_ended(lab: Lab) -> None:
    first = lab.launch()
    second = lab.launch(zone="us-east-1b", spot=False)
    assert first.instance != second.instance
    lab.wake({"sweep": True})
    assert [one["InstanceId"] for one in lab.live()] == [second.instance]


def test_a_hand_that_starts_is_given_time_to_note_its_instance(lab: Lab) -> None:
    lab.launch(noted=False)
    lab.wake({"sweep": True})
    assert lab.attempts()[0].instance == ""
    lab.clock.sleep(301)
    lab.wake({"sweep": True})
    assert lab.attempts()[0].instance == lab.live()[0]["InstanceId"]
    lab.wake(lab.kill(lab.attempts()[0].instance, BY_API))
    assert lab.end(1).hours == pytest.approx(301 / 3600, abs=0.001)
