"""Log lines from CloudWatch, by FilterLogEvents: paging, and following by asking again after the newest line seen.

Polling, rather than a live tail, because it costs nothing, misses nothing and can be read from the beginning.
https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from llmlab.aws.session import Aws, NotFound


def ingested(aws: Aws, groups: Iterable[str], since: datetime, now: datetime) -> float:
    """Bytes ingested into these log groups, by CloudWatch's own metric.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CloudWatch-Logs-Monitoring-CloudWatch-Metrics.html
    """
    client, total = aws.client("cloudwatch"), 0.0
    for group in groups:
        points = client.get_metric_statistics(
            Namespace="AWS/Logs", MetricName="IncomingBytes", Dimensions=[{"Name": "LogGroupName", "Value": group}],
            StartTime=since, EndTime=now, Period=86400, Statistics=["Sum"],
        )["Datapoints"]  # fmt: skip
        total += sum(point["Sum"] for point in points)
    return total


@dataclass(frozen=True)
class LogEvent:
    """One log event: a line of a log. `stream` is the name of its log stream, `id` CloudWatch's id of the event."""

    at: datetime
    stream: str
    id: str
    text: str


def read(aws: Aws, group: str, prefix: str, since: datetime | None = None) -> Iterator[LogEvent]:
    """The lines of every stream whose name begins with `prefix`, as CloudWatch orders them. No group, no lines."""
    arguments = {"logGroupName": group, "logStreamNamePrefix": prefix, "interleaved": True}
    if since:
        arguments["startTime"] = int(since.timestamp() * 1000)
    try:
        for page in aws.client("logs").get_paginator("filter_log_events").paginate(**arguments):
            for event in page["events"]:
                if not event["logStreamName"].startswith(prefix):
                    continue
                at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
                yield LogEvent(at, event["logStreamName"], event["eventId"], event["message"].rstrip("\n"))
    except NotFound:
        return


@dataclass
class Follower:
    """Remembers what was read of one group, so that each `more` gives only new lines. Lines up to a minute late are not lost."""

    aws: Aws
    group: str
    prefix: str
    since: datetime | None = None
    _seen: dict[str, datetime] = field(default_factory=dict)

    def more(self) -> list[LogEvent]:
        """The lines that have come since the last call, by time."""
        lines = [line for line in read(self.aws, self.group, self.prefix, self.since) if line.id not in self._seen]
        if lines:
            self._seen |= {line.id: line.at for line in lines}
            newest = max(self._seen.values())
            start = datetime.fromtimestamp(newest.timestamp() - LATE_SECONDS, UTC)
            self.since = max(start, self.since) if self.since else start
            self._seen = {key: at for key, at in self._seen.items() if at >= self.since}
        return sorted(lines, key=lambda line: line.at)  # the agent gives all lines of one look the same time: they stay as they came


LATE_SECONDS = 60
