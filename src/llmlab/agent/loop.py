"""The agent's watch over one training, from `ready` to `marked`.

One thread looks every second at what may stop the training; uploads and reports run beside it, so that none of them is waited for while an
interruption is on its way. The price: a checkpoint may be on its way to S3 when the end comes, which is why the end waits for it first.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from llmlab import contract
from llmlab.agent import attempt_end, cloudwatch_metrics, log_upload, shared_files, stop_triggers
from llmlab.agent.background import Background
from llmlab.agent.cloudwatch_metrics import MetricsSink
from llmlab.agent.exit_diagnosis import ExitDiagnosis, TrainingExit, diagnose, not_uploaded
from llmlab.agent.gpu import Gpus
from llmlab.agent.imds import Imds
from llmlab.agent.job import Job, Say
from llmlab.agent.s3_store import Store, StoreError, UploadRefused, persist
from llmlab.agent.shared_files import read
from llmlab.agent.spot_price import SpotPrices
from llmlab.agent.stall_detector import StallDetector
from llmlab.agent.stop_triggers import Signals, StopTrigger
from llmlab.agent.uploads import Uploads
from llmlab.clock import Clock
from llmlab.contract import (
    Attempt,
    ContractError,
    DataFile,
    EndReason,
    Heartbeat,
    LogStream,
    Outcome,
    PricePoint,
    Progress,
    Stop,
    StopRequest,
)
from llmlab.files import replace_text
from llmlab.lifecycle import billing, pool_order
from llmlab.lifecycle.billing import Bill

TICK_SECONDS = 1.0
EVERY_SECONDS = {
    "notice": 5.0, "stop": 5.0, "gpus": 10.0, "heartbeat": 10.0, "checkpoints": 5.0, "output": 60.0, "numbers": 60.0,
    "prices": 300.0, "prices near the limit": 30.0,
    "alive": 10.0,
}  # fmt: skip
NEAR_THE_LIMIT_SECONDS = 2 * EVERY_SECONDS["prices"] + stop_triggers.LEAD_SECONDS
"""With money for less than this, were spot to become as dear as on demand, prices are looked at more often."""
LAST_LOOK_SECONDS = 5.0
MOST_PHASE = 100
"""Characters of what a trainer says it does, in the heartbeat."""
STALLED_UPLOAD_SECONDS = 900.0
"""The last upload ends so long after the last byte that S3 took: the machine is paid for, and what is refused for ever is not worth it."""
LOG_END_BYTES = 1 << 20
"""Of the training log, in which the reason of an end is looked for."""
LAST_WORD_SECONDS = 5.0
"""Seconds of the last upload's time that are kept for the marker; a quarter of that time where it is less."""


