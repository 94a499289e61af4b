"""The JSON documents that our programs exchange through the buckets and the work folder."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from llmlab.contract import hints, typed
from llmlab.contract.names import VERSION
from llmlab.contract.states import EndReason
from llmlab.contract.times import Amount, Count, Moment, MomentOrNone, Seconds


@dataclass(frozen=True)
class DataFile:
    """One file of a manifest. `path` is relative, `size` in bytes, `version` the S3 object version ("" where there is none)."""

    path: str
    size: int
    sha256: str
    version: str = ""

    def __post_init__(self) -> None:
        """Raise `ValueError` for a path that leads out of the folder it is meant to be in."""
        if "\0" in self.path or {"", ".", ".."} & set(self.path.split("/")):
            msg = f"not a path within a folder: {self.path!r}"
            raise ValueError(msg)


@dataclass(frozen=True)
class Manifest:
    """What a dataset or a model folder is: written after its last file. `facts` are counts that validation found."""

    LARGE: ClassVar[bool] = True
    name: str
    files: tuple[DataFile, ...]
    created: str
    facts: dict[str, Any] = field(default_factory=dict)
    contract: int = VERSION


@dataclass(frozen=True)
class Complete:
    """The manifest of a checkpoint, its `COMPLETE` file."""

    LARGE: ClassVar[bool] = True
    step: Count
    files: tuple[DataFile, ...]
    contract: int = VERSION


@dataclass(frozen=True)
class CheckpointState:
    """The part of a checkpoint's state that other programs read. `best_step`: best loss on held-out examples, 0 without any."""

    best_step: Count = 0


@dataclass(frozen=True)
class Pool:
    """Where an instance may come from. Prices in US dollars an hour; `approximate` when the shipped table had to answer."""

    instance_type: str
    zone: str
    subnet: str
    on_demand_price: float
    spot_price: float | None = None
    approximate: bool = False
    speed: float = 1.0
    """How fast the recipe trains there, relative to the slowest pool: pools are ordered by price / speed."""
    gpus: int = 0
    """Of the instance type, by EC2's own description; 0 where nobody has asked."""


@dataclass(frozen=True)
class Charge:
    """What is paid beside an instance for as long as it lives, in US dollars an hour. `source` says who told the price."""

    what: str
    """`disk` or `address`."""
    hourly: float
    source: str
    approximate: bool = False


@dataclass(frozen=True)
class PricePoint:
    """A pool's spot price in US dollars an hour, in force from `at` on."""

    at: Moment
    dollars: float


@dataclass(frozen=True)
class Spec:
    """What a run is. Written once, before its instance, and never changed; `resume` writes new limits into a new attempt."""

    LARGE: ClassVar[bool] = True
    run: str
    lab: str
    region: str
    account: str
    recipe: dict[str, Any]
    data: Manifest
    image: str
    """Repository and digest: `registry/repository@sha256:…`."""
    ami: str
    launch_template: str
    pools: tuple[Pool, ...]
    spot: bool
    max_hours: Amount
    created: str
    model: Manifest | None = None
    max_cost: Amount | None = None
    max_attempts: int = 10
    fallback_on_demand: bool = False
    auto_shutdown: bool = True
    resume: bool = True
    llmlab_version: str = ""
    preferred: tuple[str, ...] = ()
    """Instance types in the order the user named them; empty: whichever is cheapest for the work."""
    charges: tuple[Charge, ...] = ()
    idle_minutes: Amount = 20.0
    """How long GPUs may idle while no step is done; 0: for ever."""
    fallback_interruptions: Count = 3
    """With `fallback_on_demand`: interruptions after which the next attempt is on demand."""
    fallback_minutes: Amount = 15.0
    """With `fallback_on_demand`: minutes without spot capacity after which the next attempt is on demand."""
    wait_hours: Amount = 24.0
    """How long an interrupted run waits for capacity before it is given up."""
    command: str = ""
    """The line that launched it, as it was typed."""
    training_network: bool = False
    """Whether the training container may reach a network."""
    agent_image: str = ""
    """The agent's own, as `image`; "": the agent runs from the training image."""
    hub_bytes: int = 0
    """About how much of the disk the hub's model takes; 0 of an uploaded one, and where nobody knows."""
    name: str = ""
    """What its user calls it, "" for a run without a name."""
    contract: int = VERSION

    def typed(self) -> list[str]:
        """The arguments of the launch of this run: the line that launched it, for older runs rebuilt from its limits."""
        limits = {"--max-hours": f"{self.max_hours:g}", "--max-cost": f"{self.max_cost:g}" if self.max_cost is not None else ""}
        flags = {"--spot": self.spot, "--fallback-on-demand": self.spot and self.fallback_on_demand, "--no-resume": not self.resume}
        values = [word for option, value in limits.items() if value for word in (option, value)]
        return typed.remembered(self.command) or ["launch", "--data", self.data.name, *values, *(name for name, on in flags.items() if on)]


