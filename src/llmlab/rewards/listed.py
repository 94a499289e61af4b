"""The rewards that have a name: each says of one completion how good it is, from 0 to 1.

Their Python is the standard library's but for `jsonschema`, which knows what a JSON schema means (https://json-schema.org).
"""

import difflib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Settings = Mapping[str, Any]
Reward = Callable[[str, str], float]
"""Of a completion and the row's answer."""


def exact_match(_: Settings) -> Reward:
    """1 where the completion is the answer, but for white space around it."""
    return lambda completion, answer: float(completion.strip() == answer.strip())


def regex(settings: Settings) -> Reward:
    """1 where the pattern is found in the completion (https://docs.python.org/3/library/re.html); `{regex: '^[0-9]+$'}`."""
    pattern = re.compile(settings["pattern"])
    return lambda completion, _: float(pattern.search(completion) is not None)


def json_schema(settings: Settings) -> Reward:
    """1 where the completion is JSON and as the schema says; `{json_schema: {type: object, required: [name]}}`."""
    from jsonschema.validators import validator_for

    schema = settings["schema"]
    kind = validator_for(schema)
    kind.check_schema(schema)
    validator = kind(schema)

    def reward(completion: str, _: str) -> float:
        try:
            return float(validator.is_valid(json.loads(completion)))
        except (ValueError, RecursionError):
            return 0.0

    return reward


def length(settings: Settings) -> Reward:
    """1 within `{length: {shortest: 20, longest: 200}}` characters; less, the further from that: 0 for none and for twice the longest."""
    shortest, longest = settings["shortest"], settings["longest"]

    def reward(completion: str, _: str) -> float:
        characters = len(completion)
        if characters < shortest:
            return characters / float(shortest)
        return max(0.0, min(1.0, 2.0 - characters / float(longest))) if longest is not None else 1.0

    return reward


def similarity(_: Settings) -> Reward:
    """How much of completion and answer is the same, in the same order: difflib's ratio, 1 where they are alike.

    https://docs.python.org/3/library/difflib.html#difflib.SequenceMatcher.ratio
    """

    def reward(completion: str, answer: str) -> float:
        return difflib.SequenceMatcher(None, completion.strip(), answer.strip(), autojunk=False).ratio()

    return reward


LISTED: dict[str, Callable[[Settings], Reward]] = {
    "exact_match": exact_match,
    "regex": regex,
    "json_schema": json_schema,
    "length": length,
    "similarity": similarity,
}
