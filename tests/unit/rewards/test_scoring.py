"""Rewards by name and in a user's file: what they answer, what is refused of them, and what the process they run in is kept from."""

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from llmlab.errors import UsageError
from llmlab.rewards import files, landlock, seccomp
from llmlab.rewards.scoring import MOST_SCRATCH_FILES, Group, RewardFailed, RewardLimits, Scorer

LINUX = sys.platform.startswith("linux")
SECONDS = 60.0
"""Of whatever must end by itself: far more than it takes."""


def written(text: str) -> dict[str, Any]:
    return {"kind": "file", "name": "reward.py", "text": text}


def returning(expression: str) -> str:
    return f"def reward(completions, **columns):\n    return {expression}\n"


def score(reward: Mapping[str, Any], *completions: Any, answer: str = "4", seconds: float = SECONDS, **columns: Any) -> list[float]:
    with Scorer([reward], RewardLimits(seconds, 2)) as scorer:
        return scorer.score(Group("2 + 2?", completions, answer, columns, "train.jsonl:3"))[0]


def failure(text: str, completions: Sequence[Any] = ("4", "5"), seconds: float = SECONDS) -> str:
    with pytest.raises(RewardFailed) as stop:
        score(written(text), *completions, seconds=seconds)
    return str(stop.value)


LENGTHS = ["", "ab", "abcd", "a" * 8, "a" * 12, "a" * 16, "a" * 99]
SCHEMA = {"type": "object", "required": ["a"]}
LISTED: dict[str, tuple[dict[str, Any], list[str], list[float]]] = {
    "exact_match": ({"kind": "exact_match"}, [" 4\n", "44", "four"], [1, 0, 0]),
    "regex": ({"kind": "regex", "pattern": r"^\d+$"}, ["4", "17", "it is 4"], [1, 1, 0]),
    "json_schema": ({"kind": "json_schema", "schema": SCHEMA}, ['{"a": 1}', '{"b": 1}', "{", "[" * 9999], [1, 0, 0, 0]),
    "length": ({"kind": "length", "shortest": 4, "longest": 8}, LENGTHS, [0, 0.5, 1, 1, 0.5, 0, 0]),
    "any length": ({"kind": "length", "shortest": 0, "longest": None}, ["", "a" * 99], [1, 1]),
    "similarity": ({"kind": "similarity"}, ["4", "x4yz", ""], [1, 0.4, 0]),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name == "json_schema" else ()) for name in LISTED])
def test_a_reward_by_name(name: str) -> None:
    """`json_schema` is slow because its package takes a second to load."""
    reward, texts, expected = LISTED[name]
    messages = [[{"role": "assistant", "content": text}] for text in texts]
    with Scorer([reward], RewardLimits(SECONDS)) as scorer:
        for completions in (texts, messages):
            assert scorer.score(Group("2 + 2?", completions, "4", {}))[0] == pytest.approx(expected)


def test_a_pattern_without_an_end_is_stopped() -> None:
    with pytest.raises(RewardFailed, match=r"the reward regex did not end within 0\.3 seconds \(train\.jsonl:3\)"):
        score({"kind": "regex", "pattern": r"^(a|a)+$"}, "a" * 64 + "b", seconds=0.3)


@pytest.mark.slow  # the package takes a second to load
def test_a_schema_that_is_none_is_told_when_it_is_loaded() -> None:
    with pytest.raises(RewardFailed, match=r"^the rewards cannot be loaded: SchemaError"):
        score({"kind": "json_schema", "schema": {"type": "thing"}}, "{}")


def test_a_file_is_called_as_trl_calls_a_reward_function() -> None:
    text = (
        "def helper(x): return x\n"
        "def reward(prompts, completions, answer, level, **others):\n"
        "    assert prompts == ['2 + 2?'] * 2 and answer == ['4'] * 2 and level == ['easy'] * 2 and others == {'id': [7, 7]}\n"
        "    return [float(helper(c) == a) for c, a in zip(completions, answer)]\n"
    )
    assert score(written(text), "4", "5", level="easy", id=7) == [1, 0]
    assert score(written("def score(completions):\n    return [len(c) for c in completions]"), "abc", level="easy") == [3]
    assert score(written("import numpy\n" + returning("numpy.ones(2) / 2")), "4", "5") == [0.5, 0.5]


