"""The engine, on resources that live in a dictionary: order, parallelism, crashes, races, strangers."""

import threading
from concurrent.futures import wait
from dataclasses import dataclass, field
from typing import Any

import pytest

from llmlab.infra import order
from llmlab.infra.apply import apply
from llmlab.infra.destroy import DeletionResult, destroy
from llmlab.infra.order import in_order, waits_for
from llmlab.infra.plan import Action, NotOwned, plan
from llmlab.infra.resource import Exists, Missing, Properties, Resource


@dataclass
class World:
    things: dict[str, dict[str, object]] = field(default_factory=dict)
    strangers: set[str] = field(default_factory=set)
    log: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Thing(Resource):
    kind = "thing"
    label: str
    world: World = field(compare=False, repr=False)
    needs: tuple["Thing", ...] = ()
    colour: str = "red"

    @property
    def name(self) -> str:
        return self.label

    def desired(self) -> Properties:
        return {"colour": self.colour, "size": 1}

    def read(self) -> Properties | None:
        return self.world.things.get(self.label)

    def create(self) -> None:
        if self.label in self.world.things:
            raise Exists
        for one in self.needs:
            assert one.label in self.world.things
        self.world.log.append(f"create {self.label}")
        self.world.things[self.label] = {"colour": None, "size": 1}

    def update(self, differs: Properties) -> None:
        self.world.log.append(f"update {self.label} {sorted(differs)}")
        self.world.things[self.label].update(differs)

    def delete(self) -> None:
        if self.label not in self.world.things:
            raise Missing
        self.world.log.append(f"delete {self.label}")
        del self.world.things[self.label]

    def ours(self) -> bool:
        return self.label not in self.world.strangers


def diamond(world: World, colour: str = "red") -> list[Thing]:
    top = Thing(label="top", world=world, colour=colour)
    left, right = (Thing(label=name, world=world, needs=(top,)) for name in ("left", "right"))
    return [top, left, right, Thing(label="bottom", world=world, needs=(left, right))]


def test_create_makes_the_least_and_update_sets_only_what_is_missing() -> None:
    world = World()
    apply(plan(diamond(world)))
    assert world.log[:2] == ["create top", "update top ['colour']"]
    assert world.log[-2:] == ["create bottom", "update bottom ['colour']"]
    assert plan(diamond(world)).empty


def test_a_difference_is_named_and_only_it_is_set() -> None:
    world = World()
    apply(plan(diamond(world)))
    world.log.clear()
    planned = plan(diamond(world, colour="blue"))
    (step,) = planned.changes
    assert (step.resource.name, step.action, step.differs) == ("top", Action.UPDATE, {"colour": "blue"})
    apply(planned)
    assert world.log == ["update top ['colour']"]


def test_somebody_was_quicker() -> None:
    """Two bootstraps at once: what exists by then is planned again, once."""
    world = World()
    planned = plan(diamond(world))
    world.things["left"] = {"colour": "green", "size": 1}
    apply(planned)
    assert "update left ['colour']" in world.log
    assert plan(diamond(world)).empty


def test_somebody_else_was_quicker() -> None:
    world = World()
    planned = plan(diamond(world))
    world.things["left"] = {"colour": "green", "size": 1}
    world.strangers.add("left")
    with pytest.raises(NotOwned, match="does not belong to this lab"):
        apply(planned)
    assert world.things["left"]["colour"] == "green"


def test_a_stranger_is_refused_at_plan_time_unless_nothing_would_change() -> None:
    world = World(things={"top": {"colour": "green", "size": 1}}, strangers={"top"})
    with pytest.raises(NotOwned) as caught:
        plan(diamond(world))
    assert caught.value.hint
    world.things["top"]["colour"] = "red"
    assert plan(diamond(world)).steps[0].action is Action.KEEP


def test_destroy_in_reverse_and_twice() -> None:
    world = World()
    apply(plan(diamond(world)))
    world.log.clear()
    assert {one.fate for one in destroy(diamond(world))} == {DeletionResult.DELETED}
    assert world.log[0] == "delete bottom"
    assert world.log[-1] == "delete top"
    assert {one.fate for one in destroy(diamond(world))} == {DeletionResult.ABSENT}


def test_destroy_leaves_strangers() -> None:
    world = World()
    apply(plan(diamond(world)))
    world.strangers.add("bottom")
    fates = {one.resource.name: one.fate for one in destroy(diamond(world))}
    assert fates["bottom"] is DeletionResult.NOT_OURS
    assert list(world.things) == ["bottom"]


def test_what_is_independent_runs_at_once() -> None:
    world = World()
    together = threading.Barrier(2, timeout=60)

    def work(resource: Resource) -> None:
        if resource.name in {"left", "right"}:
            together.wait()  # passes only when both are here

    in_order(diamond(world), work)


def test_forward_a_failure_stops_what_depends_on_it() -> None:
    done: list[str] = []

    def work(resource: Resource) -> None:
        if resource.name == "top":
            raise RuntimeError("no")
        done.append(resource.name)

    with pytest.raises(RuntimeError, match="no"):
        in_order(diamond(World()), work)
    assert done == []


def test_forward_a_failure_stops_also_what_does_not_depend_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`right` is at work when `left` fails and ends well afterwards; what waits for `right` is not begun any more."""
    world, done, failed = World(), [], threading.Event()
    left, right = (Thing(label=name, world=world) for name in ("left", "right"))
    things = [left, right, Thing(label="behind right", world=world, needs=(right,))]

    def work(resource: Resource) -> None:
        if resource.name == "left":
            raise RuntimeError("no")
        assert failed.wait(10)
        done.append(resource.name)

    def wait_and_tell(running: Any, **how: Any) -> Any:
        ready = wait(running, **how)
        if any(future.exception() for future in ready.done):
            failed.set()
        return ready

    monkeypatch.setattr(order, "wait", wait_and_tell)
    with pytest.raises(RuntimeError, match="no"):
        in_order(things, work)
    assert done == ["right"]


def test_backward_a_failure_stops_only_what_depends_on_it() -> None:
    done: list[str] = []

    def work(resource: Resource) -> None:
        if resource.name == "left":
            raise RuntimeError("no")
        done.append(resource.name)

    with pytest.raises(RuntimeError, match="no"):
        in_order(diamond(World()), work, reverse=True)
    assert sorted(done) == ["bottom", "right"]


def test_two_of_one_name_are_a_mistake() -> None:
    world = World()
    with pytest.raises(ValueError, match="same kind and name"):
        waits_for([Thing(label="a", world=world), Thing(label="a", world=world)])


@dataclass(frozen=True, kw_only=True)
class InParts(Thing):
    """Its delete finds a part gone, as often as `gone` says."""

    gone: list[str] = field(compare=False, repr=False)

    def delete(self) -> None:
        if self.gone:
            self.gone.pop()
            raise Missing
        super().delete()


def test_a_part_that_is_gone_is_not_the_whole() -> None:
    """The answer to the deletion of a part was lost, and the client's own second try is told that there is no such thing."""
    world = World(things={"top": {"colour": "red", "size": 1}})
    (removal,) = destroy([InParts(label="top", world=world, gone=["policy", "other policy"])])
    assert removal.fate is DeletionResult.DELETED
    assert not world.things


def test_what_cannot_be_deleted_for_good_is_not_called_deleted() -> None:
    world = World(things={"top": {"colour": "red", "size": 1}})
    with pytest.raises(Missing):
        destroy([InParts(label="top", world=world, gone=["policy"] * 100)])
