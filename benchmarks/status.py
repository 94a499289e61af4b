"""`llmlab status` against a bare boto3 script that makes the same calls, both as processes, on a warm sandbox.

    llmlab sandbox exec -- python benchmarks/status.py

Prints one JSON document. The peer is as lean as one would write it by hand: one session, the same calls, one after another.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 5

PEER = """
import json, sys
import boto3
lab, region = "llm-tuning-lab", sys.argv[1]
session = boto3.Session(region_name=region)
account = session.client("sts").get_caller_identity()["Account"]
bucket = f"{lab}-outputs-{account}-{region}"
s3 = session.client("s3")
tags = [{"Name": "tag:Project", "Values": ["llm-tuning-lab"]}, {"Name": "tag:Lab", "Values": [lab]}]
session.client("ec2").describe_instances(Filters=tags)
s3.list_objects_v2(Bucket=bucket, Prefix="runs/", Delimiter="/")
ended = [item["Key"].split("/") for item in s3.list_objects_v2(Bucket=bucket, Prefix="ended/").get("Contents", [])]
session.client("ecr").describe_images(repositoryName=f"{lab}-training", filter={"tagStatus": "TAGGED"})
session.client("budgets", region_name="us-east-1").describe_budget(AccountId=account, BudgetName=f"{lab}-{region}-monthly")
for _, run, reason in sorted(ended, reverse=True)[:10]:
    json.loads(s3.get_object(Bucket=bucket, Key=f"runs/{run}/" + ("SUCCESS" if reason == "completed" else "FAILURE"))["Body"].read())
"""


def fill(region: str, count: int) -> None:
    """A lab with `count` runs that are over."""
    from llmlab.aws import documents
    from llmlab.aws.session import Aws
    from llmlab.contract import PROJECT, EndReason, Marker, RunKeys

    aws = Aws(region, lab=PROJECT)
    for number in range(count):
        keys = RunKeys(f"20261101-{number:06d}-abcd")
        marker = Marker(keys.run, EndReason.COMPLETED, "2026-11-01T01:00:00Z", 1, step=10, total_steps=10, loss=0.5, hours=1, cost=0.8)
        documents.write(aws, aws.names.outputs_bucket, keys.success, marker)
        documents.touch(aws, aws.names.outputs_bucket, keys.ended(EndReason.COMPLETED))


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    region = os.environ["AWS_REGION"]
    if not os.environ.get("AWS_ENDPOINT_URL"):
        sys.exit("run it in the sandbox: llmlab sandbox exec -- python benchmarks/status.py")
    subprocess.run([sys.executable, "-m", "llmlab", "bootstrap", "--yes"], check=True, capture_output=True)
    fill(region, 20)
    with tempfile.TemporaryDirectory() as folder:
        peer = Path(folder) / "peer.py"
        peer.write_text(PEER, encoding="utf-8")
        ours, theirs = [sys.executable, "-m", "llmlab", "status"], [sys.executable, str(peer), region]
        pairs = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS + 1)][1:]
    best = min(one for one, _ in pairs), min(other for _, other in pairs)
    facts = {"llmlab_seconds": best[0], "boto3_seconds": best[1], "ratio": best[0] / best[1], "ratio_wanted": 2.0, "rounds": ROUNDS}
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
