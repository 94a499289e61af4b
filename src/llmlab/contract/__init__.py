"""Every name that two of our programs share: the CLI, the user data, the agent, the trainer and the watchdog.

Standard library only, because it ships inside the watchdog's zip. Each builder has an inverse (`parse(build(x)) == x`), and a
test asserts that no other module, template or Dockerfile spells these literals. Change `VERSION` with any change of meaning.
"""

from llmlab.contract.codec import ContractError, dump, load
from llmlab.contract.documents import (
    Attempt,
    AttemptEnd,
    Charge,
    Complete,
    DataFile,
    Heartbeat,
    Manifest,
    Marker,
    Outcome,
    Pool,
    PricePoint,
    Progress,
    Request,
    Spec,
    Stop,
)
from llmlab.contract.keys import (
    COMPLETE,
    DATASETS,
    ENDED,
    FAILURE,
    MANIFEST,
    MODELS,
    RUN_ID,
    RUNS,
    SUCCESS,
    RunKeys,
    build_run_id,
    checkpoint_name,
    dataset_prefix,
    log_stream_name,
    model_prefix,
    parse_attempt,
    parse_checkpoint_name,
    parse_ended,
    parse_log_stream_name,
    parse_run_id,
    run_started,
)
from llmlab.contract.machine import ADAPTER, METRICS_FILE, SAMPLES_FILE, WHOLE_MODEL, Env, WorkFolder
from llmlab.contract.names import HF_TOKEN, IMAGE_LABEL, PROJECT, VERSION, LogStream, Metric, Names, Tag
from llmlab.contract.shrinking import HALF_BATCH, HALVE, batch_words, may_shrink, shrunk
from llmlab.contract.states import EndReason, Notice, RunState, TrainerExit
from llmlab.contract.times import TIMESTAMP, build_timestamp, parse_timestamp

__all__ = [
    "ADAPTER", "COMPLETE", "DATASETS", "ENDED", "FAILURE", "HALF_BATCH", "HALVE", "HF_TOKEN", "IMAGE_LABEL", "MANIFEST", "METRICS_FILE",
    "MODELS", "PROJECT", "RUNS", "RUN_ID", "SAMPLES_FILE", "SUCCESS", "TIMESTAMP", "VERSION", "WHOLE_MODEL", "Attempt", "AttemptEnd",
    "Charge", "Complete", "ContractError", "DataFile", "EndReason", "Env", "Heartbeat", "LogStream", "Manifest", "Marker", "Metric",
    "Names", "Notice", "Outcome", "Pool", "PricePoint", "Progress", "Request", "RunKeys", "RunState", "Spec", "Stop", "Tag",
    "TrainerExit", "WorkFolder", "batch_words", "build_run_id", "build_timestamp", "checkpoint_name", "dataset_prefix", "dump", "load",
    "log_stream_name", "may_shrink", "model_prefix", "parse_attempt", "parse_checkpoint_name", "parse_ended", "parse_log_stream_name",
    "parse_run_id", "parse_timestamp", "run_started", "shrunk",
]  # fmt: skip
