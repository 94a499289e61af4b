"""Lambda without Docker: an invocation runs the uploaded zip's own handler in a clean process, and its output goes to its log group."""

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from llmlab.clock import Clock, SystemClock
from llmlab.sandbox.completion import LOCK

PROGRAM = Path(__file__).parent / "programs" / "function.py"
OLDER_BOTO3 = "1.34.145"
INIT_SECONDS = 30
"""Seconds for a function to start, in addition to its timeout. AWS gives 10 s; a busy laptop needs more."""


@dataclass
class Runtime:
    """The environment that every function runs in; the sandbox sets it when it starts to serve."""

    endpoint: str = ""
    clock: Clock = field(default_factory=SystemClock)
    """The sandbox's clock, which moto's answers and the functions use."""
    running: set["subprocess.Popen[bytes]"] = field(default_factory=set)
    internet: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Host name → (IP address that functions resolve it to, local port that connections to it reach). Other names resolve as usual."""
    authority: str = ""
    """File of the certificate authority that signs for these names."""


RUNTIME = Runtime()


def now() -> datetime:
    """The time on the sandbox's clock."""
    return RUNTIME.clock.now()


def install() -> None:
    """Patch moto's Lambda."""
    from moto.awslambda.models import LambdaFunction

    def invoke(self: Any, event: Any) -> tuple[str, bool, str]:
        return run(self, event if not isinstance(event, str) else json.loads(event))

    LambdaFunction._invoke_lambda = invoke


def run(function: Any, event: Any) -> tuple[str, bool, str]:
    """Run the handler of moto's function object. Returns its answer as JSON, whether it failed, and its log."""
    request = str(uuid.uuid4())
    with tempfile.TemporaryDirectory(prefix="llmlab-function-") as folder:
        (Path(folder) / "function.zip").write_bytes(function.code_bytes)
        (Path(folder) / "event.json").write_text(json.dumps(event), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-I", str(PROGRAM), folder],
            env=_environment(function, request),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        RUNTIME.running.add(process)
        began = time.monotonic()
        try:
            output = process.communicate(timeout=function.timeout + INIT_SECONDS)[0].decode(errors="replace")
        except subprocess.TimeoutExpired:
            process.kill()
            output = process.communicate()[0].decode(errors="replace") + f"Task timed out after {function.timeout} seconds\n"
        finally:
            RUNTIME.running.discard(process)
        answer = Path(folder) / "answer.json"
        failed = process.returncode != 0 or not answer.exists()
        result = (
            answer.read_text(encoding="utf-8")
            if answer.exists()
            else json.dumps({"errorMessage": output.strip()[-500:], "errorType": "Runtime.ExitError"})
        )
    milliseconds = (time.monotonic() - began) * 1000
    log = f"START RequestId: {request} Version: {function.version}\n{output}"
    log = log if log.endswith("\n") else log + "\n"
    log += f"END RequestId: {request}\nREPORT RequestId: {request}\tDuration: {milliseconds:.2f} ms\n"
    _save(function, request, log)
    return result, failed, log


def _environment(function: Any, request: str) -> dict[str, str]:
    from llmlab.sandbox.refusals.switch import holds

    settings = {key: os.environ[key] for key in ("LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT") if key in os.environ}
    settings |= {
        "PATH": os.environ.get("PATH", os.defpath),
        "AWS_REGION": function.region,
        "AWS_DEFAULT_REGION": function.region,
        "AWS_ACCESS_KEY_ID": "ASIASANDBOXFUNCTION0",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
        "AWS_SESSION_TOKEN": "sandbox",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": RUNTIME.endpoint or "http://127.0.0.1:9",
        "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
        "AWS_LAMBDA_LOG_GROUP_NAME": function.logs_group_name,
        "_HANDLER": function.handler,
        "_SANDBOX_REQUEST": request,
        "_SANDBOX_TIMEOUT": str(function.timeout),
        "_SANDBOX_ARN": function.function_arn,
        **({"_SANDBOX_BOTO3": OLDER_BOTO3} if holds("runtime-with-an-older-boto3") else {}),
        **({"_SANDBOX_INTERNET": json.dumps(RUNTIME.internet), "SSL_CERT_FILE": RUNTIME.authority} if RUNTIME.internet else {}),
        "_SANDBOX_OFFSET": str((now() - SystemClock().now()).total_seconds()),
    }
    return {**settings, **{key: str(value) for key, value in (function.environment_vars or {}).items()}}


def _save(function: Any, request: str, log: str) -> None:
    """Write a log to the function's log group. A missing group is created if the function's role may; otherwise the log is lost."""
    now = int(time.time() * 1000)  # not the sandbox's clock: CloudWatch takes nothing from more than two hours ahead
    with LOCK:
        logs = function.logs_backend
        if function.logs_group_name not in logs.groups:
            if not _may_make_a_group(function):
                return
            logs.create_log_group(function.logs_group_name, {})
        day = time.strftime("%Y/%m/%d", time.gmtime(now / 1000))
        stream = f"{day}/[{function.version}]{request.replace('-', '')}"
        logs.create_log_stream(function.logs_group_name, stream)
        logs.put_log_events(function.logs_group_name, stream, [{"timestamp": now, "message": line} for line in log.splitlines()])


def _may_make_a_group(function: Any) -> bool:
    """Whether a function may create its log group, by the inline policies of its role.

    A function whose role never existed belongs to a test, and may. A function that was deleted meanwhile may not.

    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-view.html
    """
    from moto.awslambda.models import lambda_backends
    from moto.iam.models import iam_backends

    account = function.function_arn.split(":")[4]
    functions = lambda_backends[account][function.region].list_functions()
    role = next((role for role in iam_backends[account]["aws"].roles.values() if role.arn == function.role), None)
    if role is None:
        return any(other.function_name == function.function_name for other in functions)
    return any("logs:CreateLogGroup" in str(policy) for policy in role.policies.values())
