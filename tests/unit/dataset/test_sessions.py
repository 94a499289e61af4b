"""Session logs: requests that repeat each other, and transcripts where a file is a conversation."""

# ruff: noqa: E501 - a row a line reads better than cut up

from pathlib import Path
from typing import Any

import orjson
import pytest

from llmlab.dataset import Format, find, read, to_example
from llmlab.dataset.check import check
from llmlab.dataset.clean import anew
from llmlab.dataset.origin import origin_of
from llmlab.dataset.report import DatasetReport

Row = dict[str, Any]


def write(path: Path, rows: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def rewritten(path: Path, report: DatasetReport, index: int = 0) -> list[Row]:
    """The rows of a file as an upload writes them."""
    target = path.with_name("rewritten.jsonl.gz")
    anew(path, target, path.name, index, report.verdicts)
    rows = [line.row for line in read(target) if line.row is not None]
    again = path.with_name("again.jsonl.gz")
    anew(path, again, path.name, index, report.verdicts)
    assert again.read_bytes() == target.read_bytes(), "so that the next upload finds it unchanged"
    target.unlink()
    again.unlink()
    return rows


def user(text: str) -> Row:
    return {"role": "user", "content": text}


def said(text: str) -> Row:
    return {"role": "assistant", "content": text}


# ---------------------------------------------------------------- requests that repeat each other


def anthropic(messages: list[Row], answer: str, **more: Any) -> Row:
    return {
        "request": {"system": "s", "messages": messages},
        "response": {"content": [{"type": "text", "text": answer}], "stop_reason": "end_turn", **more},
    }


def openai(messages: list[Row], answer: str, **more: Any) -> Row:
    return {
        "request": {"messages": [{"role": "system", "content": "s"}, *messages]},
        "response": {"choices": [{"message": said(answer), "finish_reason": "stop", **more}]},
    }


def responses(messages: list[Row], answer: str, **more: Any) -> Row:
    output = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": answer}]}]
    return {"request": {"instructions": "s", "input": messages}, "response": {"output": output, **more}}


TURNS = [user("a"), said("1"), user("b"), said("2"), user("c")]


@pytest.mark.parametrize("log", [anthropic, openai, responses])
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 0, 1, 2, 2]])
def test_of_requests_that_repeat_each_other_the_longest_is_kept(tmp_path: Path, log: Any, order: list[int]) -> None:
    requests = [log(TURNS[:1], "1"), log(TURNS[:3], "2"), log(TURNS, "3")]
    path = write(tmp_path / "log.jsonl", [requests[at] for at in order])
    report = check(find(path), processes=1)
    assert (report.examples, report.bad) == (1, 0)
    assert report.skipped == {"repeated requests": len(order) - 1}
    assert report.answers_added == 2
    (row,) = rewritten(path, report)
    example = to_example(row)
    assert [example.messages[at]["content"] for at in example.trained] == ["1", "2", "3"]
    assert origin_of(row) == f"log.jsonl:{order.index(2) + 1}"
    alone = check(find(write(tmp_path / "alone" / "rows.jsonl", [row])), processes=1)
    assert (alone.tokens, alone.trained_tokens) == (report.tokens, report.trained_tokens), "what is told is what is trained"


