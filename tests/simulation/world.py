"""The simulator of one schedule, from launch to cleanup: it connects programs, account, machines and faults."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from llmlab import contract
from llmlab.agent import prepare
from llmlab.aws import documents
from llmlab.contract import PROJECT, Manifest, Names, RunKeys, Spec, Tag
from llmlab.errors import LabError
from llmlab.ops import resume, start, stop
from llmlab.ops.launch import first_attempt
from llmlab.sandbox.market import ACCOUNT
from llmlab.watchdog.events import STATE_CHANGE, WARNING
from llmlab.watchdog.reconcile import Watchdog
from tests.simulation import trainer
from tests.simulation.callers import Caller, SimulatedAws
from tests.simulation.cloud import Cloud, MemoryCloud
from tests.simulation.compute import Compute, SimulatedInstance
from tests.simulation.deliveries import Deliveries
from tests.simulation.failure import Died
from tests.simulation.function import LIMIT_SECONDS, MAX_HOURS, SimulatedFunction
from tests.simulation.history import History, Life, clock_words
from tests.simulation.invariants import After
from tests.simulation.machine import NOTICE_SECONDS, Prepare, SimulatedMachine
from tests.simulation.scenario import CHARGES, SPEEDS, Scenario
from tests.simulation.timeline import Timeline
from tests.simulation.traces import HOUR
from tests.simulation.weather import INTERRUPTIONS, InstanceFault, Strike, Weather

REGION = "us-east-1"
NAMES = Names(PROJECT, ACCOUNT, REGION)
RECIPE = {"batch_size": 2}
"""The recipe, as far as it is read here besides `keep_checkpoints`: after out-of-memory the batch size is halved once."""
MEMORY = Path("/dev/shm")  # where Linux keeps files in memory
TAKEN, OWN, BY_API, BROKEN = (
    "Server.SpotInstanceTermination", "Client.InstanceInitiatedShutdown", "Client.UserInitiatedShutdown", "Server.InternalError",
)  # fmt: skip
"""EC2's codes for why an instance ended. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html"""


@dataclass(frozen=True)
class Parts:
    """The programs under test; a test that plants a bug replaces one of them."""

    watchdog: Callable[..., Watchdog] = Watchdog
    prepare: Prepare = prepare.prepare


