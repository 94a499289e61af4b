"""How much the parallel bootstrap saves, and what a second one costs.

Each call to AWS is given 50 ms more, about the distance to a region. The baseline makes the same calls through the same code,
one after another. Both run in this process on moto, whose own time counts in both.

    python -m benchmarks.bootstrap
"""

import os
import threading
import time
from datetime import UTC, datetime

ADDED_SECONDS = 0.05
READING = ("Describe", "Get", "List", "Head")
MOST_READS = 2
"""Of a resource that is there or was once, as `tests/laws/test_plan.py` has it."""
MOST_RATIO = 0.5
FAKE = {"AWS_ACCESS_KEY_ID": "AKIASANDBOX", "AWS_SECRET_ACCESS_KEY": "sandbox", "AWS_DEFAULT_REGION": "us-east-1"}


class Line:
    """Counts calls, and makes each of them take longer; with `one_at_a_time` they queue."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.one_at_a_time = False
        self.queue = threading.Lock()

    def __call__(self, call: str) -> None:
        self.calls.append(call)
        if self.one_at_a_time:
            with self.queue:
                time.sleep(ADDED_SECONDS)
        else:
            time.sleep(ADDED_SECONDS)


def main() -> int:
    os.environ.update(FAKE)
    from llmlab.sandbox.completion import complete

    complete()
    from moto import mock_aws

    from llmlab import stack
    from llmlab.aws.session import Aws
    from llmlab.clock import ManualClock, SystemClock
    from llmlab.config import Settings
    from llmlab.infra import order
    from llmlab.ops import bootstrap

    settings = Settings(email="me@example.org", github="me/repo")
    line = Line()

    def run(aws: Aws) -> float:
        line.calls.clear()
        started = time.perf_counter()
        clock = ManualClock(datetime(2026, 11, 24, tzinfo=UTC))
        planned = bootstrap.make_plan(settings, aws, clock)
        bootstrap.apply(planned, settings, aws, clock)
        return time.perf_counter() - started

    threads = order.THREADS
    seconds: dict[str, float] = {}
    counts: dict[str, int] = {}
    for name, line.one_at_a_time, order.THREADS in (
        ("warm up", False, threads),
        ("in parallel", False, threads),
        ("one after another", True, 1),
    ):
        with mock_aws():  # the warm-up loads botocore's models and moto's, which is neither way's own cost
            aws = Aws("us-east-1", lab="llm-tuning-lab", before_call=line)
            seconds[name] = run(aws)
            counts[name] = len(line.calls)
            if name == "in parallel":
                aws = Aws("us-east-1", lab="llm-tuning-lab", before_call=line)
                seconds["second"] = run(aws)
                second = list(line.calls)
                most = MOST_READS * (len(list(stack.build(settings, aws, SystemClock()))) + len(stack.RETIRED))

    writes = [call for call in second if not call.partition(":")[2].startswith(READING)]
    ratio = seconds["in parallel"] / seconds["one after another"]
    print(f"bootstrap, cold: {seconds['in parallel']:.2f} s in parallel, {seconds['one after another']:.2f} s one after another")
    print(f"  calls: {counts['in parallel']} and {counts['one after another']}, each 50 ms further away")
    print(f"  ratio: {ratio:.2f} (at most {MOST_RATIO})")
    print(f"bootstrap, second: {seconds['second']:.2f} s, {len(second) - len(writes)} reads (at most {most}), {len(writes)} writes (0)")
    return int(ratio > MOST_RATIO or len(second) - len(writes) > most or bool(writes))


if __name__ == "__main__":
    raise SystemExit(main())