def test_an_answer_without_a_row_of_its_own_carries_no_loss(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", [anthropic(TURNS[:1], "1"), anthropic(TURNS, "3")])
    report = check(find(path), processes=1)
    (row,) = rewritten(path, report)
    example = to_example(row)
    assert [example.messages[at]["content"] for at in example.trained] == ["1", "3"]
    assert report.answers_added == 1


@pytest.mark.parametrize(
    "others",
    [
        [anthropic([user("x")], "1")],
        [anthropic(TURNS[:1], "other")],
        [{**anthropic(TURNS[:1], "1"), "request": {"system": "another", "messages": TURNS[:1]}}],
        [anthropic(TURNS[:1], "1") | {"response": {"content": [{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "1"}]}}],
        [{"request": {"system": "s", "messages": TURNS[:1], "tools": [{"name": "f"}]}, "response": {"content": "1"}}],
    ],
)
def test_requests_that_say_something_else_are_kept(tmp_path: Path, others: list[Row]) -> None:
    report = check(find(write(tmp_path / "log.jsonl", [*others, anthropic(TURNS[:3], "2")])), processes=1)
    assert (report.examples, report.skipped, report.answers_added) == (2, {}, 0)
    assert not report.verdicts.files, "nothing is written anew that need not be"


def test_repeats_are_found_over_files_but_not_over_parts_of_a_dataset(tmp_path: Path) -> None:
    write(tmp_path / "data" / "a.jsonl", [anthropic(TURNS[:1], "1")])
    write(tmp_path / "data" / "b.jsonl", [anthropic(TURNS[:3], "2")])
    report = check(find(tmp_path / "data"), processes=1)
    assert (report.examples, report.skipped, report.verdicts.files) == (1, {"repeated requests": 1}, {0, 1})
    (tmp_path / "data" / "a.jsonl").rename(tmp_path / "data" / "test.jsonl")
    report = check(find(tmp_path / "data"), processes=1)
    assert (report.examples, report.skipped) == (1, {})
    assert report.splits == {"train": 1, "test": 1}


def test_a_cut_answer_stays_cut_in_the_request_that_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "log.jsonl", [anthropic(TURNS[:1], "1", stop_reason="max_tokens"), anthropic(TURNS[:3], "2")])
    report = check(find(path), processes=1)
    (row,) = rewritten(path, report)
    example = to_example(row)
    assert [message.get("cut", False) for message in example.messages] == [False, False, True, False, False]
    assert example.trained == [2, 4]


def test_failed_requests_are_counted_with_their_places(tmp_path: Path) -> None:
    failed = {"request": {"messages": TURNS[:1]}, "response": {"type": "error", "error": {"message": "Overloaded"}}}
    report = check(find(write(tmp_path / "log.jsonl", [anthropic(TURNS[:1], "1"), failed, failed])), processes=1)
    assert (report.examples, report.bad, report.skipped) == (1, 0, {"failed requests": 2})
    assert [problem.place for problem in report.skipped_places] == ["log.jsonl:2", "log.jsonl:3"]
    assert report.good


def test_the_same_is_found_by_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts two processes, which takes a second."""
    from llmlab.dataset import check as module

    monkeypatch.setattr(module, "PART", 400)
    write(tmp_path / "a.jsonl", [anthropic(TURNS[:1], "1"), anthropic(TURNS[:3], "2"), anthropic(TURNS, "3")] * 4)
    one, two = (check(find(tmp_path), processes=count) for count in (1, 2))
    assert one == two
    assert one.verdicts == two.verdicts
    assert one.skipped == {"repeated requests": 11}


# ---------------------------------------------------------------- Claude Code


class Claude:
    """A transcript in the making."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def add(self, kind: str, content: object, **more: Any) -> "Claude":
        number = len(self.rows)
        message = {"role": kind, "content": content, **({"id": f"m{number}"} if kind == "assistant" else {}), **more.pop("message", {})}
        parent = f"u{number - 1}" if number else None
        self.rows.append(
            {"type": kind, "sessionId": "s", "uuid": f"u{number}", "parentUuid": parent, "isSidechain": False, "message": message} | more
        )
        return self

    def line(self, **row: Any) -> "Claude":
        self.rows.append(row)
        return self


def call(identity: str = "t1") -> list[Row]:
    return [{"type": "tool_use", "id": identity, "name": "Bash", "input": {"command": "ls"}}]


def result(identity: str = "t1", content: object = "a.txt") -> list[Row]:
    return [{"type": "tool_result", "tool_use_id": identity, "content": content}]