def test_several_rewards_are_asked_in_one_process() -> None:
    with Scorer([{"kind": "exact_match"}, written(returning("[0.25] * len(completions)"))]) as scorer:
        for _ in range(3):
            assert scorer.score(Group("?", ["a", "b"], "a", {})) == [[1, 0], [0.25, 0.25]]
        assert [scorer.name(at) for at in (0, 1)] == ["exact_match", "reward.py"]


WRONG = {
    "[1.0]": "returned 1 number for 2 completions",
    "[]": "returned 0 numbers for 2 completions",
    "1.0": "returned float instead of a list of numbers",
    "'12'": "returned str '12' instead of a list of numbers",
    "{}": "returned dict instead of a list of numbers",
    "None": "returned None instead of a list of numbers",
    "(x for x in completions)": "returned generator instead of a list of numbers",
    "[1.0, float('nan')]": "returned nan for completion 2, which is no finite number",
    "[float('inf'), 1.0]": "returned inf for completion 1, which is no finite number",
    "[True, False]": "returned True for completion 1, which is no finite number",
    "[1.0, '1']": "returned str '1' for completion 2, which is no finite number",
    "[1.0, None]": "returned None for completion 2, which is no finite number",
    "[10 ** 400, 1]": "for completion 1, which is no finite number",
    "[[1.0], [2.0]]": "returned list for completion 1, which is no finite number",
}


@pytest.mark.parametrize("expression", WRONG)
def test_what_is_no_number_for_each_completion_is_told_with_the_row(expression: str) -> None:
    words = failure(returning(expression))
    assert words.startswith("the reward reward.py ")
    assert WRONG[expression] in words
    assert words.endswith("(train.jsonl:3)")


BROKEN = {
    "def reward(:": "cannot be loaded: SyntaxError: invalid syntax in line 1",
    "import nothing_of_this_name\n": "cannot be loaded: ModuleNotFoundError: No module named 'nothing_of_this_name' in line 1",
    "x = 1": "has no function",
    "def a(): pass\ndef b(): pass": "has 2 functions, none of which is called reward",
    "async def reward(completions): return [1.0]": "returns no list but something to wait for",
    "raise SystemExit(3)": "ended itself: SystemExit: 3 in line 1",
    "while True: pass": "did not end within",
}


