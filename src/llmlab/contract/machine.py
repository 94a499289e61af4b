"""The environment variables and the work folder that the programs on an instance share."""

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
    """Trainer: the number of processes to start, instead of one for each GPU."""
    GPUS = "LLMLAB_GPUS"
    """Trainer: simulated GPUs, as `trainer.cuda_devices.StandIn` describes them, on a sandbox's machine without any."""
    ROOT = "LLMLAB_ROOT"
    """A folder that stands for `/` on the host, as DESTDIR does for make; empty on a real machine."""
    TOPIC = "LLMLAB_TOPIC"
    """Watchdog: the ARN of the SNS topic that it publishes notices to."""
    SCHEDULER_ROLE = "LLMLAB_SCHEDULER_ROLE"
    """Watchdog: the ARN of the role that deadline schedules use."""
    MAX_HOURS = "LLMLAB_MAX_HOURS"
    """Watchdog: how many hours an instance without a deadline tag may live."""


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
        """The trainer's cache of tokens by content hash. It is never uploaded."""
        return f"{self.root}/cache"

    @property
    def results(self) -> str:
        """The trainer's results: checkpoints, from which it also resumes, and output."""
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
        """Files that the agent and the trainer exchange. Their contents are untrusted, as the trainer may write anything."""
        return f"{self.root}/control"

    @property
    def host(self) -> str:
        """Files that the agent and the host exchange, out of the training container's reach."""
        return f"{self.root}/host"

    @property
    def ready(self) -> str:
        """Agent → host: data, model and checkpoint are here and checked; training may start."""
        return f"{self.host}/ready"

    @property
    def alive(self) -> str:
        """Agent → host: touched continually while the agent runs; a stale one means that the agent hangs."""
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
"""Size of a log's first file `NAME.log`, which CloudWatch gets too. The rest is in `NAME.log.000000` and so on."""
LOG_BLOCK_BYTES = 15_000_000
"""Size of each further file of a log, of which the last two are kept."""
LOG_KEPT_BYTES = 20_000_000
"""Size of a log in S3, half from its beginning and half from its end. A line between them gives the size of what is left out."""
METRICS_FILE = "metrics.jsonl"
"""In `output/`: one JSON object a logged step, keys of `Progress` and more."""
LEARNED = ("loss", "reward", "margin")
"""Columns of `METRICS_FILE` that show what a run has learned; documents have fields of the same names for the newest step."""
SAMPLES_FILE = "samples.jsonl"
"""In `output/`, when the recipe has prompts: objects with prompt, base and tuned."""
ADAPTER = "adapter"
"""In `output/`: the adapter folder."""
WHOLE_MODEL = "model"
"""In `output/`, instead of an adapter: the folder of a model whose every weight was trained."""
