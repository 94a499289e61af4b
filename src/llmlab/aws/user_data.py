"""The script a machine of the lab runs at boot: `templates/user_data.sh.j2`, with the names of this lab and of the contract filled in.

It belongs to the lab, not to a run, and holds no secret: anyone on the machine can read it through IMDS. EC2 gets it compressed, which
cloud-init undoes: https://cloudinit.readthedocs.io/en/latest/explanation/format/gzip.html
"""

import gzip
import json
import shlex
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from llmlab import contract
from llmlab.contract import EndReason, Env, LogStream, Names, RunKeys, Tag, WorkFolder
from llmlab.errors import LabError
from llmlab.lifecycle import billing

LIMIT = 16 * 1024
"""Bytes of user data that EC2 takes, before base64: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html"""
TEMPLATE = "user_data.sh.j2"
MAGIC = b"\x1f\x8b"
"""The first bytes of whatever gzip wrote: RFC 1952, section 2.3.1."""


@dataclass(frozen=True)
class UserData:
    """The values that the script depends on. `default_max_hours` is when a machine switches off that cannot learn its own deadline."""

    names: Names
    default_max_hours: float


def render(user_data: UserData) -> str:
    """The script, short enough for EC2 once it is packed.

    Raises:
        LabError: it became longer than EC2 takes.
    """
    environment = Environment(  # noqa: S701 - a shell script: every value goes through `quote`, which a test asserts
        loader=FileSystemLoader(_templates()), undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True
    )
    environment.filters["quote"] = lambda value: shlex.quote(str(value))
    text = environment.get_template(TEMPLATE).render(_values(user_data))
    size = len(packed(text))
    if size > LIMIT:
        raise LabError(f"the user data has {size} bytes and EC2 takes {LIMIT}", "llmlab doctor")
    return text


def packed(script: str) -> bytes:
    """The script as EC2 gets it."""
    return gzip.compress(script.encode(), mtime=0)


def unpacked(data: bytes) -> str:
    """The script of EC2's user data, compressed or not; "" for data that is neither, which is no script of ours."""
    try:
        return (gzip.decompress(data) if data.startswith(MAGIC) else data).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        return ""


def _values(user_data: UserData) -> dict[str, Any]:
    names = user_data.names
    return {
        "names": names,
        "fallback_seconds": int(user_data.default_max_hours * 3600),
        "env": Env,
        "tag": Tag,
        "log": LogStream,
        "reason": EndReason,
        "folder": WorkFolder(""),
        "container": WorkFolder(),
        "key": _keys(),
        "runs_prefix": contract.RUNS,
        "datasets_prefix": contract.DATASETS,
        "models_prefix": contract.MODELS,
        "complete": contract.COMPLETE,
        "log_head_bytes": contract.LOG_HEAD_BYTES,
        "log_block_bytes": contract.LOG_BLOCK_BYTES,
        "log_kept_bytes": contract.LOG_KEPT_BYTES,
        "timestamp": contract.TIMESTAMP,
        "contract": contract.VERSION,
        "image_label": contract.IMAGE_LABEL,
        "instance_part": billing.INSTANCE,
        "cloudwatch": json.dumps(cloudwatch_agent(names), separators=(",", ":")),
    }


def _keys() -> dict[str, str]:
    """The keys of a run after its prefix; `@ATTEMPT@` stands for the attempt's number."""
    keys = RunKeys("@RUN@")
    builders = {
        "spec": keys.spec, "success": keys.success, "failure": keys.failure,
        "output": keys.output, "checkpoints": keys.checkpoints, "logs": keys.logs,
        "attempt": keys.attempt(12345).replace("12345", "@ATTEMPT@"), "attempt_end": keys.attempt_end(12345).replace("12345", "@ATTEMPT@"),
    }  # fmt: skip
    return {name: key.removeprefix(keys.prefix) for name, key in builders.items()}


def cloudwatch_agent(names: Names) -> dict[str, Any]:
    """The CloudWatch agent's configuration: three logs, and GPU, memory and disk once a minute.

    `@LOGS@` and `@STREAM@` are filled in by the machine.
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch-Agent-Configuration-File-Details.html
    """
    streams = (LogStream.SETUP, LogStream.TRAINING, LogStream.AGENT)
    return {
        "agent": {"run_as_user": "root", "metrics_collection_interval": 60},
        "logs": {
            "logs_collected": {
                "files": {
                    "collect_list": [
                        {"file_path": f"@LOGS@/{stream}.log", "log_group_name": names.log_group(stream), "log_stream_name": "@STREAM@"}
                        for stream in streams
                    ]
                }
            },
            "force_flush_interval": 5,
        },
        "metrics": {
            "namespace": names.metrics,
            "append_dimensions": {"InstanceId": "${aws:InstanceId}"},
            "metrics_collected": {
                "nvidia_gpu": {"measurement": ["utilization_gpu", "memory_used", "temperature_gpu"]},
                "mem": {"measurement": ["used_percent"]},
                "disk": {"measurement": ["used_percent"], "resources": ["/", "/opt/dlami/nvme"]},
            },
        },
    }


def _templates() -> Path:
    here = Path(__file__).parent.parent
    folders = (here / "templates", here.parent.parent / "templates")  # in the wheel; in a clone
    return next((folder for folder in folders if (folder / TEMPLATE).is_file()), folders[0])
