"""Six forms of data as people have them, from `validate` to SUCCESS, and of each the text that was trained with what carried loss in it.

What is looked at are the tokens that the trainer wrote on its machine. The shapes are those of the programs themselves, whose addresses
stand beside each form in `llmlab.dataset.forms_shown`, and are told by `llmlab validate --forms`.
"""

# ruff: noqa: E501 - a row or a turn a line reads better than cut up

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from transformers import AutoTokenizer

from llmlab import contract
from llmlab.contract import EndReason, RunKeys, Spec, WorkFolder
from llmlab.trainer.data.token_dataset import Tokens
from tests.sandbox.whole_runs import Lab

pytestmark = [pytest.mark.slow, pytest.mark.hours]  # six machines side by side, each of which imports torch

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A form's file, and what is to be trained of it: each text with what carries loss between « and »."""

    file: str
    write: Callable[[Path], object]
    facts: Row
    trained: tuple[str, ...]
    settings: tuple[str, ...] = ()
    skipped: Row = field(default_factory=dict)
    anew: bool = False
    """Whether its rows are written anew by an upload, each with its origin."""


def lines(rows: list[Row]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


# ---------------------------------------------------------------- transcripts


def claude(kind: str, number: int, message: Row | None = None, **more: Any) -> Row:
    """A line of Claude Code's, with what it writes beside the message."""
    parent = {"parentUuid": f"u{number - 1}" if number else None, "isSidechain": False, "userType": "external", "cwd": "/home/me/app"}
    around = {
        "sessionId": "0c7b",
        "version": "2.0.14",
        "gitBranch": "main",
        "uuid": f"u{number}",
        "timestamp": f"2026-05-01T10:00:0{number}.000Z",
    }
    return {**parent, **around, "type": kind, **({"message": message} if message else {}), **more}


def assistant(identity: str, part: Row, stop: str | None) -> Row:
    usage = {"input_tokens": 4, "cache_read_input_tokens": 11, "output_tokens": 2}
    return {
        "id": identity,
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [part],
        "stop_reason": stop,
        "usage": usage,
    }


CLAUDE_CODE = [
    {"type": "file-history-snapshot", "messageId": "u0", "snapshot": {"trackedFileBackups": {}}, "isSnapshotUpdate": False},
    claude("user", 0, {"role": "user", "content": "Which files are there?"}),
    claude("assistant", 1, assistant("m1", {"type": "thinking", "thinking": "I list them.", "signature": "c2ln"}, None), requestId="r1"),
    claude("assistant", 2, assistant("m1", {"type": "text", "text": "I look."}, None), requestId="r1"),
    claude(
        "assistant",
        3,
        assistant("m1", {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}, "tool_use"),
        requestId="r1",
    ),
    claude(
        "user",
        4,
        {"role": "user", "content": [{"tool_use_id": "t1", "type": "tool_result", "content": "a.txt", "is_error": False}]},
        toolUseResult={"stdout": "a.txt"},
    ),
    claude("assistant", 5, assistant("m2", {"type": "text", "text": "One: a.txt"}, "end_turn"), requestId="r2"),
    claude("system", 6, subtype="turn_duration", durationMs=1200),
]


def codex(kind: str, **payload: Any) -> Row:
    return {"timestamp": "2026-05-01T10:00:00.000Z", "type": kind, "payload": payload}


CODEX = [
    codex(
        "session_meta",
        id="0199",
        cwd="/home/me/app",
        originator="codex_cli_rs",
        cli_version="0.44.0",
        instructions="Be brief.",
        git={"branch": "main"},
    ),
    codex("turn_context", cwd="/home/me/app", approval_policy="on-request", model="gpt-5-codex", effort="medium"),
    codex("response_item", type="message", role="user", content=[{"type": "input_text", "text": "Which files are there?"}]),
    codex("event_msg", type="user_message", message="Which files are there?"),
    codex(
        "response_item",
        type="reasoning",
        summary=[{"type": "summary_text", "text": "I list them."}],
        content=None,
        encrypted_content="gAAA",
    ),
    codex("response_item", type="function_call", name="shell", arguments='{"command":["ls"]}', call_id="c1"),
    codex("response_item", type="function_call_output", call_id="c1", output="a.txt"),
    codex("event_msg", type="token_count", info={"total_token_usage": {"input_tokens": 9}}),
    codex("response_item", type="message", role="assistant", content=[{"type": "output_text", "text": "One: a.txt"}]),
    codex("event_msg", type="agent_message", message="One: a.txt"),
]

# ---------------------------------------------------------------- logs of requests

TOOL = {"type": "function", "function": {"name": "sum", "description": "adds", "parameters": {"type": "object", "properties": {}}}}
TOOLS = '<|start|>tools\n[{"type": "function", "function": {"name": "sum", "description": "adds", "parameters": {"type": "object", "properties": {}}}}]<|end|>\n'
CALL = {"id": "c1", "type": "function", "function": {"name": "sum", "arguments": '{"terms": [2, 2]}'}}
ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}]
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL], "refusal": None}