class World:
    """The simulator of one schedule. `cloud` creates the account for the timeline and the scenario; by default in memory."""

    def __init__(
        self, scenario: Scenario, parts: Parts | None = None, cloud: Callable[[Timeline, Scenario, Names], Cloud] | None = None
    ) -> None:
        self.scenario = scenario
        self.parts = parts or Parts()
        self.names = NAMES
        self.course = scenario.course
        self.dice = scenario.dice
        self.weather = scenario.weather
        self.timeline = Timeline(scenario.begin)
        self.history = History()
        self.machines: dict[str, SimulatedMachine] = {}
        self.lives: dict[str, Life] = {}
        self.run = contract.build_run_id(scenario.begin, f"{scenario.seed % 36**4:04d}"[-4:])
        self.cloud = (cloud or _in_memory)(self.timeline, scenario, NAMES)
        self.cloud.listen(self._launched, self._ended_by_call)
        self.function = SimulatedFunction(NAMES, self.parts.watchdog, self.timeline, self.history, self._invocation)
        self.deliveries = Deliveries(
            self.timeline, self.dice, self.weather, self.cloud, self.history, self.function.invoke, self._ended_by_call, self._certain
        )
        self.folder = Path(tempfile.mkdtemp(prefix="llmlab-simulation-", dir=MEMORY if MEMORY.is_dir() else None))
        self.clean = 0
        """Number of consecutive sweeps that found nothing left to do."""

    @property
    def keys(self) -> RunKeys:
        return RunKeys(self.run)

    def note(self, who: str, words: str) -> None:
        self.history.note(self.timeline.moment, who, words)

    def saw(self, what: str) -> None:
        self.history.seen[what] += 1

    def saved(self, step: int) -> None:
        self.history.saved.add(step)

    # ------------------------------------------------------------ the whole of it

    def play(self) -> History:
        """Launch the run, and run all actions until the run is over or the horizon has come."""
        try:
            self.timeline.after(self.dice.between(0, HOUR, "first sweep"), self._sweep)
            self._user()
            self.timeline.after(0, self._launch)
            self.timeline.run_until(self.scenario.horizon.timestamp(), enough=lambda: self.clean > 1)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
        return self.history

    def after(self) -> After:
        return After(self.scenario, self.history, self.cloud, NAMES.outputs_bucket, self.run)

    def spec(self) -> Spec:
        limits = self.scenario.limits
        return Spec(
            run=self.run, lab=NAMES.lab, region=REGION, account=ACCOUNT, recipe={**RECIPE, "keep_checkpoints": self.scenario.keep},
            data=Manifest("d", (), ""), image="i", ami="",
            launch_template=NAMES.launch_template, pools=self.scenario.pools, spot=limits.spot, max_hours=limits.max_hours,
            created=contract.build_timestamp(self.scenario.begin), max_cost=limits.max_cost, fallback_on_demand=limits.fallback_on_demand,
            auto_shutdown=limits.auto_shutdown, resume=limits.resume, max_attempts=limits.max_attempts, charges=CHARGES,
            wait_hours=limits.wait_hours,
        )  # fmt: skip

    def _launch(self) -> None:
        caller = self._laptop("launch")
        if self.dice.happens(self.weather.dying_laptop, "laptop dies"):
            caller.dies_at, caller.dies_after = 2 + int(8 * self.dice.roll("laptop dies at")), self.dice.happens(0.5, "after")
            self.saw("launches that broke off")
        aws, spec = SimulatedAws(NAMES, caller), self.spec()
        patience = start.Patience(spec.fallback_on_demand, wait_minutes=60 if self.dice.happens(0.3, "patient") else 0)
        with self._by_hand("launch"):
            documents.write_once(aws, NAMES.outputs_bucket, self.keys.spec, spec, self.timeline)
            attempt = start.start(aws, spec, first_attempt(spec, self.timeline), self.timeline, partial(self.note, "launch"), patience)
            self.note("launch", f"{attempt.instance_type} in {attempt.zone}, {'spot' if attempt.spot else 'on demand'}")

    def _user(self) -> None:
        user, begin = self.scenario.user, self.timeline.moment
        if user.stops is not None:
            self.timeline.at(begin + user.stops * HOUR, self._stop)
        if user.resumes is not None:
            self.timeline.at(begin + user.resumes * HOUR, self._resume)

    def _stop(self) -> None:
        with self._by_hand("stop"):
            stop.stop(self._aws("stop"), self.run, self.timeline, partial(self.note, "stop"))
            self.saw("stopped by hand")

    def _resume(self) -> None:
        self.clean = 0
        again = resume.Again(max_hours=self.scenario.limits.max_hours / 2)
        with self._by_hand("resume"):
            resume.resume(self._aws("resume"), self.run, again, self.timeline, partial(self.note, "resume"))
            self.saw("resumed by hand")

    @contextlib.contextmanager
    def _by_hand(self, what: str) -> Any:
        """Run a command of the user: record its error, or that its process died."""
        try:
            yield
        except LabError as error:
            self.note(what, f"says: {error}")
        except Died:
            self.note(what, "the laptop is gone")

    # ------------------------------------------------------------ who calls

    def _laptop(self, name: str) -> Caller:
        return Caller(name, self.cloud, self.dice, Weather(), self.history.seen, changed=self.deliveries.changed)

    def _aws(self, name: str) -> SimulatedAws:
        return SimulatedAws(NAMES, self._laptop(name))

    def _invocation(self, number: int) -> Caller:
        until = self.timeline.moment + LIMIT_SECONDS
        caller = Caller(
            f"function {number}", self.cloud, self.dice, self.weather, self.history.seen, self.timeline.sleep, self.deliveries.changed,
            overdue=lambda: self.timeline.moment > until,
        )  # fmt: skip
        if self.dice.happens(self.weather.dying_function, "dies", number):
            caller.dies_at = 1 + int(self.weather.function_calls * self.dice.roll("dies at", number))
            caller.dies_after = self.dice.happens(0.5, "dies after", number)
        return caller

    # ------------------------------------------------------------ instances

    def _launched(self, instance: SimulatedInstance) -> None:
        now = self.timeline.moment
        attempt = int(instance.tags[Tag.ATTEMPT])
        trace = self.scenario.market.trace(instance.instance_type, instance.zone)
        deadline = float(instance.tags.get(Tag.DEADLINE) or now + MAX_HOURS * HOUR)
        speed = SPEEDS.get(instance.instance_type, 1.0)
        life = Life(instance.id, attempt, trace, instance.spot, instance.launched, deadline, speed)
        self.history.together += [(other.instance, life.instance) for other in self.history.lives if other.stopped is None]
        self.history.lives.append(life)
        self.lives[instance.id] = life
        instance.visible = now + self.dice.between(0, self.weather.hidden_seconds, "hidden", instance.id)
        fate = self.scenario.fate(len(self.history.lives))
        if not instance.spot and fate.strike in INTERRUPTIONS:
            fate = InstanceFault()
        timer = not self.dice.happens(self.weather.broken_timer, "timer", instance.id)
        caller = Caller(f"machine {instance.id}", self.cloud, self.dice, replace(self.weather, call_seconds=0.0), self.history.seen)
        machine = SimulatedMachine(self, instance, life, fate, caller, self.folder / instance.id, self.parts.prepare, timer=timer)
        self.machines[instance.id] = machine
        self.note(
            instance.id[-4:],
            f"attempt {attempt}: {instance.instance_type} in {instance.zone}; {fate.strike} after {fate.after / HOUR:.2f} h",
        )
        boot = self.dice.between(5, 40, "boot", instance.id)
        self.timeline.after(boot, lambda: self._boot(machine))
        self._plan_strike(machine, boot)

    def _boot(self, machine: SimulatedMachine) -> None:
        if machine.on:
            self.cloud.turn(machine.identity, "running")
            machine.boot(self.scenario.setup_seconds)

    def _plan_strike(self, machine: SimulatedMachine, boot: float) -> None:
        fate, instance = machine.fate, machine.instance
        if fate.strike is Strike.AT_BOOT:
            self.timeline.after((fate.after % 1.0) * (boot + self.scenario.setup_seconds), partial(self.struck, instance.id, fate))
        elif fate.strike in {Strike.NO_NOTICE, Strike.LOST}:
            self.timeline.after(boot + fate.after, partial(self.struck, instance.id, fate))
        elif fate.strike is Strike.FROZEN:
            self.timeline.after(boot + fate.after, machine.freeze)
        elif fate.strike is Strike.NOTICE:
            self.timeline.after(boot + fate.after, partial(self._warn, machine))
        closes = machine.life.trace.closes(self.timeline.moment) if instance.spot else None
        if closes is not None:
            self.timeline.at(closes, partial(self._warn, machine))

    def _warn(self, machine: SimulatedMachine) -> None:
        """Announce an interruption two minutes ahead, in IMDS and as an event."""
        if not machine.on or machine.notice is not None:
            return
        moment = self.timeline.moment + NOTICE_SECONDS
        self.note(machine.identity[-4:], "is told of its interruption")
        machine.warn(moment)
        self.deliveries.emit(WARNING, machine.identity, {"instance-action": "terminate"})
        self.timeline.at(moment, partial(self.struck, machine.identity, InstanceFault(Strike.NOTICE)))

    def struck(self, identity: str, fate: InstanceFault) -> None:
        """AWS terminates the machine now, as its fault says."""
        machine = self.machines[identity]
        if machine.on:
            self.saw(str(fate.strike))
            taken = fate.strike is not Strike.LOST or machine.notice is not None
            self.down(identity, TAKEN if taken else BROKEN, "", taken=taken)

    def power_off(self, identity: str) -> None:
        if self.machines[identity].on:
            self.down(identity, OWN, "")

    def _ended_by_call(self, identity: str) -> None:
        if self.machines[identity].on:
            self.down(identity, BY_API, f"User initiated ({clock_words(self.timeline.moment)})")

    def down(self, identity: str, cause: str, words: str, *, taken: bool = False) -> None:
        """Switch an instance off; EC2 calls it terminated some time later."""
        life, machine = self.lives[identity], self.machines[identity]
        machine.end()
        life.stopped, life.cause, life.taken = self.timeline.moment, cause, taken
        life.safe = self.safe_step()
        self.note(identity[-4:], f"goes: {cause}, at step {life.step}, {life.safe} is safe")
        self.cloud.turn(identity, "shutting-down", cause, words)
        self.deliveries.emit(STATE_CHANGE, identity, {"state": "shutting-down"})
        self.timeline.after(self.dice.between(2, 90, "gone", identity), lambda: self._gone(life))

    def _gone(self, life: Life) -> None:
        life.terminated = self.timeline.moment
        self.cloud.turn(life.instance, "terminated")
        self.deliveries.emit(STATE_CHANGE, life.instance, {"state": "terminated"})

    def safe_step(self) -> int:
        """The step of the newest complete checkpoint in S3, checked by the simulator itself."""
        prefix, newest = self.keys.checkpoints, 0
        for key in self.cloud.keys(NAMES.outputs_bucket, prefix):
            name, _, rest = key.removeprefix(prefix).partition("/")
            step = contract.parse_checkpoint_name(name) or 0
            if rest == contract.COMPLETE and step > newest and self._whole(step):
                newest = step
        return newest

    def _whole(self, step: int) -> bool:
        folder = self.keys.checkpoint(step)
        return all(self.cloud.body(NAMES.outputs_bucket, folder + part) == trainer.content(part, step) for part in trainer.PARTS)

    # ------------------------------------------------------------ the end of it

    def _certain(self) -> bool:
        """Whether schedules must not be lost now, because nothing on a running machine would end it: one safety layer always works."""
        living = [machine for machine in self.machines.values() if machine.on]
        return any(machine.frozen or not machine.timer or machine.agent is None or machine.life.said_at is not None for machine in living)

    def _sweep(self) -> None:
        self.timeline.after(HOUR, self._sweep)
        self.function.invoke({"sweep": True})
        self.clean = self.clean + 1 if self._nothing_left() else 0

    @property
    def over(self) -> bool:
        return any(self.cloud.body(NAMES.outputs_bucket, key) is not None for key in (self.keys.success, self.keys.failure))

    def _nothing_left(self) -> bool:
        """Whether nothing but sweeps can still happen."""
        bucket, user = NAMES.outputs_bucket, self.scenario.user
        passed = (self.timeline.moment - self.scenario.begin.timestamp()) / HOUR
        nothing = not self.cloud.keys(bucket, self.keys.attempts) and passed > 2
        waiting = any(moment is not None and passed <= moment + 1 for moment in (user.stops, user.resumes))
        return (self.over or nothing) and not waiting and all(life.terminated is not None for life in self.history.lives)


def _in_memory(timeline: Timeline, scenario: Scenario, names: Names) -> Cloud:
    return MemoryCloud(Compute(timeline, scenario.market, scenario.pools, names))
