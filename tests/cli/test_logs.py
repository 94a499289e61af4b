"""`logs`: the lines a reader wants, in the order in which they were written."""

import json

from llmlab.aws.session import Aws
from llmlab.contract import EndReason, LogStream, RunKeys, log_stream_name

from .conftest import CommandLine
from .test_status import finish, launch, log

STEPS = [f"step {number}/200, loss 1.5" for number in range(60)]
SETUP = (
    "2026-11-24T00:00:00Z switches off in 3598 s at the latest", "Running timer as unit: llmlab-deadline.timer", "1.41",
    "2026-11-24T00:00:01Z identity: 0 s", "2026-11-24T00:00:02Z cloud-init: done", "2026-11-24T00:00:03Z failed: image: no space",
)  # fmt: skip


def at_once(ready: CommandLine, aws: Aws, run: str, stream: LogStream, lines: list[str]) -> None:
    """Lines that CloudWatch's agent has read in one look, so that all have its time."""
    client, group, name = aws.client("logs"), aws.names.log_group(stream), log_stream_name(run, 1)
    client.create_log_stream(logGroupName=group, logStreamName=name)
    at = int(ready.clock.now().timestamp() * 1000)
    client.put_log_events(logGroupName=group, logStreamName=name, logEvents=[{"timestamp": at, "message": line} for line in lines])


def texts(out: str) -> list[str]:
    return [line.split(" ", 1)[1].removeprefix("training ") for line in out.splitlines()]


def test_lines_of_one_moment_stay_as_they_were_written(ready: CommandLine, lab_aws: Aws) -> None:
    run, _ = launch(ready)
    at_once(ready, lab_aws, run, LogStream.TRAINING, STEPS)
    assert texts(ready("logs", run).out) == STEPS
    finish(ready, lab_aws, run, EndReason.COMPLETED)
    followed = ready("logs", run, "-f", "-n", "60")
    assert texts(followed.out) == STEPS
    assert followed.out.startswith(f"{ready.clock.now():%Y-%m-%dT}")


def test_the_last_lines_alone(ready: CommandLine, lab_aws: Aws) -> None:
    run, _ = launch(ready)
    at_once(ready, lab_aws, run, LogStream.TRAINING, STEPS)
    assert texts(ready("logs", run, "-n", "3").out) == STEPS[-3:]
    assert ready("logs", run, "--tail", "0").out == ""
    assert len(ready("logs", run, "--tail", "2", "--json").json) == 2
    assert ready("logs", run, "-n", "-1").code == 2
    finish(ready, lab_aws, run, EndReason.COMPLETED)
    assert texts(ready("logs", run, "-f").out) == STEPS[-20:]
    assert len(ready("logs", run, "-f", "--since", "1h").out.splitlines()) == len(STEPS)


def test_a_terminal_gets_a_screen_of_it_and_a_file_all(ready: CommandLine, lab_aws: Aws) -> None:
    run, _ = launch(ready)
    at_once(ready, lab_aws, run, LogStream.TRAINING, STEPS)
    shown = ready("logs", run, shown=True)
    assert texts(shown.out) == STEPS[-20:]
    assert shown.err == f"40 earlier lines; with them: llmlab logs {run} --all\n"
    for more in (("--all",), ("-n", "60"), ("--since", "1h"), ("--stream", "training")):
        assert len(ready("logs", run, *more, shown=True).out.splitlines()) == len(STEPS), more
    assert texts(ready("logs", run).out) == STEPS


def test_following_as_json_gives_a_document_a_line(ready: CommandLine, lab_aws: Aws) -> None:
    run, _ = launch(ready)
    log(ready, lab_aws, run, LogStream.TRAINING, *STEPS[:3], "\x1b[31mred")
    finish(ready, lab_aws, run, EndReason.COMPLETED)
    result = ready("logs", run, "-f", "--json")
    assert "\x1b" not in result.out
    lines = [json.loads(line) for line in result.out.splitlines()]
    assert [one["text"] for one in lines] == [*STEPS[:3], "\x1b[31mred"]
    assert {(one["stream"], one["attempt"]) for one in lines} == {("training", 1)}


def test_what_a_machine_says_while_it_starts_is_out_of_the_way(ready: CommandLine, lab_aws: Aws) -> None:
    run, _ = launch(ready)
    log(ready, lab_aws, run, LogStream.SETUP, *SETUP)
    (line,) = ready("logs", run).out.splitlines()
    assert line == "2026-11-24T00:00:03Z setup    failed: image: no space"
    for options in (("--all",), ("--stream", "setup")):
        lines = ready("logs", run, *options).out.splitlines()
        assert len(lines) == len(SETUP)
        stamps = [one.partition(" ")[0] for one in lines]
        assert stamps == sorted(stamps), "what a program says has the time of the line before it"
        assert lines[2].startswith("2026-11-24T00:00:00Z ")


def test_a_quiet_log_says_so(ready: CommandLine, lab_aws: Aws) -> None:
    run, _ = launch(ready)
    log(ready, lab_aws, run, LogStream.SETUP, *SETUP[:2])
    result = ready("logs", run)
    assert (result.code, result.out) == (0, "")
    assert result.err == f"every line of {run} is about its machine: see --all\n"
    ready.clock.sleep(3600)
    late = ready("logs", run, "--since", "1m", "--stream", "agent")
    assert (late.code, late.out, late.err) == (0, "", f"no line of {run} is newer than 1m\n")


def test_times_of_an_archive_are_its_own(ready: CommandLine, lab_aws: Aws) -> None:
    run, _ = launch(ready)
    body = b"2026-11-24T00:00:05Z later\n2026-11-24T00:00:01Z a clock that was set back\nwithout\n"
    lab_aws.s3.put_object(Bucket=lab_aws.names.outputs_bucket, Key=RunKeys(run).log(LogStream.AGENT, 1), Body=body)
    assert texts(ready("logs", run, "--stream", "agent").out) == ["later", "a clock that was set back", "without"]