def completion(message: Row, finish: str) -> Row:
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "usage": {"total_tokens": 3}, "choices": [
        {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}]}  # fmt: skip


OPENAI = [
    {"request": {"model": "m", "temperature": 0, "messages": ASKED, "tools": [TOOL]}, "response": completion(CALLED, "tool_calls")},
    {"request": {"model": "m", "temperature": 0, "messages": [*ASKED, CALLED, {"role": "tool", "tool_call_id": "c1", "content": "4"}], "tools": [TOOL]},
     "response": completion({"role": "assistant", "content": "Four."}, "stop")},
    {"request": {"model": "m", "messages": ASKED}, "response": {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}},
]  # fmt: skip
ANTHROPIC = [
    {"request": {"model": "m", "max_tokens": 64, "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
                 "tools": [{"name": "sum", "description": "adds", "input_schema": {"type": "object", "properties": {}}}],
                 "messages": [{"role": "user", "content": "2 + 2?"},
                              {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "sum", "input": {"terms": [2, 2]}}]},
                              {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "4"}]}]}]},
     "response": {"id": "x", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn", "stop_sequence": None, "usage": {"output_tokens": 2},
                  "content": [{"type": "thinking", "thinking": "It is four.", "signature": "c2ln"}, {"type": "text", "text": "Four."}]}},
    {"request": {"model": "m", "max_tokens": 2, "messages": [{"role": "user", "content": "Count."}]},
     "response": {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "One, two"}], "stop_reason": "max_tokens"}},
]  # fmt: skip

# ---------------------------------------------------------------- tables and arrays

SHAREGPT = [
    {"conversations": [{"from": "system", "value": "Be brief."}, {"from": "human", "value": "2 + 2?"}, {"from": "function_call", "value": '{"name": "sum", "arguments": {"terms": [2, 2]}}'},
                       {"from": "observation", "value": "4"}, {"from": "gpt", "value": "Four."}],
     "tools": '[{"name": "sum", "description": "adds", "parameters": {"type": "object", "properties": {}}}]'},
    {"conversations": [{"from": "human", "value": "Hello?"}, {"from": "gpt", "value": "Hello."}], "tools": None},
]  # fmt: skip
PREFERENCE = [
    {"conversations": [{"from": "human", "value": "2 + 2?"}], "chosen": {"from": "gpt", "value": "Four."}, "rejected": {"from": "gpt", "value": "Five."}},
    {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello."}, {"from": "human", "value": "3 + 3?"}],
     "chosen": {"from": "gpt", "value": "Six."}, "rejected": {"from": "gpt", "value": "Nine."}},
]  # fmt: skip


