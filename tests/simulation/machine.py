"""A simulated machine, one for each instance: boot, the real agent over a simulated trainer, and power-off.

Between two checks, and where it waits at its end, the agent is left (`Pause`) and called again when its time has come. When no stop
trigger is active, that is later than it asked for, as on a slow machine, to save real time.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from llmlab import contract
from llmlab.agent import stop_triggers
from llmlab.agent.exit_diagnosis import ExitDiagnosis
from llmlab.agent.job import read_job
from llmlab.agent.loop import EVERY_SECONDS, NEAR_THE_LIMIT_SECONDS, TICK_SECONDS, Agent
from llmlab.agent.prepare import PATIENCE_SECONDS, PrepareError
from llmlab.agent.s3_store import S3Store, StoreError, persist
from llmlab.agent.shared_files import read
from llmlab.agent.spot_price import Ec2SpotPrices
from llmlab.agent.uploads import Uploads
from llmlab.contract import Attempt, ContractError, EndReason, Env, Names, RunKeys, Tag, WorkFolder
from tests.simulation.callers import Caller, Client
from tests.simulation.compute import SimulatedInstance
from tests.simulation.failure import Died, Pause
from tests.simulation.history import Life
from tests.simulation.surroundings import AgentClock, SimulatedGpus, SimulatedImds, SimulatedJobs, SimulatedMetrics
from tests.simulation.timeline import Timeline
from tests.simulation.trainer import PARTS, Course, Trainer
from tests.simulation.weather import InstanceFault, Strike

QUIET_SECONDS = 120.0
"""Seconds between two checks of the agent when nothing is due."""
AGAIN_SECONDS = 30.0
TRIES = 10
OFF_SECONDS = 3.0
FREE_HOUR_WAIT_SECONDS = 180.0
"""Seconds of the user data: an interrupted machine in its first hour waits for AWS to terminate it, because then it is free."""
NOTICE_SECONDS = 120.0

Prepare = Callable[..., int]
"""The function `agent.prepare.prepare`, or a test's replacement."""


class MachineWorld(Protocol):
    """The interface of the `World` to its machines."""

    timeline: Timeline
    names: Names
    course: Course

    @property
    def over(self) -> bool:
        """Whether the run has its marker."""
        ...

    def power_off(self, identity: str) -> None: ...

    def struck(self, identity: str, fate: InstanceFault) -> None:
        """AWS terminates the machine now, as its fault says."""
        ...

    def note(self, who: str, words: str) -> None: ...

    def saw(self, what: str) -> None:
        """Count an event by its name."""
        ...

    def saved(self, step: int) -> None:
        """Record that a checkpoint is complete in S3."""
        ...


