"""`python -m llmlab.agent`: the one place where the agent meets the machine: environment, boto3, clock, IMDS, GPUs."""

import os
import signal
import sys
from datetime import UTC
from pathlib import Path

import boto3
from botocore.config import Config

from llmlab import contract
from llmlab.agent.background import Threads
from llmlab.agent.cloudwatch_metrics import CloudWatchMetrics
from llmlab.agent.exit_diagnosis import ExitDiagnosis
from llmlab.agent.gpu import NvidiaGpus
from llmlab.agent.imds import ADDRESS, HttpImds
from llmlab.agent.job import read_job
from llmlab.agent.loop import Agent
from llmlab.agent.model_download import bring_model, download_snapshot
from llmlab.agent.prepare import PATIENCE_SECONDS, PrepareError, prepare, tell_gpus
from llmlab.agent.s3_store import S3Store, StoreError, persist
from llmlab.agent.shared_files import read
from llmlab.agent.spot_price import Ec2SpotPrices
from llmlab.agent.uploads import Uploads
from llmlab.clock import SystemClock
from llmlab.contract import Attempt, EndReason, Env
from llmlab.files import replace_text

CLIENTS = Config(
    retries={"total_max_attempts": 6, "mode": "standard"}, max_pool_connections=64, connect_timeout=5, read_timeout=30,
    s3={"us_east_1_regional_endpoint": "regional"},
)  # fmt: skip
"""Settings of every client: six tries, whose pauses take half a minute together at most, of the two minutes that a spot notice leaves.
https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html"""


def main() -> int:
    """Work on the job of this machine until its end is written. Started again after a crash, it goes on where it was."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    clock = SystemClock()

    def say(text: str) -> None:
        sys.stdout.write(f"{clock.now().astimezone(UTC):{contract.TIMESTAMP}} {text}\n")
        sys.stdout.flush()

    job = read_job(os.environ)
    if read(job.folder.marked):
        return 0
    session = boto3.Session(region_name=job.spec.region)
    s3 = session.client("s3", config=CLIENTS)
    outputs = S3Store(s3, os.environ[Env.OUTPUTS_BUCKET], clock)
    imds = HttpImds(os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or ADDRESS, clock)
    metrics = CloudWatchMetrics(session.client("cloudwatch", config=CLIENTS), job.names.metrics, job.run)
    attempt = contract.load(Attempt, outputs.read(job.keys.attempt(job.attempt)) or b"")
    spot_prices = Ec2SpotPrices(session.client("ec2", config=CLIENTS))
    uploads = Uploads(job, outputs, say)
    agent = Agent(job, outputs, imds, spot_prices, NvidiaGpus(), metrics, Threads(say), clock, say, uploads, attempt, imds.instance())
    say(f"agent of run {job.run}, attempt {job.attempt}, on {agent.instance}")
    try:
        if not read(job.folder.ready):
            agent.background.start("heartbeat", lambda: agent.heartbeat("preparing"))
            bring_model(job, session.client("secretsmanager", config=CLIENTS), download_snapshot, say)
            data, until = S3Store(s3, os.environ[Env.DATA_BUCKET], clock), clock.now().timestamp() + PATIENCE_SECONDS
            step = persist(lambda: prepare(job, data, outputs, say), clock, say, until=until)
            tell_gpus(job, attempt, imds.place()[0])
            agent.uploads.have(step)
            replace_text(Path(job.folder.ready), f"{step}\n")
    except (PrepareError, StoreError, OSError) as error:
        agent.conclude(ExitDiagnosis(EndReason.SETUP_FAILED, f"data and checkpoint: {error}".rstrip(".")), until=job.deadline)
        return 1
    agent.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