def parquet(path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet as tables

    tables.write_table(pa.Table.from_pylist(SHAREGPT), path)


SYSTEM, SUM = "<|start|>system\nBe brief.<|end|>\n", '<call>{"name": "sum", "arguments": {"terms": [2, 2]}}</call>'
LISTED = (
    "<|start|>user\nWhich files are there?<|end|>\n<|start|>assistant\n«{said}<|end|>»\n<|start|>tool\na.txt<|end|>\n"
    "<|start|>assistant\n«One: a.txt<|end|>»\n"
)
CASES = {
    "claude-code": Case(
        "projects/-home-me-app/0c7b.jsonl", lines(CLAUDE_CODE), {"claude-code": 1}, anew=True,
        trained=(LISTED.format(said='<think>I list them.</think>I look.<call>{"name": "Bash", "arguments": {"command": "ls"}}</call>'),),
    ),
    "codex": Case(
        "sessions/2026/05/01/rollout-0199.jsonl", lines(CODEX), {"codex": 1}, anew=True,
        trained=(SYSTEM + LISTED.format(said='<think>I list them.</think><call>{"name": "shell", "arguments": {"command": ["ls"]}}</call>'),),
    ),
    "openai-log": Case(
        "requests #1 'ünï' 日本.jsonl", lines(OPENAI), {"openai-log": 1}, anew=True, skipped={"failed requests": 1, "repeated requests": 1},
        trained=(f"{TOOLS}{SYSTEM}<|start|>user\n2 + 2?<|end|>\n<|start|>assistant\n«{SUM}<|end|>»\n<|start|>tool\n4<|end|>\n<|start|>assistant\n«Four.<|end|>»\n",),
    ),
    "anthropic-log": Case(
        "requests.jsonl", lines(ANTHROPIC), {"session": 2},
        trained=(
            f"{TOOLS}{SYSTEM}<|start|>user\n2 + 2?<|end|>\n<|start|>assistant\n{SUM}<|end|>\n<|start|>tool\n4<|end|>\n<|start|>assistant\n«<think>It is four.</think>Four.<|end|>»\n",
            "<|start|>user\nCount.<|end|>\n<|start|>assistant\n«One, two»<|end|>\n",
        ),
    ),
    "sharegpt": Case(
        "data/train-00000-of-00001.parquet", parquet, {"conversations": 2},
        trained=(
            f"{TOOLS}{SYSTEM}<|start|>user\n2 + 2?<|end|>\n<|start|>assistant\n«{SUM}<|end|>»\n<|start|>tool\n4<|end|>\n<|start|>assistant\n«Four.<|end|>»\n",
            "<|start|>user\nHello?<|end|>\n<|start|>assistant\n«Hello.<|end|>»\n",
        ),
    ),
    "preference": Case(
        "dpo en+demo 100%20.json", lambda path: path.write_bytes(orjson.dumps(PREFERENCE, option=orjson.OPT_INDENT_2)), {"preference": 2}, settings=("objective=dpo",),
        trained=tuple(
            f"{before}<|start|>user\n{asked}<|end|>\n<|start|>assistant\n«{said}<|end|>»\n"
            for before, asked, answers in (("", "2 + 2?", ("Four.", "Five.")), ("<|start|>user\nHi<|end|>\n<|start|>assistant\nHello.<|end|>\n", "3 + 3?", ("Six.", "Nine.")))
            for said in answers
        ),
    ),
}  # fmt: skip


def test_six_forms_from_validate_to_success(lab: Lab) -> None:
    assert len(CASES) == 6
    runs = {name: launched(lab, name, case) for name, case in CASES.items()}
    tokenizer = AutoTokenizer.from_pretrained("tiny")
    for name, run in runs.items():
        done = lab.marker(run)
        assert (done.reason, done.step) == (EndReason.COMPLETED, 2), f"{name}: {done.detail}"
        assert lab.losses(run)[2] > 0
        trained = sorted(shown(tokenizer, lab, run))
        assert trained == sorted(CASES[name].trained), name
    told = lab.run("status", runs["preference"], "--json").json["run"]
    assert (told["objective"], told["margin"]) == ("dpo", lab.metrics(runs["preference"])[-1]["margin"])


def launched(lab: Lab, name: str, case: Case) -> str:
    """Checked, sent and launched; the run's id."""
    folder = Path("forms", name)
    path = folder / case.file
    path.parent.mkdir(parents=True)
    case.write(path)
    told = lab.run("validate", folder, "--json").json
    assert (told["formats"], told["bad"], told["unread"], told["skipped"]) == (case.facts, 0, {}, case.skipped), name
    lab.run("upload", folder, "--name", name)
    before = set(lab.bucket.runs())
    settings = [word for one in ("max_steps=2", "batch_size=2", *case.settings) for word in ("--set", one)]
    lab.run("launch", "--yes", "--data", name, "--recipe", "sandbox", *settings, "--max-hours", "1")
    (run,) = set(lab.bucket.runs()) - before
    spec = lab.bucket.load(Spec, RunKeys(run).spec)
    assert spec is not None
    (sent,) = spec.data.files
    key = contract.dataset_prefix(name) + sent.path
    body = lab.aws.s3.get_object(Bucket=lab.aws.names.data_bucket, Key=key)["Body"].read()
    assert (body == path.read_bytes()) != case.anew, f"{name}: what needs not be written anew goes byte for byte"
    assert not case.anew or orjson.loads(body.splitlines()[0])["origin"]["file"] == case.file
    return run


def shown(tokenizer: Any, lab: Lab, run: str) -> list[str]:
    """The sequences that lie as tokens on the run's machine, with what carries loss between « and »."""
    (machine,) = {
        one["folder"] for one in lab.sandbox.state()["machines"] if one["instance"] in {its["InstanceId"] for its in lab.instances(run)}
    }
    (stored,) = {path.parent for path in Path(machine, "root").glob(f"**{WorkFolder('').cache}/*/train/mask.u8")}
    tokens = Tokens(stored, 1)
    texts = []
    for at in range(len(tokens.trained)):
        ids, mask = tokens.sequence(at)
        text, learning = "", False
        for identity, learned in zip(ids, mask, strict=True):
            text += ("«" if learned else "»") if bool(learned) != learning else ""
            text, learning = text + tokenizer.decode([identity]), bool(learned)
        texts.append(text + ("»" if learning else ""))
    return texts