@dataclass(frozen=True)
class Attempt:
    """One instance's try at a run. `deadline` in seconds since 1970; `hours_before` and `cost_before` are what earlier attempts used."""

    run: str
    number: Count
    claimed: Moment
    deadline: Seconds
    spot: bool
    by: str
    """`launch`, `resume` or `watchdog`."""
    max_hours: Amount
    max_cost: Amount | None = None
    hours_before: Amount = 0.0
    cost_before: Amount = 0.0
    instance: str = ""
    instance_type: str = ""
    zone: str = ""
    price: Amount = 0.0
    """US dollars an hour of the pool that was given."""
    launched: MomentOrNone = ""
    shrink: Count = 1
    """By what the recipe's batch is divided and its accumulation multiplied, after memory ran out."""
    gpus: int = 0
    """How many GPUs its instance must show; 0 where nobody knows."""
    command: str = ""
    """The line that started it, as it was typed; of the watchdog's own attempts none."""
    contract: int = VERSION


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt ended, and the newest complete checkpoint then. `costs` are the parts of `cost`, by `billing.attempt_costs`."""

    run: str
    number: Count
    reason: EndReason
    ended: Moment
    detail: str = ""
    step: Count = 0
    hours: Amount = 0.0
    cost: Amount = 0.0
    costs: dict[str, Amount] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    """Pools that had no capacity, as `type/zone`."""
    hint_code: str = ""
    """Of `hints.HINTS`, with its values; "": the one of the reason."""
    hint_values: dict[str, str] = field(default_factory=dict)
    contract: int = VERSION


@dataclass(frozen=True)
class Marker:
    """The marker of a finished run: the object `SUCCESS` or `FAILURE`."""

    LARGE: ClassVar[bool] = True
    run: str
    reason: EndReason
    ended: Moment
    attempts: Count
    detail: str = ""
    """One sentence, without a period."""
    hint: str = ""
    """A command as text, written by the user data script and by runs older than `hint_code`; shown through `command` only."""
    step: Count = 0
    total_steps: Count = 0
    loss: float | None = None
    hours: Amount = 0.0
    """Instance hours over all attempts."""
    cost: Amount = 0.0
    files: tuple[DataFile, ...] = ()
    """What `output/` holds, with paths relative to it."""
    hint_code: str = ""
    """Of `hints.HINTS`, with its values; "": the one of the reason."""
    hint_values: dict[str, str] = field(default_factory=dict)
    reward: float | None = None
    """Mean reward of the newest step's completions, where the objective has rewards."""
    margin: float | None = None
    """Mean reward of good answers minus that of bad ones in the newest step, where the objective compares them."""
    contract: int = VERSION

    def command(self, run: str, spec: "Spec | None" = None) -> str:
        """The command to run next, built by the reader, so that no text of a container becomes a command.

        With `spec`, a launch is the line that the user typed, with the hint's options put into it.
        """
        hint = hints.render(self.hint_code, self.hint_values, run) or hints.plain(self.hint) or self.reason.hint(run)
        return typed.changed(spec.typed(), hint) if spec and hint.startswith(f"llmlab {typed.LAUNCH} ") else hint


@dataclass(frozen=True)
class Progress:
    """The trainer's progress. `phase` is one of: loading, tokenizing, training, evaluating, saving, finished."""

    phase: str
    step: Count = 0
    total_steps: Count = 0
    epoch: float = 0.0
    loss: float | None = None
    learning_rate: float | None = None
    tokens: int = 0
    tokens_per_second: Amount | None = None
    seconds: Amount = 0.0
    """Training seconds of this attempt."""
    moves: int = 0
    """Counter of activity within a phase: loaded files, blocks of tokens, batches of an evaluation."""
    reward: float | None = None
    margin: float | None = None
    """As in `Marker`."""


@dataclass(frozen=True)
class Heartbeat:
    """The agent's last report on a run, `status.json`."""

    run: str
    attempt: Count
    at: Moment
    instance: str
    phase: str
    """`preparing`, then the phase of `Progress`, then `uploading`."""
    progress: Progress | None = None
    gpu_percent: float | None = None
    gpu_memory_gib: float | None = None
    checkpoint: Count = 0
    """The newest checkpoint that is complete in S3."""
    hours: Amount = 0.0
    cost: Amount = 0.0
    contract: int = VERSION


@dataclass(frozen=True)
class StopRequest:
    """The agent asks the trainer to save a checkpoint and exit. `detail` says more about the reason."""

    NAME: ClassVar[str] = "request"
    reason: EndReason
    at: str
    detail: str = ""


@dataclass(frozen=True)
class Outcome:
    """The trainer's own report on how it ended."""

    reason: EndReason
    detail: str = ""
    step: int = 0
    total_steps: int = 0
    loss: float | None = None
    hint_code: str = ""
    """Of `hints.HINTS`, with its values; "": the one of the reason."""
    hint_values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stop:
    """A user's stop request."""

    run: str
    at: str
    by: str = ""
