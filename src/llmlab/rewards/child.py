"""The process in which rewards are computed: the standard library alone, one line of JSON in, one line out.

The first line says which rewards there are. The process confines itself, loads them and answers `{"ready": true}` with what holds it, or
`{"error": …}`. Each further line has a prompt's completions: `{"prompt", "completions", "answer", "columns"}`; the answer has a list of
numbers for each reward, or the error and which reward made it. Each line has a `number`, which its answer repeats. A file's function is
called as TRL calls one: with lists under `prompts`, `completions`, `answer` and the row's other keys.
https://huggingface.co/docs/trl/grpo_trainer#using-a-custom-reward-function
"""

import asyncio
import inspect
import json
import os
import sys
import traceback
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llmlab.rewards.confinement import confine
from llmlab.rewards.listed import LISTED

Group = dict[str, Any]
Compute = Callable[[Group], list[Any]]
NAME = "reward"
"""The name of a file's reward function, where it has several functions."""
SHOWN = 80
"""Characters of a value that is no number."""


class Unfit(Exception):
    """A fault of the user's file, whose message stands instead of an exception's own words."""


def main() -> None:
    """Answer requests until there is no further line."""
    requests, answers = _streams()
    first = json.loads(requests.readline())
    rewards, number = first["rewards"], first["number"]
    try:
        listed = {at: _listed(reward) for at, reward in enumerate(rewards) if reward["kind"] != "file"}
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is reported
        return _write(answers, {"error": "load", "detail": _words(error), "number": number})
    holds, lacks = confine(os.environ["HOME"], first["memory_bytes"])
    computes: list[Compute] = []
    for at, reward in enumerate(rewards):
        try:
            computes.append(listed[at] if at in listed else _of_file(reward["name"], reward["text"]))
        except BaseException as error:  # noqa: BLE001
            return _write(answers, {"error": "load", "reward": at, **_failure(error, reward), "number": number})
    _write(answers, {"ready": True, "holds": holds, "lacks": lacks, "number": number})
    while line := requests.readline():
        group = json.loads(line)
        _write(answers, {**_answer(group, rewards, computes), "number": group["number"]})
    return None


def _streams() -> tuple[Any, Any]:
    """The pipes to the parent process, out of the way of what a file prints or reads."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    return requests, answers


def _write(stream: Any, value: dict[str, Any]) -> None:
    stream.write(json.dumps(value).encode() + b"\n")
    stream.flush()


def _answer(group: Group, rewards: Sequence[dict[str, Any]], computes: Sequence[Compute]) -> dict[str, Any]:
    numbers = []
    for at, compute in enumerate(computes):
        try:
            numbers.append(compute(group))
        except BaseException as error:  # noqa: BLE001 - SystemExit, too, is one of the file's
            return {"error": "raised", "reward": at, **_failure(error, rewards[at])}
    return {"rewards": numbers}


# ---------------------------------------------------------------- one reward


def _listed(reward: dict[str, Any]) -> Compute:
    compute = LISTED[reward["kind"]](reward)
    return lambda group: [compute(_text(completion), group["answer"]) for completion in group["completions"]]


def _text(completion: Any) -> str:
    """The text of a completion, which is a string or a conversation's messages."""
    return completion if isinstance(completion, str) else str(completion[-1]["content"])


def _of_file(name: str, text: str) -> Compute:
    """The one function of a file, as a reward."""
    module = types.ModuleType("reward_file")
    module.__file__ = name
    sys.modules[module.__name__] = module  # dataclasses and pickle look there
    exec(compile(text, name, "exec"), module.__dict__)  # noqa: S102 - the user's own file, in a process that is kept from everything
    function = _function(module)

    def reward(group: Group) -> list[Any]:
        count = len(group["completions"])
        columns = {key: [value] * count for key, value in group["columns"].items()}
        arguments = {
            **columns,
            "prompts": [group["prompt"]] * count,
            "completions": group["completions"],
            "answer": [group["answer"]] * count,
        }
        return _list(function(**(arguments if any_key else {key: value for key, value in arguments.items() if key in keys})))

    parameters = inspect.signature(function).parameters.values()
    any_key = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    keys = {parameter.name for parameter in parameters}
    return reward


def _function(module: types.ModuleType) -> Callable[..., Any]:
    own = [
        value
        for name, value in vars(module).items()
        if not name.startswith("_") and inspect.isfunction(value) and value.__module__ == module.__name__
    ]
    named = [function for function in own if function.__name__ == NAME]
    if not own:
        raise Unfit("has no function")
    if len(own) > 1 and not named:
        raise Unfit(f"has {len(own)} functions, none of which is called {NAME}")
    function = named[0] if named else own[0]
    if asyncio.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise Unfit(f"has the function {function.__name__}, which returns no list but something to wait for")
    return function


def _list(answered: Any) -> list[Any]:
    """A function's result as a list of numbers; those of an array or a tensor count, too."""
    convert = getattr(answered, "tolist", None)
    values = convert() if callable(convert) else answered
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
        raise Unfit(f"returned {_name(answered)} instead of a list of numbers")
    return list(_numbers(values))


def _numbers(values: Sequence[Any]) -> Iterator[Any]:
    """Numbers as they are; of anything else its kind, for the sentence about it."""
    for value in values:
        number = value.item() if callable(getattr(value, "item", None)) else value
        yield number if type(number) in {int, float} else {"shown": _name(number)}


def _name(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value)
    return f"{type(value).__name__} {value[:SHOWN]!r}" if isinstance(value, str) else type(value).__name__


# ---------------------------------------------------------------- what went wrong


def _failure(error: BaseException, reward: dict[str, Any]) -> dict[str, Any]:
    """The error's words, and the line of the user's file at which it was."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == reward.get("name")]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    return {"detail": _words(error), "kind": _kind(error), "line": line}


def _kind(error: BaseException) -> str:
    kinds = {"memory": MemoryError, "unfit": Unfit, "exit": SystemExit}
    return next((kind for kind, known in kinds.items() if isinstance(error, known)), "")


def _words(error: BaseException) -> str:
    if isinstance(error, Unfit):
        return str(error)
    try:
        words = error.msg if isinstance(error, SyntaxError) else str(error)
    except BaseException:  # noqa: BLE001 - its __str__ is the file's, too
        words = ""
    return f"{type(error).__name__}{': ' if words else ''}{words}"[:500]
