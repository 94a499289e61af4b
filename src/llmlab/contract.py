"""Every name that two of our programs share: the CLI, the user data, the agent, the trainer and the watchdog.

Standard library only, because it ships inside the watchdog's zip. Each builder has an inverse (`parse(build(x)) == x`), and a
test asserts that no other module, template or Dockerfile spells these literals. Change `VERSION` with any change of meaning.
"""

import dataclasses
import functools
import json
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum, StrEnum
from typing import Any, Literal, TypeVar

VERSION = 1
PROJECT = "llm-tuning-lab"
"""The value of the `Project` tag, and the default lab name."""

IMAGE_LABEL = "llmlab.contract"
"""The label in which a training image says which `VERSION` its programs have."""

TIMESTAMP = "%Y-%m-%dT%H:%M:%SZ"


# ---------------------------------------------------------------- tags and names


class Tag(StrEnum):
    """Tag keys. `Project` is ownership, `Lab` tells two labs of one account apart, the rest belong to instances."""

    PROJECT = "Project"
    LAB = "Lab"
    NAME = "Name"
    RUN = "Run"
    ATTEMPT = "Attempt"
    DEADLINE = "Deadline"
    """When the instance must be gone, as seconds since 1970 (UTC)."""
    KEEP = "KeepUntilDeadline"
    """Present on runs started with `--no-auto-shutdown`."""


@dataclass(frozen=True)
class Names:
    """The deterministic name of everything a lab owns in one account and region."""

    lab: str
    account: str
    region: str

    @property
    def prefix(self) -> str:
        """Global services (IAM) need the region in the name, so that one lab name may live in two regions."""
        return f"{self.lab}-{self.region}"

    @property
    def tags(self) -> dict[str, str]:
        return {Tag.PROJECT: PROJECT, Tag.LAB: self.lab}

    @property
    def data_bucket(self) -> str:
        return f"{self.lab}-data-{self.account}-{self.region}"

    @property
    def outputs_bucket(self) -> str:
        return f"{self.lab}-outputs-{self.account}-{self.region}"

    @property
    def repository(self) -> str:
        return f"{self.lab}-training"

    @property
    def registry(self) -> str:
        return f"{self.account}.dkr.ecr.{self.region}.amazonaws.com"

    @property
    def instance_role(self) -> str:
        return f"{self.prefix}-instance"

    @property
    def watchdog_role(self) -> str:
        return f"{self.prefix}-watchdog"

    @property
    def scheduler_role(self) -> str:
        return f"{self.prefix}-scheduler"

    @property
    def github_role(self) -> str:
        return f"{self.prefix}-github-push"

    @property
    def launch_template(self) -> str:
        return f"{self.lab}-run"

    @property
    def security_group(self) -> str:
        return f"{self.lab}-run"

    @property
    def vpc(self) -> str:
        return f"{self.lab}-vpc"

    @property
    def watchdog(self) -> str:
        """The Lambda function."""
        return f"{self.lab}-watchdog"

    @property
    def topic(self) -> str:
        return f"{self.lab}-alerts"

    @property
    def budget(self) -> str:
        return f"{self.lab}-monthly"

    @property
    def dashboard(self) -> str:
        return f"{self.lab}"

    @property
    def schedule_group(self) -> str:
        return self.lab

    @property
    def metrics(self) -> str:
        """The CloudWatch namespace of the lab's own metrics."""
        return f"{self.lab}"

    def log_group(self, stream: "LogStream") -> str:
        return f"/aws/lambda/{self.watchdog}" if stream is LogStream.WATCHDOG else f"/{self.lab}/{stream}"

    def secret(self, name: str) -> str:
        return f"{self.lab}/{name}"

    def arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"

    def role_arn(self, role: str) -> str:
        return f"arn:aws:iam::{self.account}:role/{role}"


class Metric(StrEnum):
    """CloudWatch metrics in the namespace `Names.metrics`. The agent's carry the dimension `Run`, the watchdog's none."""

    LOSS = "Loss"
    TOKENS_PER_SECOND = "TokensPerSecond"
    STEP = "Step"
    GPU_PERCENT = "GpuPercent"
    GPU_MEMORY_GIB = "GpuMemoryGib"
    COST = "CostDollars"
    """What a run has cost so far, over all its attempts."""
    RUN_AGE_MINUTES = "RunAgeMinutes"
    """Age of the oldest live instance, 0 without one."""
    ACTIVE_INSTANCES = "ActiveInstances"
    FAILED_RUNS = "FailedRuns"
    """Runs that ended with FAILURE, one datum each, when they end; 0 at every sweep."""