@dataclass
class Agent:
    """Everything the agent works with; the clock, IMDS, S3 and the GPUs are arguments."""

    job: Job
    outputs: Store
    imds: Imds
    spot_prices: SpotPrices
    gpus: Gpus
    metrics: MetricsSink
    background: Background
    clock: Clock
    say: Say
    uploads: Uploads
    attempt: Attempt
    instance: str = ""
    request: StopRequest | None = None
    stopped: bool = False
    trigger: StopTrigger | None = None
    taken_at: datetime | None = None
    """When AWS takes this machine back."""
    end: TrainingExit | None = None
    prices: tuple[PricePoint, ...] = ()
    stall_detector: StallDetector = field(init=False)
    _next: dict[str, float] = field(default_factory=dict)
    _files: tuple[DataFile, ...] = ()
    _uploaded: bool = False
    _refused: UploadRefused | None = None
    """What S3 said of the output that it did not take."""
    _taken: tuple[int, float] = (-1, 0.0)
    """How many bytes S3 had taken when that was last seen to grow, and when that was."""
    _concluding_since: float | None = None

    def __post_init__(self) -> None:
        self.stall_detector = StallDetector(self.gpus, self.job.spec.idle_minutes, self.clock)

    # ------------------------------------------------------------ the watch

    def run(self) -> None:
        """Watch until the trainer has left or has had its time, then save everything and say how it ended."""
        self.begin()
        while not self.look():
            self.clock.sleep(TICK_SECONDS)
        self.finish()

    def begin(self) -> None:
        """Go on with a stop request of an agent process before this one; what that one saw of the GPUs is lost."""
        self.request = _document(StopRequest, self.job.folder.requested)
        self.stall_detector.begin()
        self.show_life()

    def look(self) -> bool:
        """Do everything that is due; returns whether the watch is over."""
        if self._due("alive"):
            self.show_life()
        self.end = TrainingExit.parse(read(self.job.folder.training_exit))
        if self.end is not None:
            return True
        self.tick()
        late = self.trigger is not None and self.now >= self.trigger.leave_by
        if late and self.trigger:
            self.say(f"the trainer has not left in time: {self.trigger.reason}")
        return late

    @property
    def now(self) -> float:
        return self.clock.now().timestamp()

    def tick(self) -> None:
        """One look at everything that is due."""
        interruption = self.imds.interruption() if self._due("notice") else None
        self.taken_at = interruption or self.taken_at
        if self._due("gpus"):
            self.background.start("gpus", self.stall_detector.read)
            self.stall_detector.look(self.progress)
        if self.attempt.spot and self._due("prices near the limit" if self._is_near_the_limit else "prices"):
            self.background.start("prices", self.look_at_prices)
        signals = Signals(interruption, self.stopped, self.stall_detector.stalled, self.stall_detector.broken)
        self.request_stop(stop_triggers.active_triggers(self.bill, self.job.deadline, self.clock.now(), signals))
        if self._due("stop"):
            self.background.start("stop", self.look_for_stop)
        if self._due("heartbeat"):
            self.background.start("heartbeat", self.heartbeat)
        if self._due("numbers"):
            self.background.start("numbers", self.publish)
        if self._due("checkpoints"):
            self.background.start("uploads", self.uploads.everything if self._due("output") else self.uploads.checkpoints)

    def request_stop(self, triggers: list[StopTrigger]) -> None:
        """Ask the trainer to stop, once. A later trigger with a nearer end shortens the time, and the first reason stays."""
        for trigger in triggers:
            if self.trigger is None:
                self.trigger = trigger
                if self.request is None:
                    self.request = StopRequest(trigger.reason, self._at(), self.stall_detector.words(trigger.reason))
                self._tell_trainer(self.request)
                self.say(f"the trainer is asked to save and leave: {self.request.reason}")
            elif trigger.leave_by < self.trigger.leave_by:
                self.trigger = trigger

    def _tell_trainer(self, request: StopRequest) -> None:
        """Write the request for the trainer, and for the next agent on this machine. A trainer that does not get it is late, no more."""
        text = contract.dump(request)
        try:
            replace_text(Path(self.job.folder.requested), text)
            shared_files.replace(self.job.folder.request, text)
        except OSError as error:
            self.say(f"the trainer cannot be asked: {error}")

    def show_life(self) -> None:
        """Show the host that the agent is alive; it restarts one that hangs."""
        try:
            Path(self.job.folder.alive).touch()
        except OSError as error:
            self.say(f"the host cannot be shown that the agent lives: {error}")

    def look_at_prices(self) -> None:
        """The spot prices of our pool since the start; the last known ones stay when AWS does not tell."""
        self.prices = self.spot_prices.history(*self._place, self.bill.launched)

    @property
    def _is_near_the_limit(self) -> bool:
        return self.bill.is_near(self.clock.now(), NEAR_THE_LIMIT_SECONDS)

    def look_for_stop(self) -> None:
        """Read a stop that is younger than this attempt, and the attempt's instance and price once the launcher has written them."""
        body = self.outputs.read(self.job.keys.stop)
        if body is not None and not self.stopped:
            stop = contract.load(Stop, body)
            self.stopped = stop.at >= self.attempt.claimed
        if not self.attempt.instance:
            self.attempt = contract.load(Attempt, self.outputs.read(self.job.keys.attempt(self.job.attempt)) or b"")

    @property
    def bill(self) -> Bill:
        """The attempt's bill, at the price the launcher noted, or as long as it has not at the spec's price of our pool."""
        instance_type, zone = self._place
        pools, attempt = self.job.spec.pools, self.attempt
        price = pool_order.price_at_start(attempt, pools, instance_type, zone, spot=attempt.spot)
        launched = contract.parse_timestamp(attempt.launched or attempt.claimed)
        return Bill(attempt, launched, self.job.spec.charges, price, pool_order.highest_price(pools, instance_type, zone), self.prices)

    @cached_property
    def _place(self) -> tuple[str, str]:
        return self.imds.place()

    def _due(self, name: str) -> bool:
        if self.now < self._next.get(name, 0.0):
            return False
        self._next[name] = self.now + EVERY_SECONDS[name]
        return True

    def _at(self) -> str:
        return contract.build_timestamp(self.clock.now())

    # ------------------------------------------------------------ reports

    @property
    def progress(self) -> Progress | None:
        progress = _document(Progress, self.job.folder.progress)
        return progress and replace(progress, phase=progress.phase[:MOST_PHASE])

    def heartbeat(self, phase: str = "") -> None:
        progress, use, now = self.progress, self.stall_detector.use, self.clock.now()
        beat = Heartbeat(
            self.job.run, self.job.attempt, self._at(), self.instance, phase or (progress.phase if progress else "preparing"), progress,
            use.percent if use else None, use.memory_gib if use else None, self.uploads.newest,
            self.attempt.hours_before + self.bill.hours(now), self.bill.total(now),
        )  # fmt: skip
        self.outputs.write(self.job.keys.status, cloudwatch_metrics.dump(beat))

    def publish(self) -> None:
        self.metrics.publish(cloudwatch_metrics.metrics(self.progress, self.stall_detector.use, self.bill.total(self.clock.now())))

    # ------------------------------------------------------------ the end

    def finish(self) -> None:
        """Make the last upload within the time there is, then write how the run ended; then the host may switch off."""
        self.show_life()
        log = log_upload.log(self.job.folder.logs, LogStream.TRAINING).last(LOG_END_BYTES).decode(errors="replace")
        if self.request is None:  # what killed the trainer may be known to the driver by now
            self.background.within("gpus", LAST_LOOK_SECONDS, self.stall_detector.read)
        says = self.stall_detector.fault.says if self.stall_detector.fault else ""
        diagnosis = diagnose(self.end, self.request, _document(Outcome, self.job.folder.outcome), log, says)
        gone_by = self.trigger.gone_by if self.trigger else self.job.deadline - stop_triggers.SHORTEST_LEAD_SECONDS
        self.say(f"the trainer has left: {diagnosis.reason}; the last upload may take {gone_by - self.now:.0f} s")
        self.background.start("heartbeat", lambda: self.heartbeat("uploading"))
        left = max(0.0, gone_by - self.now)
        upload_by = gone_by - min(LAST_WORD_SECONDS, left / 4)
        self._taken = (self.uploads.taken, self.now) if self._taken[0] < 0 else self._taken
        whole = diagnosis.reason is EndReason.COMPLETED
        self.background.within("uploads", upload_by - self.now, lambda: self._last_upload(upload_by, whole=whole), self._goes_on)
        self._files = self._files or self.uploads.taken_files()
        if whole and not self._uploaded:
            diagnosis = not_uploaded(self._refused.says, self._refused.code) if self._refused else not_uploaded("", "")
        self.conclude(diagnosis, until=gone_by)

    def _last_upload(self, upload_by: float, *, whole: bool) -> None:
        """Upload what matters most first: the output of a whole training, the checkpoint of another. Each may fail alone; logs last."""

        def until() -> float:
            self._goes_on()
            return min(upload_by, self._taken[1] + STALLED_UPLOAD_SECONDS)

        def output() -> None:
            try:
                self._files = persist(self.uploads.output, self.clock, self.say, until=until)
            except UploadRefused as error:
                self._refused = error
                raise
            self._uploaded = True

        def checkpoints() -> None:
            persist(self.uploads.checkpoints, self.clock, self.say, until=until)

        for upload in (output, checkpoints, self.uploads.logs) if whole else (checkpoints, output, self.uploads.logs):
            try:
                upload()
            except (StoreError, OSError) as error:
                self.say(f"not everything is saved: {error}")

    def _goes_on(self) -> bool:
        """Whether S3 still takes bytes, or has until not long ago; also shows the host that the agent is alive."""
        self.show_life()
        if self.uploads.taken != self._taken[0]:
            self._taken = (self.uploads.taken, self.now)
        return self.now < self._taken[1] + STALLED_UPLOAD_SECONDS

    def conclude(self, diagnosis: ExitDiagnosis, *, until: float) -> None:
        """Write how the attempt ended, whatever became of the uploads; the host may switch off also when S3 does not take that."""
        now = self.clock.now()
        self._concluding_since = self.now if self._concluding_since is None else self._concluding_since
        until = min(until, self._concluding_since + STALLED_UPLOAD_SECONDS)
        interrupted = diagnosis.reason is EndReason.SPOT_INTERRUPTED and self.attempt.spot
        taken_at = self.taken_at or now  # what counts is when AWS takes it, and that our own timer does not end it before
        free = interrupted and self.bill.hours(taken_at) < billing.FREE_HOURS and taken_at.timestamp() < self.job.deadline
        costs = self.bill.parts(now, interrupted=free)
        attempt = self.attempt
        totals = attempt_end.Totals(self.bill.hours(now), billing.total(costs), attempt.hours_before, attempt.cost_before, costs)
        at, progress = self._at(), self.progress
        try:
            persist(
                lambda: attempt_end.write_end(
                    self.job, self.outputs, diagnosis, totals, progress, self._files, checkpoint=self.uploads.newest, at=at, say=self.say
                ),
                self.clock,
                self.say,
                until=max(until, self.now + LAST_WORD_SECONDS),
            )
        except (StoreError, OSError) as error:
            self.say(f"the last word could not be written: {error}")
        try:
            self.uploads.logs()
        except (StoreError, OSError) as error:
            self.say(f"the last lines are not saved: {error}")
        replace_text(Path(self.job.folder.marked), diagnosis.reason + "\n")


T = TypeVar("T")


def _document(kind: type[T], path: str) -> T | None:
    """A control file as the document it is; None while it is not there or not whole."""
    try:
        return contract.load(kind, read(path))
    except ContractError:
        return None