def rows_of(tmp_path: Path, rows: list[Row]) -> list[list[tuple[str, str, bool]]]:
    """Who says what and whether it carries loss, of each conversation."""
    made = [line.row for line in read(write(tmp_path / "session.jsonl", rows)) if line.row is not None]
    return [
        [(one["role"], one["content"], at in example.trained) for at, one in enumerate(example.messages)]
        for example in map(to_example, made)
    ]


def test_a_transcript_is_one_conversation(tmp_path: Path) -> None:
    claude = Claude().line(type="summary", summary="x", leafUuid="u9").add("user", "List the files").add("assistant", call())
    claude.add("user", result()).add("assistant", [{"type": "text", "text": "One: a.txt"}]).line(type="file-history-snapshot", snapshot={})
    path = write(tmp_path / "session.jsonl", claude.rows)
    report = check(find(path), processes=1)
    assert (report.formats, report.bad, report.unread) == ({"claude-code": 1}, 0, {})
    (row,) = rewritten(path, report)
    assert [(one["role"], one["content"]) for one in row["messages"]] == [
        ("user", "List the files"), ("assistant", ""), ("tool", "a.txt"), ("assistant", "One: a.txt"),
    ]  # fmt: skip
    assert row["messages"][1]["tool_calls"][0]["function"] == {"name": "Bash", "arguments": {"command": "ls"}}
    assert origin_of(row) == "session.jsonl:2"
    assert to_example(row).trained == [1, 3]


def test_pieces_of_one_answer_are_one_message(tmp_path: Path) -> None:
    claude = Claude().add("user", "go")
    claude.add("assistant", [{"type": "thinking", "thinking": "hm"}], message={"id": "m"}).add(
        "assistant", [{"type": "text", "text": "Look."}], message={"id": "m"}
    )
    claude.add("assistant", call("t1"), message={"id": "m"}).add("user", result("t1")).add("assistant", call("t2"), message={"id": "m"})
    claude.add("user", result("t2"), parentUuid="u3").add("assistant", "Done.")
    (line,) = read(write(tmp_path / "session.jsonl", claude.rows))
    assert line.row
    messages = line.row["messages"]
    assert [one["role"] for one in messages] == ["user", "assistant", "tool", "tool", "assistant"]
    assert (messages[1]["content"], messages[1]["reasoning_content"], len(messages[1]["tool_calls"])) == ("Look.", "hm", 2)


def test_what_the_user_took_back_is_a_conversation_of_its_own(tmp_path: Path) -> None:
    claude = (
        Claude()
        .add("user", "a")
        .add("assistant", "1")
        .add("user", "b")
        .add("assistant", "2")
        .add("user", "c", parentUuid="u1")
        .add("assistant", "3")
    )
    assert rows_of(tmp_path, claude.rows) == [
        [("user", "a", False), ("assistant", "1", True), ("user", "b", False), ("assistant", "2", True)],
        [("user", "a", False), ("assistant", "1", False), ("user", "c", False), ("assistant", "3", True)],
    ]


def test_subagents_and_new_beginnings_are_conversations_of_their_own(tmp_path: Path) -> None:
    claude = Claude().add("user", "a").add("assistant", "1")
    claude.add("user", "sub", isSidechain=True, parentUuid=None, agentId="x").add("assistant", "sub 1", isSidechain=True, agentId="x")
    claude.add("user", "other", isSidechain=True, parentUuid=None).add("assistant", "other 1", isSidechain=True)
    claude.add("user", "b", parentUuid="u1").add("assistant", "2")
    claude.line(type="system", subtype="compact_boundary", uuid="k", parentUuid=None, sessionId="s")
    claude.add("user", "summary", parentUuid="k", isCompactSummary=True).add("assistant", "3")
    found = rows_of(tmp_path, claude.rows)
    assert sorted(one[0][1] for one in found) == ["a", "other", "sub", "summary"]
    main = next(one for one in found if one[0][1] == "a")
    assert [text for _, text, _ in main] == ["a", "1", "b", "2"]