class LogStream(StrEnum):
    """The four logs of a lab. In the first three, a log stream of CloudWatch is named by `log_stream_name`."""

    SETUP = "setup"
    TRAINING = "training"
    AGENT = "agent"
    WATCHDOG = "watchdog"


def log_stream_name(run: str, attempt: int) -> str:
    return f"{run}/{attempt}"


def parse_log_stream_name(name: str) -> tuple[str, int]:
    run, _, attempt = name.partition("/")
    return parse_run_id(run), int(attempt)


# ---------------------------------------------------------------- run ids and S3 keys

RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-z]{4}")


def build_run_id(moment: datetime, suffix: str) -> str:
    """`YYYYMMDD-HHMMSS-xxxx` in UTC; sorts by time."""
    return parse_run_id(f"{moment.astimezone(UTC):%Y%m%d-%H%M%S}-{suffix}")


def parse_run_id(text: str) -> str:
    if not RUN_ID.fullmatch(text):
        msg = f"not a run id: {text}"
        raise ValueError(msg)
    return text


def run_started(run: str) -> datetime:
    """The moment a run id was made."""
    return datetime.strptime(run[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)


HF_TOKEN = "hf-token"  # noqa: S105 - a name
"""The name of the secret with which the agent fetches gated models."""

DATASETS = "datasets/"
MODELS = "models/"
RUNS = "runs/"
ENDED = "ended/"
"""An empty object `ended/<run>/<end reason>` is written right after each marker, so that one listing tells how a thousand runs ended."""

MANIFEST = "manifest.json"
COMPLETE = "COMPLETE"
SUCCESS = "SUCCESS"
FAILURE = "FAILURE"


def dataset_prefix(name: str) -> str:
    """Files of a dataset lie at `<prefix><relative path>`, its manifest, written last, at `<prefix>manifest.json`."""
    return f"{DATASETS}{name}/"


def model_prefix(name: str) -> str:
    return f"{MODELS}{name}/"


@dataclass(frozen=True)
class RunKeys:
    """The keys of one run in the outputs bucket."""

    run: str

    @property
    def prefix(self) -> str:
        return f"{RUNS}{self.run}/"

    @property
    def spec(self) -> str:
        return self.prefix + "spec.json"

    @property
    def status(self) -> str:
        return self.prefix + "status.json"

    @property
    def success(self) -> str:
        return self.prefix + SUCCESS

    @property
    def failure(self) -> str:
        return self.prefix + FAILURE

    @property
    def stop(self) -> str:
        """Written by `llmlab stop`; the agent polls it."""
        return self.prefix + "stop.json"

    @property
    def checkpoints(self) -> str:
        return self.prefix + "checkpoints/"

    @property
    def output(self) -> str:
        return self.prefix + "output/"

    @property
    def logs(self) -> str:
        return self.prefix + "logs/"

    @property
    def attempts(self) -> str:
        return self.prefix + "attempts/"

    def attempt(self, number: int) -> str:
        """The claim of an attempt: written once, with If-None-Match, by whoever starts it."""
        return f"{self.attempts}{number}.json"

    def attempt_end(self, number: int | Literal["*"]) -> str:
        """How an attempt ended: written once, by the agent or the watchdog. "*": of any, in a policy."""
        return f"{self.attempts}{number}.end.json"

    def told(self, number: int, notice: "Notice") -> str:
        """Written once by the watchdog when it has told the topic."""
        return f"{self.attempts}{number}.told-{notice}.json"

    def telling(self, number: int, notice: "Notice") -> str:
        """Written by whichever call of the watchdog is about to tell the topic, so that no other does."""
        return f"{self.attempts}{number}.telling-{notice}.json"

    def checkpoint(self, step: int) -> str:
        return f"{self.checkpoints}{checkpoint_name(step)}/"

    def log(self, stream: LogStream, attempt: int) -> str:
        return f"{self.logs}{attempt}/{stream}.log"

    def ended(self, reason: "EndReason") -> str:
        return f"{ENDED}{self.run}/{reason}"


def parse_attempt(key: str) -> tuple[int, str]:
    """The inverse of `RunKeys.attempt` ("claim"), `attempt_end` ("end"), `told` and `telling` ("told-" and "telling-" and the notice).

    0 and "other" for every other key.
    """
    match = re.search(rf"/attempts/([0-9]{{1,9}})(?:\.(end|(?:told|telling)-(?:{'|'.join(Notice)})))?\.json$", key)
    return (int(match[1]), match[2] or "claim") if match else (0, "other")


def parse_ended(key: str) -> tuple[str, "EndReason"]:
    """The inverse of `RunKeys.ended`."""
    _, run, reason = key.split("/")
    return parse_run_id(run), EndReason(reason)


def checkpoint_name(step: int) -> str:
    return f"checkpoint-{step}"


def parse_checkpoint_name(name: str) -> int | None:
    """The step of a checkpoint folder, or None for any other name."""
    match = re.fullmatch(r"checkpoint-([0-9]{1,12})", name)
    return int(match[1]) if match else None


# ---------------------------------------------------------------- how runs are and how they end


class RunState(StrEnum):
    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def final(self) -> bool:
        return self in {RunState.SUCCEEDED, RunState.FAILED, RunState.STOPPED}


class EndReason(StrEnum):
    COMPLETED = "completed"
    STOPPED_BY_USER = "stopped_by_user"
    TIMED_OUT = "timed_out"
    COST_REACHED = "cost_reached"
    SETUP_FAILED = "setup_failed"
    OUT_OF_MEMORY = "out_of_memory"
    DATA_ERROR = "data_error"
    TRAINING_ERROR = "training_error"
    SPOT_INTERRUPTED = "spot_interrupted"
    INSTANCE_LOST = "instance_lost"
    NO_CAPACITY = "no_capacity"
    STALLED = "stalled"
    """The GPUs were idle and no step was done for `Spec.idle_minutes`."""
    HARDWARE_FAILED = "hardware_failed"
    """A GPU was lost or reported errors; another machine may do."""

    @property
    def state(self) -> RunState:
        """The state of a run whose marker carries this reason."""
        if self is EndReason.COMPLETED:
            return RunState.SUCCEEDED
        if self in {EndReason.STOPPED_BY_USER, EndReason.TIMED_OUT, EndReason.COST_REACHED}:
            return RunState.STOPPED
        return RunState.FAILED

    @property
    def resumable(self) -> bool:
        """Whether the watchdog starts the run again by itself."""
        return self in {EndReason.SPOT_INTERRUPTED, EndReason.INSTANCE_LOST, EndReason.HARDWARE_FAILED}

    def hint(self, run: str) -> str:
        """A command that goes on from here."""
        return {
            EndReason.COMPLETED: f"llmlab fetch {run}",
            EndReason.STOPPED_BY_USER: f"llmlab resume {run}",
            EndReason.TIMED_OUT: f"llmlab resume {run} --max-hours 6",
            EndReason.COST_REACHED: f"llmlab resume {run} --max-cost 10",
            EndReason.SETUP_FAILED: f"llmlab logs {run} --stream setup",
            EndReason.OUT_OF_MEMORY: "llmlab launch --set batch_size=1 --set max_length=1024",
            EndReason.DATA_ERROR: f"llmlab logs {run} --stream training",
            EndReason.TRAINING_ERROR: f"llmlab logs {run} --stream training",
            EndReason.SPOT_INTERRUPTED: f"llmlab resume {run} --on-demand",
            EndReason.INSTANCE_LOST: f"llmlab resume {run}",
            EndReason.NO_CAPACITY: f"llmlab resume {run} --on-demand",
            EndReason.STALLED: f"llmlab logs {run} --stream training",
            EndReason.HARDWARE_FAILED: f"llmlab resume {run}",
        }[self]


class Notice(StrEnum):
    """What the watchdog tells the topic of a run, each once an attempt (the ceiling once a run)."""

    START = "start"
    INTERRUPTION = "interruption"
    CEILING = "ceiling"
    """Most of the hours or of the dollars are used (`money.MOST_OF_IT`)."""
    END = "end"


class TrainerExit(IntEnum):
    """The exit code of the training container. Codes above 128 are signals: 137 is the kernel's or our own SIGKILL."""

    COMPLETED = 0
    TRAINING_ERROR = 1
    DATA_ERROR = 65
    OUT_OF_MEMORY = 71
    STOPPED_ON_REQUEST = 75
    """Saved at a step boundary and left because the agent asked."""
    SETUP_FAILED = 78
    """The recipe or the model cannot be used."""

    @staticmethod
    def reason(code: int, *, killed_for_memory: bool = False) -> EndReason:
        """The end reason of a code nobody asked for."""
        if killed_for_memory:
            return EndReason.OUT_OF_MEMORY
        reasons: dict[int, EndReason] = {
            TrainerExit.COMPLETED: EndReason.COMPLETED,
            TrainerExit.DATA_ERROR: EndReason.DATA_ERROR,
            TrainerExit.OUT_OF_MEMORY: EndReason.OUT_OF_MEMORY,
            TrainerExit.SETUP_FAILED: EndReason.SETUP_FAILED,
        }
        return reasons.get(code, EndReason.TRAINING_ERROR)


# ---------------------------------------------------------------- the machine


class Env(StrEnum):
    """Environment variables that the user data gives to the containers."""

    RUN = "LLMLAB_RUN"
    ATTEMPT = "LLMLAB_ATTEMPT"
    DEADLINE = "LLMLAB_DEADLINE"
    LAB = "LLMLAB_LAB"
    DATA_BUCKET = "LLMLAB_DATA_BUCKET"
    OUTPUTS_BUCKET = "LLMLAB_OUTPUTS_BUCKET"
    WORK = "LLMLAB_WORK"
    """The work folder inside the container, laid out as `WorkFolder` says."""
    PROCESSES = "LLMLAB_PROCESSES"
    """Of the trainer: how many processes to start, instead of one for each GPU."""
    ROOT = "LLMLAB_ROOT"
    """A folder that stands for `/` on the host, as DESTDIR does for make; empty on a real machine."""
    TOPIC = "LLMLAB_TOPIC"
    """Of the watchdog: the ARN of the SNS topic it tells the end of runs to."""
    SCHEDULER_ROLE = "LLMLAB_SCHEDULER_ROLE"
    """Of the watchdog: the ARN of the role that deadline schedules use."""
    MAX_HOURS = "LLMLAB_MAX_HOURS"
    """Of the watchdog: how long an instance without a deadline tag may live."""


@dataclass(frozen=True)
class WorkFolder:
    """The work folder of a run on the instance, as the containers see it."""

    root: str = "/work"

    @property
    def spec(self) -> str:
        return f"{self.root}/spec.json"

    @property
    def data(self) -> str:
        """The dataset's files and its manifest; read-only in the training container."""
        return f"{self.root}/data"

    @property
    def model(self) -> str:
        """The model folder when the recipe says `lab:NAME`; read-only in the training container."""
        return f"{self.root}/model"

    @property
    def cache(self) -> str:
        """The trainer's own: tokens by content hash. It stays on the instance."""
        return f"{self.root}/cache"

    @property
    def checkpoints(self) -> str:
        return f"{self.root}/run/checkpoints"

    @property
    def output(self) -> str:
        return f"{self.root}/run/output"

    @property
    def logs(self) -> str:
        return f"{self.root}/logs"

    @property
    def control(self) -> str:
        return f"{self.root}/control"

    @property
    def ready(self) -> str:
        """Agent → host: data, model and checkpoint are here and checked; training may start."""
        return f"{self.control}/ready"

    @property
    def request(self) -> str:
        """Agent → trainer, a `Request`: save at the next step boundary, and leave."""
        return f"{self.control}/request.json"

    @property
    def progress(self) -> str:
        """Trainer → agent, a `Progress`, replaced after each step."""
        return f"{self.control}/progress.json"

    @property
    def outcome(self) -> str:
        """Trainer → agent, an `Outcome`, written before it exits when it can."""
        return f"{self.control}/outcome.json"

    @property
    def training_exit(self) -> str:
        """Host → agent: the training container's exit code and `true` or `false` for killed for memory, e.g. `137 true`."""
        return f"{self.control}/training_exit"

    @property
    def marked(self) -> str:
        """Agent → host: everything is uploaded and the marker (or the attempt's end) is written."""
        return f"{self.control}/marked"


METRICS_FILE = "metrics.jsonl"
"""In `output/`: one JSON object a logged step, keys of `Progress` and more."""
SAMPLES_FILE = "samples.jsonl"
"""In `output/`, when the recipe has prompts: objects with prompt, base and tuned."""
ADAPTER = "adapter"
"""In `output/`: the adapter folder."""
WHOLE_MODEL = "model"
"""In `output/`, instead of an adapter: the folder of a model whose every weight was trained."""


# ---------------------------------------------------------------- documents


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

    name: str
    files: tuple[DataFile, ...]
    created: str
    facts: dict[str, Any] = field(default_factory=dict)
    contract: int = VERSION


@dataclass(frozen=True)
class Complete:
    """The manifest of a checkpoint, its `COMPLETE` file."""

    step: int
    files: tuple[DataFile, ...]
    contract: int = VERSION


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

    at: str
    dollars: float


@dataclass(frozen=True)
class Spec:
    """What a run is. Written once, before its instance, and never changed; `resume` writes new limits into a new attempt."""

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
    max_hours: float
    created: str
    model: Manifest | None = None
    max_cost: float | None = None
    max_attempts: int = 10
    fallback_on_demand: bool = False
    auto_shutdown: bool = True
    resume: bool = True
    llmlab_version: str = ""
    preferred: tuple[str, ...] = ()
    """Instance types in the order the user named them; empty: whichever is cheapest for the work."""
    charges: tuple[Charge, ...] = ()
    idle_minutes: float = 20.0
    """How long GPUs may idle while no step is done; 0: for ever."""
    fallback_interruptions: int = 3
    """With `fallback_on_demand`: interruptions after which the next attempt is on demand."""
    fallback_minutes: float = 15.0
    """With `fallback_on_demand`: minutes without spot capacity after which the next attempt is on demand."""
    wait_hours: float = 24.0
    """How long an interrupted run waits for capacity before it is given up."""
    contract: int = VERSION


@dataclass(frozen=True)
class Attempt:
    """One instance's try at a run. `deadline` in seconds since 1970; `hours_before` and `cost_before` are what earlier attempts used."""

    run: str
    number: int
    claimed: str
    deadline: int
    spot: bool
    by: str
    """`launch`, `resume` or `watchdog`."""
    max_hours: float
    max_cost: float | None = None
    hours_before: float = 0.0
    cost_before: float = 0.0
    instance: str = ""
    instance_type: str = ""
    zone: str = ""
    price: float = 0.0
    """US dollars an hour of the pool that was given."""
    launched: str = ""
    shrink: int = 1
    """By what the recipe's batch is divided and its accumulation multiplied, after memory ran out."""
    contract: int = VERSION


@dataclass(frozen=True)
class AttemptEnd:
    """How an attempt ended, and the newest complete checkpoint then. `costs` are the parts of `cost`, by `money.attempt_costs`."""

    run: str
    number: int
    reason: EndReason
    ended: str
    detail: str = ""
    step: int = 0
    hours: float = 0.0
    cost: float = 0.0
    costs: dict[str, float] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    """Pools that had no capacity, as `type/zone`."""
    contract: int = VERSION


@dataclass(frozen=True)
class Marker:
    """The last word about a run: the object `SUCCESS` or `FAILURE`."""

    run: str
    reason: EndReason
    ended: str
    attempts: int
    detail: str = ""
    """One sentence, without a period."""
    hint: str = ""
    step: int = 0
    total_steps: int = 0
    loss: float | None = None
    hours: float = 0.0
    """Instance hours over all attempts."""
    cost: float = 0.0
    files: tuple[DataFile, ...] = ()
    """What `output/` holds, with paths relative to it."""
    contract: int = VERSION


@dataclass(frozen=True)
class Progress:
    """Where the trainer is. `phase` is one of: loading, tokenizing, training, evaluating, saving, finished."""

    phase: str
    step: int = 0
    total_steps: int = 0
    epoch: float = 0.0
    loss: float | None = None
    learning_rate: float | None = None
    tokens: int = 0
    tokens_per_second: float | None = None
    seconds: float = 0.0
    """Training seconds of this attempt."""
    moves: int = 0
    """Counts up while work within a phase goes on: files that load, blocks of tokens, batches of an evaluation."""


@dataclass(frozen=True)
class Heartbeat:
    """`status.json`: what the agent last saw."""

    run: str
    attempt: int
    at: str
    instance: str
    phase: str
    """`preparing`, then the phase of `Progress`, then `uploading`."""
    progress: Progress | None = None
    gpu_percent: float | None = None
    gpu_memory_gib: float | None = None
    checkpoint: int = 0
    """The newest checkpoint that is whole in S3."""
    hours: float = 0.0
    cost: float = 0.0
    contract: int = VERSION


@dataclass(frozen=True)
class Request:
    """The agent asks the trainer to save and leave. `detail` is what else there is to say about why."""

    reason: EndReason
    at: str
    detail: str = ""


@dataclass(frozen=True)
class Outcome:
    """The trainer's own words on its end."""

    reason: EndReason
    detail: str = ""
    hint: str = ""
    step: int = 0
    total_steps: int = 0
    loss: float | None = None


@dataclass(frozen=True)
class Stop:
    """A user's stop request."""

    run: str
    at: str
    by: str = ""


HALVE = "halve"
"""Of the recipe's `on_out_of_memory`: go on once with half the batch."""
HALF_BATCH = 2
"""`Attempt.shrink` then."""


def may_shrink(recipe: Mapping[str, Any], shrink: int) -> bool:
    """Whether an attempt that ran out of memory is followed by one with half the batch. `recipe` is `Spec.recipe`, `shrink` the attempt's.

    Once only, and only where half the batch and twice the accumulation are the same step.
    """
    batch = int(recipe.get("batch_size", 1))
    return recipe.get("on_out_of_memory", HALVE) == HALVE and shrink == 1 and batch > 1 and batch % 2 == 0


def shrunk(recipe: Mapping[str, Any], shrink: int) -> dict[str, Any]:
    """The recipe with its batch divided and its accumulation multiplied: the same examples a step, in less memory."""
    return {**recipe, "batch_size": int(recipe["batch_size"]) // shrink, "accumulate": int(recipe.get("accumulate", 1)) * shrink}


def batch_words(recipe: Mapping[str, Any], shrink: int) -> str:
    """`batch 4 x accumulate 2`, what an attempt trains with."""
    small = shrunk(recipe, shrink)
    return f"batch {small['batch_size']} x accumulate {small['accumulate']}"


class ContractError(ValueError):
    """A document that is not what its name says."""


def dump(document: Any) -> str:
    """A document as JSON, readable, keys in declaration order. What JSON cannot say is null (NaN) or a question mark (half a character)."""
    text = json.dumps(_writable(dataclasses.asdict(document)), indent=1, ensure_ascii=False) + "\n"
    return text.encode(errors="replace").decode()


def _writable(value: Any) -> Any:
    """Plain values whose numbers are finite: a loss may be NaN, which is no number in JSON."""
    if isinstance(value, dict):
        return {key: _writable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


T = TypeVar("T")


def load(kind: type[T], text: str | bytes) -> T:
    """The inverse of `dump`. Unknown fields are ignored, so that an older reader survives a newer writer.

    Raises:
        ContractError: a field is missing, is of another type, or could not be written again: nothing that is read here fails later.
    """
    try:
        return _build(kind, _parsed(text))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        msg = f"not a {kind.__name__.lower()}: {' '.join(str(error).split())[:MOST_WORDS]}"
        raise ContractError(msg) from error


MOST_LEVELS = 32
"""How deep a document may be nested; a recipe, the deepest part of any, has four levels."""
MOST_WORDS = 300
"""Characters of what is said about a document: its own text may be part of it."""
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _parsed(text: str | bytes) -> dict[str, Any]:
    """A JSON object of finite numbers and of text that UTF-8 can write."""
    text = text.decode() if isinstance(text, bytes) else text
    value = json.loads(text, parse_constant=_finite, parse_float=_finite)
    if not isinstance(value, dict):
        raise TypeError("not an object")
    if SURROGATE.search(text):
        json.dumps(value, ensure_ascii=False).encode()
    inner: list[Any] = [value]
    for _ in range(MOST_LEVELS):
        inner = [two for one in inner if isinstance(one, dict | list) for two in (one.values() if isinstance(one, dict) else one)]
    if inner:
        raise ValueError(f"nested deeper than {MOST_LEVELS} levels")
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


_hints: Callable[[Any], dict[str, Any]] = functools.cache(typing.get_type_hints)


def _build(kind: type[T], value: dict[str, Any]) -> T:
    hints = _hints(kind)
    fields = {item.name: hints[item.name] for item in dataclasses.fields(kind) if item.name in value}  # type: ignore[arg-type]
    return kind(**{name: _convert(hint, value[name], name) for name, hint in fields.items()})


def _convert(hint: Any, value: Any, name: str) -> Any:
    if hint is Any:
        return value
    origin = typing.get_origin(hint)
    if origin in {typing.Union, types.UnionType}:
        if value is None:
            return None
        (hint,) = [one for one in typing.get_args(hint) if one is not types.NoneType]
        return _convert(hint, value, name)
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError(f"{name} is not a list")
        return tuple(_convert(typing.get_args(hint)[0], item, name) for item in value)
    if origin is dict:
        hint = dict
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise TypeError(f"{name} is not an object")
        return _build(hint, value)  # type: ignore[arg-type]
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise TypeError(f"{name} is not {hint.__name__}")
    return value


# ---------------------------------------------------------------- time


def build_timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(TIMESTAMP)


def parse_timestamp(text: str) -> datetime:
    return datetime.strptime(text, TIMESTAMP).replace(tzinfo=UTC)