@pytest.mark.slow  # a process for each row of the table
@pytest.mark.parametrize("text", BROKEN)
def test_a_file_that_cannot_be_loaded(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmlab.rewards.scoring.START_SECONDS", 0.5 if "while" in text else SECONDS)
    assert BROKEN[text] in failure(text)


def code(body: str, before: str = "") -> str:
    return f"{before}\ndef reward(completions, **columns):\n    {body}\n    return [1.0] * len(completions)\n"


FORGES = "for number in range(3, 40):\n        try: os.write(number, b'{\"rewards\": [[9, 9]]}\\n')\n        except OSError: pass"
ODD = "class Odd(Exception):\n        def __str__(self): 1 / 0\n    raise Odd"
THREADS = "while True: threading.Thread(target=time.sleep, args=(99,), daemon=True).start()"
ENDS = {
    "raises": (code("raise ValueError('no  such\\nlevel')"), "raised an error: ValueError: no such level in line 3"),
    "raises without words": (code(ODD), "raised an error: Odd in line"),
    "leaves": (code("sys.exit(3)", "import sys"), "ended itself: SystemExit: 3 in line 3"),
    "leaves at once": (code("os._exit(3)", "import os"), "ended its own process with exit code 3"),
    "aborts": (code("os.abort()", "import os"), "was ended by SIGABRT"),
    "takes memory": (code("x = [bytearray(1 << 28) for _ in range(99)]"), "needs more than 2 GiB of memory"),
    "recurses": (code("reward(completions)"), "raised an error: RecursionError"),
    "answers too much": (code("return ['x' * 70 for _ in range(1 << 14)]"), "answered more than can be read"),
    "answers for itself": (
        code(FORGES, "import os"),
        "answered what is no list of rewards",
    ),
    "fills its folder": (
        code(f"for number in range({2 * MOST_SCRATCH_FILES}): open(str(number), 'w').close()"), "wrote more than 10,000 files or 256 MiB"),
}  # fmt: skip


@pytest.mark.slow  # a process for each row of the table, some of which fill memory or a folder
@pytest.mark.parametrize("what", ENDS)
def test_a_file_that_goes_wrong_is_ended_and_told_with_the_row(what: str) -> None:
    text, words = ENDS[what]
    told = failure(text)
    assert words in told
    assert told.endswith("(train.jsonl:3)")


def test_the_tables_are_whole() -> None:
    assert (len(LISTED), len(WRONG), len(BROKEN), len(ENDS), len(HOSTILE)) == (6, 14, 7, 10, 18)


def test_an_error_in_a_file_is_told_with_the_row_and_the_line() -> None:
    assert (
        failure(code("raise ValueError('no level')"))
        == "the reward reward.py raised an error: ValueError: no level in line 3 (train.jsonl:3)"
    )


def test_a_loop_is_ended() -> None:
    assert failure(code("while True: pass"), seconds=0.3) == "the reward reward.py did not end within 0.3 seconds (train.jsonl:3)"


def test_of_several_rewards_all_are_named_where_one_of_them_does_not_end() -> None:
    with (
        Scorer([{"kind": "exact_match"}, written(code("while True: pass"))], RewardLimits(0.3)) as scorer,
        pytest.raises(RewardFailed) as stop,
    ):
        scorer.score(Group("?", ["!"], "!", {}, "train.jsonl:3"))
    assert str(stop.value) == "the rewards exact_match and reward.py did not end within 0.3 seconds (train.jsonl:3)"


def test_who_does_not_read_is_ended() -> None:
    """What is asked is more than a pipe holds, and somebody else's thread reads it, or nobody does."""
    before = "import os, signal, threading\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})"
    assert "did not end within" in failure(code("while True: pass", before), ["x" * (1 << 20)], seconds=0.3)


HOSTILE = {
    "forks": ("os.fork()", "Operation not permitted"),
    "forks without an end": ("while True: os.fork()", "Operation not permitted"),
    "starts a program": ("subprocess.run(['id'])", "Operation not permitted"),
    "starts a process": ("multiprocessing.get_context('spawn').Process(target=print).start()", "Operation not permitted"),
    "becomes a program": ("os.execv('/bin/sh', ['sh'])", "Operation not permitted"),
    "starts threads without an end": (THREADS, "can't start new thread"),
    "connects": ("socket.create_connection(('127.0.0.1', columns['port'][0]))", "Operation not permitted"),
    "sends a datagram": ("socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", "Operation not permitted"),
    "opens a socket of the machine": ("socket.socket(socket.AF_UNIX)", "Operation not permitted"),
    "ends who asks": ("os.kill(os.getppid(), 9)", "Operation not permitted"),
    "writes elsewhere": ("open(columns['folder'][0] + '/new', 'w')", "Permission denied"),
    "changes what is there": ("open(columns['folder'][0] + '/secret', 'a')", "Permission denied"),
    "deletes": ("os.remove(columns['folder'][0] + '/secret')", "Permission denied"),
    "reads elsewhere": ("open(columns['folder'][0] + '/secret').read()", "Permission denied"),
    "reads by a link": ("os.symlink(columns['folder'][0] + '/secret', 'link'); open('link').read()", "Permission denied"),
    "lists": ("os.listdir(columns['folder'][0])", "Permission denied"),
    "reads another's variables": ("open(f'/proc/{os.getppid()}/environ', 'rb').read()", "Permission denied"),
    "takes limits back": ("resource.setrlimit(resource.RLIMIT_AS, (-1, -1)); bytearray(3 << 30)", ""),
}  # fmt: skip
BEFORE = "import multiprocessing, os, resource, socket, subprocess, threading, time"


@pytest.mark.skipif(not LINUX, reason="Landlock and filters of system calls are Linux's")
def test_a_hostile_file_is_held(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        columns = {"folder": str(tmp_path), "port": server.getsockname()[1]}
        for what, (body, reason) in HOSTILE.items():
            with pytest.raises(RewardFailed) as stop:
                score(written(code(body, BEFORE)), "4", **columns)
            assert reason in str(stop.value), what
        assert "cannot be loaded: PermissionError: [Errno 1] Operation not permitted" in failure("import socket\nsocket.socket()\n")
        with pytest.raises(BlockingIOError):
            server.accept()
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
    assert (tmp_path / "secret").read_text() == "mine"


@pytest.mark.skipif(not LINUX, reason="Landlock and filters of system calls are Linux's")
def test_what_holds_is_told() -> None:
    with Scorer([written(code("pass"))]) as scorer:
        assert "a filter of system calls" in scorer.holds
        assert "a limit of memory" in scorer.holds
        assert any(one.startswith("Landlock ") for one in scorer.holds) or "reading and writing files" in " ".join(scorer.lacks)


def test_a_file_sees_no_variable_of_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    words = failure(code("raise ValueError(sorted(os.environ.items()))", "import os"))
    assert "AWS" not in words
    assert "somewhere" not in words
    assert "HOME" in words


def test_a_file_may_write_to_its_own_folder_which_goes_with_it() -> None:
    seen = code("open('a', 'w').write('x'); raise ValueError(os.getcwd())", "import os")
    folder = failure(seen).partition("ValueError: ")[2].partition(" ")[0]
    assert "llmlab-reward-" in folder
    assert not os.path.exists(folder)  # noqa: PTH110


def test_what_a_file_prints_goes_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    assert score(written(code("print('\\x1b[2J'); os.system('true') if 0 else sys.stderr.write('x')", "import os, sys")), "4") == [1]
    assert capfd.readouterr() == ("", "")


def test_the_filter_jumps_to_its_own_instructions() -> None:
    """Each jump of the program ends within it, on both architectures, and what is unknown has no program."""
    for machine in seccomp.ARCHITECTURES:
        program = seccomp.program(machine, 1234)
        for at, (_, true, false, _) in enumerate(program):
            assert at + max(true, false) < len(program)
        assert program[-1] == (seccomp.RETURN, 0, 0, seccomp.ALLOW)
    assert seccomp.program("riscv64", 1) == []


@pytest.mark.parametrize(
    ("machine", "call", "argument", "allowed"),
    [
        ("x86_64", 41, 2, False), ("aarch64", 198, 2, False), ("x86_64", 57, 0, False), ("x86_64", 0, 0, True), ("aarch64", 63, 0, True),
        ("x86_64", 56, 17, False), ("x86_64", 56, seccomp.CLONE_THREAD | 0x100, True), ("aarch64", 220, 17, False),
        ("aarch64", 220, seccomp.CLONE_THREAD, True), ("x86_64", 435, 0, False), ("x86_64", 234, 1234, True), ("x86_64", 234, 1, False),
        ("x86_64", 302, 0, True), ("x86_64", 302, 1234, True), ("x86_64", 302, 1, False), ("x86_64", seccomp.X32 | 41, 2, False),
        ("x86_64", 62, 1, False), ("aarch64", 129, 1, False),
    ],
)  # fmt: skip
def test_the_filter_allows_and_refuses(machine: str, call: int, argument: int, allowed: bool) -> None:
    assert (run(machine, call, argument) == seccomp.ALLOW) is allowed


def test_another_architecture_s_call_ends_the_process() -> None:
    assert run("x86_64", 0, 0, architecture=0x40000003) == seccomp.KILL


def run(machine: str, call: int, argument: int, architecture: int | None = None) -> int:
    """What the filter answers a call, by the rules of the kernel's interpreter for the instructions that the filter is made of."""
    data = {
        seccomp.NUMBER: call,
        seccomp.ARCHITECTURE: architecture or seccomp.ARCHITECTURES[machine][0],
        seccomp.FIRST_ARGUMENT: argument,
    }
    program, at, held = seccomp.program(machine, 1234), 0, 0
    while True:
        operation, true, false, constant = program[at]
        if operation == seccomp.RETURN:
            return constant
        if operation == seccomp.LOAD:
            held, at = data[constant], at + 1
            continue
        holds = {
            seccomp.EQUAL: held == constant, seccomp.AT_LEAST: held >= constant, seccomp.ANY_BIT: bool(held & constant),
        }[operation]  # fmt: skip
        at += 1 + (true if holds else false)


def test_a_kernel_without_landlock_holds_nothing() -> None:
    class Old:
        def syscall(self, *_: object) -> int:
            return -1

    assert landlock.restrict(Old(), ["/usr"], ["/tmp"]) == 0  # type: ignore[arg-type]


def test_a_file_travels_with_its_text_and_its_sha_256(tmp_path: Path) -> None:
    path = tmp_path / "reward.py"
    path.write_text(code("pass"))
    reward = files.read("reward.py", path)
    again = files.RewardFile.model_validate(json.loads(reward.model_dump_json()))
    assert again == reward
    with pytest.raises(ValueError, match=r"must have the SHA-256 of the text of reward\.py"):
        files.RewardFile.model_validate({**reward.model_dump(), "text": reward.text + "#"})


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "and there is no such file"), (b" \n", "is empty"), (b"#" * (65 << 10), "is larger than 64 KiB"), (b"\xff", "cannot be read")],
)
def test_a_file_that_cannot_be_one(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "reward.py"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        files.read("reward.py", path)