def test_what_is_the_programs_own_is_no_message(tmp_path: Path) -> None:
    claude = Claude().add("user", "a").add("assistant", [{"type": "text", "text": "API Error: 529"}], isApiErrorMessage=True)
    claude.add("assistant", "No response requested.", message={"model": "<synthetic>"}).add("user", "shown", isVisibleInTranscriptOnly=True)
    claude.line(type="attachment", uuid="x", parentUuid="u0").add("user", "again").add(
        "assistant", "1", message={"stop_reason": "max_tokens"}
    )
    report = check(find(write(tmp_path / "session.jsonl", claude.rows)), processes=1)
    assert (report.examples, report.skipped, report.cut) == (1, {"failed requests": 1}, 1)
    assert rows_of(tmp_path, claude.rows) == [[("user", "a\nagain", False), ("assistant", "1", True)]]


def test_a_picture_ends_its_conversation_and_is_told(tmp_path: Path) -> None:
    claude = Claude().add("user", "a").add("assistant", "1").add("user", [{"type": "image", "source": {}}]).add("assistant", "2")
    report = check(find(write(tmp_path / "session.jsonl", claude.rows)), processes=1)
    assert (report.examples, report.bad) == (1, 1)
    (problem,) = report.problems
    assert problem.place == "session.jsonl:3"
    assert problem.reason.startswith("message.content[0] is of type image, and only text can be trained on; what follows")


@pytest.mark.parametrize(
    "rows",
    [
        [{"type": "summary", "summary": "x", "leafUuid": "u"}],
        Claude().add("user", "hello?").rows,
        [{"type": "file-history-snapshot", "snapshot": {}, "messageId": "m"}, *Claude().add("user", "x").rows],
        [{"type": "session_meta", "payload": {"id": "s"}}],
        [{"type": "response_item", "payload": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}}],
    ],
)
def test_a_transcript_without_an_answer_is_counted(tmp_path: Path, rows: list[Row]) -> None:
    report = check(find(write(tmp_path / "session.jsonl", rows)), processes=1)
    assert (report.examples, report.bad, report.skipped) == (0, 0, {"conversations without an answer": 1})


def test_a_session_that_was_resumed_is_trained_once(tmp_path: Path) -> None:
    first = Claude().add("user", "a").add("assistant", "1")
    write(tmp_path / "a.jsonl", first.rows)
    write(tmp_path / "b.jsonl", first.add("user", "b").add("assistant", "2").rows)
    report = check(find(tmp_path), processes=1)
    assert (report.examples, report.skipped) == (1, {"repeated requests": 1})


def test_bad_lines_and_unknown_ones_of_a_transcript_are_told(tmp_path: Path) -> None:
    path = write(
        tmp_path / "session.jsonl", Claude().add("user", "a").add("assistant", "1").line(type="novelty", uuid="n", sessionId="s").rows
    )
    path.write_bytes(path.read_bytes() + b"{oops\n")
    report = check(find(path), processes=1)
    assert [problem.place for problem in report.problems] == ["session.jsonl:4"]
    assert report.unread == {"lines of type novelty": 1}


# ---------------------------------------------------------------- Codex


def item(**payload: Any) -> Row:
    return {"timestamp": "t", "type": "response_item", "payload": payload}


def spoken(role: str, text: str) -> Row:
    return item(type="message", role=role, content=[{"type": "output_text" if role == "assistant" else "input_text", "text": text}])