class SimulatedMachine:
    """The machine of one instance. `timer` tells whether its own power-off at the deadline works."""

    def __init__(
        self,
        world: MachineWorld,
        instance: SimulatedInstance,
        life: Life,
        fate: InstanceFault,
        caller: Caller,
        folder: Path,
        prepare: Prepare,
        *,
        timer: bool,
    ) -> None:
        self.world = world
        self.timeline = world.timeline
        self.instance = instance
        self.life = life
        self.fate = fate
        self.caller = caller
        self.prepare = prepare
        self.timer = timer
        self.folder = WorkFolder(str(folder))
        self.on = True
        self.frozen = False
        self.notice: datetime | None = None
        self.uploading_seconds = world.course.uploading_seconds
        self.background = SimulatedJobs(self)
        self.trainer: Trainer | None = None
        self.agent: Agent | None = None
        self.uploading = 0
        self._until = 0.0
        self._planned = float("inf")
        self._work: Callable[[], None] = self._enter

    @property
    def identity(self) -> str:
        return self.instance.id

    def say(self, words: str) -> None:
        self.world.note(self.identity[-4:], words)

    # ------------------------------------------------------------ life

    def boot(self, setup_seconds: float) -> None:
        """Run the user data: the timer first, then image and data, then the agent."""
        if self.timer:
            self.timeline.at(self.life.deadline, self._timer_off)
        self.look(setup_seconds)

    @property
    def works(self) -> bool:
        return self.on and not self.frozen

    def _timer_off(self) -> None:
        if self.works:
            self.say("its own timer switches it off")
            self.world.power_off(self.identity)

    def look(self, seconds: float) -> None:
        """Wake the agent in so many seconds, or earlier if that is already planned."""
        moment = self.timeline.moment + seconds
        if moment < self._planned:
            self._planned = moment
            self.timeline.at(moment, lambda: self._wake(moment))

    def _wake(self, moment: float) -> None:
        if not self.works or moment != self._planned:
            return
        self._planned = float("inf")
        self.guarded(self._work)

    def guarded(self, work: Callable[[], None]) -> None:
        """Run work of a program on this machine: it may wait (`Pause`), and it may end the machine (`Died`)."""
        try:
            if self.trainer is not None:
                self.trainer.report()
            work()
        except Pause as pause:
            self.look(self._patience(pause.moment))
        except Died:
            self.world.struck(self.identity, self.fate)
            return
        if self.works and self.trainer is not None:
            self.trainer.look_for_request()

    def _patience(self, moment: float) -> float:
        """Seconds until the agent is called, when it waits until a moment; longer than it asked for when no stop trigger is active."""
        seconds = max(0.0, moment - self.timeline.moment)
        if self.agent is None or self.trainer is None or self.trainer.left or self.background.last is not None:
            return seconds
        agent, now = self.agent, self.timeline.now()
        end = stop_triggers.end_of(agent.bill, agent.job.deadline, now)
        near = agent.bill.is_near(now, NEAR_THE_LIMIT_SECONDS)
        until = [self.timeline.moment + (EVERY_SECONDS["prices near the limit"] if near else QUIET_SECONDS), end.at - end.lead]
        if agent.trigger is not None:
            until.append(agent.trigger.leave_by)
        return max(seconds, min(limit for limit in until if limit > self.timeline.moment) - self.timeline.moment)

    # ------------------------------------------------------------ the agent's entry

    def _enter(self) -> None:
        """Start the agent as `llmlab.agent.__main__` does: prepare everything, then watch the trainer."""
        for place in ("data", "model", "checkpoints", "output", "logs", "control", "host"):
            Path(getattr(self.folder, place)).mkdir(parents=True, exist_ok=True)
        try:
            agent = self.agent = self.make_agent()
        except (StoreError, ContractError) as error:  # the container ends; the user data restarts it up to `TRIES` times
            self.uploading += 1
            self.say(f"the agent does not start: {error}")
            if self.uploading >= TRIES:
                self.world.power_off(self.identity)
            else:
                self.look(AGAIN_SECONDS)
            return
        try:
            self._until = self._until or self.timeline.moment + PATIENCE_SECONDS
            step = persist(
                lambda: self.prepare(agent.job, agent.outputs, agent.outputs, self.say), agent.clock, self.say, until=self._until
            )
        except (PrepareError, StoreError, OSError) as error:
            verdict = ExitDiagnosis(EndReason.SETUP_FAILED, f"data and checkpoint: {error}".rstrip("."))
            self._work = lambda: self._conclude(verdict)
            self._work()
            return
        agent.uploads.have(step)
        Path(self.folder.ready).write_text(f"{step}\n", encoding="utf-8")
        fate = self.fate
        speed = self.life.speed
        self.trainer = Trainer(self.world.course, self.folder, self.timeline, fate, speed, lambda: self.works, self.look)
        self.trainer.begin()
        self.life.began_at, self.life.whole = self.trainer.base, self.trainer.whole
        self.say(f"trains from step {self.trainer.base}")
        if fate.strike is Strike.AGENT:
            self.timeline.after(fate.after, self._agent_crashes)
        self._work = self._begin
        self._work()

    def make_agent(self) -> Agent:
        """A new agent process, which knows only what is in the work folder and in S3."""
        names, run, number = self.world.names, self.instance.tags[Tag.RUN], int(self.instance.tags[Tag.ATTEMPT])
        outputs = S3Store(Client("s3", self._call), names.outputs_bucket, AgentClock(self.timeline))
        keys = RunKeys(run)
        spec = Path(self.folder.spec)
        if not spec.exists():
            spec.write_bytes(outputs.read(keys.spec) or b"")
        job = read_job({Env.WORK: self.folder.root, Env.ATTEMPT: str(number), Env.DEADLINE: self.instance.tags[Tag.DEADLINE]})
        attempt = contract.load(Attempt, outputs.read(keys.attempt(number)) or b"")
        return Agent(
            job, outputs, SimulatedImds(self), Ec2SpotPrices(self.caller.client("ec2")), SimulatedGpus(self), SimulatedMetrics(),
            self.background, AgentClock(self.timeline), self.say, Uploads(job, outputs, self.say), attempt, self.identity,
        )  # fmt: skip

    def _call(self, service: str, method: str, parameters: Mapping[str, Any]) -> Any:
        """A call of the agent to AWS, which raises `Died` where the fault strikes during an upload."""
        key = parameters.get("Key", "")
        if method == "put_object":
            parts = key.split("/")
            if key.endswith(f"/{PARTS[1]}") and parts[-2].startswith("checkpoint-"):
                self.uploading += 1
                if self.fate.strike is Strike.IN_SAVE and self.uploading >= self.fate.count:
                    raise Died
            if self.fate.strike is Strike.IN_LAST_UPLOAD and self.background.last is not None and key.endswith(f"/{PARTS[0]}"):
                raise Died
        answer = self.caller.call(service, method, parameters)
        if method == "put_object" and key.endswith(f"/{contract.COMPLETE}"):
            self.world.saved(contract.parse_checkpoint_name(key.split("/")[-2]) or 0)
        return answer

    def _begin(self) -> None:
        """Begin the agent's `run`, which is split into methods where it sleeps."""
        assert self.agent is not None
        self.agent.begin()
        self._work = self._watch
        self._work()

    def _watch(self) -> None:
        assert self.agent is not None
        if not self.agent.look():
            raise Pause(self.timeline.moment + TICK_SECONDS)
        self._work = self._finish
        self._work()

    def _finish(self) -> None:
        assert self.agent is not None
        self.agent.finish()
        self._over()

    def _conclude(self, verdict: ExitDiagnosis) -> None:
        assert self.agent is not None
        self.agent.conclude(verdict, until=self.agent.job.deadline)
        self._over()

    def _over(self) -> None:
        """Continue the user data after the agent has written the attempt's end: power off, unless the instance is to be kept."""
        self.life.said_at = self.timeline.moment
        self._work = lambda: None
        reason = read(self.folder.marked).strip()
        if Tag.KEEP in self.instance.tags and reason != EndReason.COST_REACHED and self.world.over:
            return
        interrupted = reason == EndReason.SPOT_INTERRUPTED
        young = self.timeline.moment - self.life.launched < 3600
        self.timeline.after(FREE_HOUR_WAIT_SECONDS if interrupted and young else OFF_SECONDS, self._off)

    def _off(self) -> None:
        if self.works:
            self.world.power_off(self.identity)

    def _agent_crashes(self) -> None:
        if self.works and self.trainer is not None and not self.trainer.left and self._work == self._watch:
            self.say("the agent crashes")
            self.world.saw(str(self.fate.strike))
            self.background.forget()
            self._work = self._restart
            self.look(5.0)

    def _restart(self) -> None:
        try:
            self.agent = self.make_agent()
        except (StoreError, ContractError):
            self.look(AGAIN_SECONDS)
            return
        self._work = self._begin
        self._work()

    # ------------------------------------------------------------ what happens to it

    def warn(self, moment: float) -> None:
        """Show the interruption notice in IMDS."""
        self.notice = datetime.fromtimestamp(int(moment), UTC)
        self.look(5.0)

    def freeze(self) -> None:
        """Freeze the machine: nothing runs any more, and it stays on."""
        if self.on:
            self.say("freezes")
            self.world.saw(str(self.fate.strike))
            self.frozen = True
            if self.trainer is not None:
                self.trainer.stand_still()

    def end(self) -> None:
        """Switch the machine off."""
        self.on = False
        self.caller.dead = True
        if self.trainer is not None:
            self.life.step, self.life.hung = self.trainer.step, self.trainer.hung
            if self.trainer.struck:
                self.world.saw(str(self.fate.strike))
