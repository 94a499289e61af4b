"""What the programs of an instance share: variables of the environment, and the work folder."""

from dataclasses import dataclass
from enum import StrEnum


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
    GPUS = "LLMLAB_GPUS"
    """Of the trainer: what it sees when it looks at its GPUs, as `trainer.devices.StandIn` says, where a sandbox's machine has none."""
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
    def results(self) -> str:
        """What the trainer makes, and what it makes it from when it goes on."""
        return f"{self.root}/run"

    @property
    def checkpoints(self) -> str:
        return f"{self.results}/checkpoints"

    @property
    def output(self) -> str:
        return f"{self.results}/output"

    @property
    def logs(self) -> str:
        return f"{self.root}/logs"

    @property
    def control(self) -> str:
        """What the agent and the trainer tell each other. Either may find anything there, for the trainer may write anything."""
        return f"{self.root}/control"

    @property
    def host(self) -> str:
        """What the agent and the host tell each other, out of the training container's reach."""
        return f"{self.root}/host"

    @property
    def ready(self) -> str:
        """Agent → host: data, model and checkpoint are here and checked; training may start."""
        return f"{self.host}/ready"

    @property
    def alive(self) -> str:
        """Agent → host: touched all the time while it watches; one that stands still is an agent that hangs."""
        return f"{self.host}/alive"

    @property
    def requested(self) -> str:
        """Agent → the agent that is started after it: the `StopRequest` it has written."""
        return f"{self.host}/request.json"

    @property
    def request(self) -> str:
        """Agent → trainer, a `StopRequest`: save at the next step boundary, and exit."""
        return f"{self.control}/request.json"

    @property
    def gpus(self) -> str:
        """Agent → trainer: how many GPUs this type of instance has, as a number."""
        return f"{self.control}/gpus"

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
        return f"{self.host}/training_exit"

    @property
    def marked(self) -> str:
        """Agent → host: everything is uploaded and the marker (or the attempt's end) is written."""
        return f"{self.host}/marked"


LOG_HEAD_BYTES = 50_000_000
"""Of a log's file `NAME.log`: its beginning, which CloudWatch gets too. What follows is in `NAME.log.000000` and so on."""
LOG_BLOCK_BYTES = 15_000_000
"""Of each of those files, of which the last two stay."""
LOG_KEPT_BYTES = 20_000_000
"""Of a log in S3, half of it from its beginning and half from its end. What is left out between is one line with its size."""
METRICS_FILE = "metrics.jsonl"
"""In `output/`: one JSON object a logged step, keys of `Progress` and more."""
LEARNED = ("loss", "reward", "margin")
"""Columns of its rows that tell what a run has learned; fields of the same names tell the newest step's."""
SAMPLES_FILE = "samples.jsonl"
"""In `output/`, when the recipe has prompts: objects with prompt, base and tuned."""
ADAPTER = "adapter"
"""In `output/`: the adapter folder."""
WHOLE_MODEL = "model"
"""In `output/`, instead of an adapter: the folder of a model whose every weight was trained."""