CODEX = [
    {"timestamp": "t", "type": "session_meta", "payload": {"id": "s", "cwd": "/w", "base_instructions": {"text": "Be brief."}}},
    spoken("developer", "Rules."),
    spoken("user", "List the files"),
    {"timestamp": "t", "type": "turn_context", "payload": {"model": "m"}},
    {"timestamp": "t", "type": "event_msg", "payload": {"type": "user_message", "message": "List the files"}},
    item(type="reasoning", summary=[{"type": "summary_text", "text": "I list."}], encrypted_content="x"),
    item(type="function_call", name="shell", arguments='{"command": ["ls"]}', call_id="c1"),
    item(type="function_call_output", call_id="c1", output={"content": "a.txt", "success": True}),
    item(type="custom_tool_call", name="apply_patch", input="*** Begin", call_id="c2"),
    item(type="custom_tool_call_output", call_id="c2", output="ok"),
    spoken("assistant", "One: a.txt"),
]


def test_codex(tmp_path: Path) -> None:
    path = write(tmp_path / "rollout.jsonl", CODEX)
    report = check(find(path), processes=1)
    assert (report.formats, report.bad, report.unread) == ({"codex": 1}, 0, {})
    (row,) = rewritten(path, report)
    assert [(one["role"], one["content"]) for one in row["messages"]] == [
        ("system", "Be brief.\n\nRules."), ("user", "List the files"), ("assistant", ""), ("tool", "a.txt"), ("assistant", ""), ("tool", "ok"),
        ("assistant", "One: a.txt"),
    ]  # fmt: skip
    assert row["messages"][2]["reasoning_content"] == "I list."
    assert row["messages"][2]["tool_calls"][0]["function"] == {"name": "shell", "arguments": {"command": ["ls"]}}
    assert to_example(row).trained == [2, 4, 6]
    assert origin_of(row) == "rollout.jsonl:1"


def test_codex_in_its_earlier_form(tmp_path: Path) -> None:
    rows = [
        {"id": "s", "timestamp": "t", "instructions": "Be brief.", "git": {}},
        *(row["payload"] for row in CODEX if row["type"] == "response_item"),
    ]
    assert len(rows_of(tmp_path, rows)[0]) == 7


def test_a_compacted_history_begins_another_conversation(tmp_path: Path) -> None:
    rows = [
        spoken("user", "a"),
        spoken("assistant", "1"),
        {"type": "compacted", "payload": {"message": "They said a and 1."}},
        spoken("user", "b"),
        spoken("assistant", "2"),
    ]
    assert rows_of(tmp_path, rows) == [
        [("user", "a", False), ("assistant", "1", True)],
        [("user", "They said a and 1.", False), ("user", "b", False), ("assistant", "2", True)],
    ]
    rows[2]["payload"]["replacement_history"] = [row["payload"] for row in (spoken("user", "a"), spoken("assistant", "short"))]
    assert rows_of(tmp_path, rows)[1] == [
        ("user", "a", False),
        ("assistant", "short", False),
        ("user", "b", False),
        ("assistant", "2", True),
    ]


def test_turns_that_codex_took_back(tmp_path: Path) -> None:
    rows = [spoken("user", "a"), spoken("assistant", "1"), spoken("user", "b"), spoken("assistant", "2")]
    rows += [
        {"type": "event_msg", "payload": {"type": "thread_rolled_back", "num_turns": 1}},
        spoken("user", "c"),
        spoken("assistant", "3"),
    ]
    assert rows_of(tmp_path, rows)[1] == [("user", "a", False), ("assistant", "1", False), ("user", "c", False), ("assistant", "3", True)]


def test_a_picture_in_codex(tmp_path: Path) -> None:
    rows = [
        spoken("user", "a"),
        spoken("assistant", "1"),
        item(type="message", role="user", content=[{"type": "input_image", "image_url": "x"}]),
        spoken("assistant", "2"),
    ]
    report = check(find(write(tmp_path / "rollout.jsonl", rows)), processes=1)
    assert (report.examples, [problem.place for problem in report.problems]) == (1, ["rollout.jsonl:3"])


def test_rows_that_only_look_like_transcripts_are_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"type": "user", "text": "a"}, {"type": "assistant", "prompt": "a", "completion": "b"}])
    assert check(find(path), processes=1).formats == {Format.TEXT: 1, Format.PROMPT_COMPLETION: 1}
