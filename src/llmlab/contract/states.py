"""The states of runs, the reasons for their end, and the notices about them."""

from enum import IntEnum, StrEnum


class RunState(StrEnum):
    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    UNREADABLE = "unreadable"
    """The run's documents cannot be read, so its state is unknown."""

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
    """A GPU was missing, lost or reported errors; another machine may do."""

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
        """The command to run next after an end for this reason."""
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
    """Kinds of notices that the watchdog publishes about a run, each once an attempt (the ceiling once a run)."""

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
    HARDWARE_FAILED = 74
    """A GPU that must be there is not, or does not compute."""
    STOPPED_ON_REQUEST = 75
    """Saved at a step boundary and left because the agent asked."""
    SETUP_FAILED = 78
    """The recipe or the model cannot be used."""

    @staticmethod
    def reason(code: int, *, killed_for_memory: bool = False) -> EndReason:
        """The end reason for an exit code of a trainer that nobody asked to stop."""
        if killed_for_memory:
            return EndReason.OUT_OF_MEMORY
        reasons: dict[int, EndReason] = {
            TrainerExit.COMPLETED: EndReason.COMPLETED,
            TrainerExit.DATA_ERROR: EndReason.DATA_ERROR,
            TrainerExit.OUT_OF_MEMORY: EndReason.OUT_OF_MEMORY,
            TrainerExit.SETUP_FAILED: EndReason.SETUP_FAILED,
            TrainerExit.HARDWARE_FAILED: EndReason.HARDWARE_FAILED,
        }
        return reasons.get(code, EndReason.TRAINING_ERROR)
