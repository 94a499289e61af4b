"""The commands that a run's end may suggest: documents carry a code and values, and the program that shows the hint builds the command.

So no text of a training container becomes a command that somebody types: it only chooses a line of this table, and its values must match
a pattern.
"""

import re
import shlex
from collections.abc import Mapping

HINTS = {
    "fetch": "llmlab fetch {run}",
    "resume": "llmlab resume {run}",
    "logs": "llmlab logs {run} --stream {stream}",
    "push_image": "llmlab image push",
    "doctor": "llmlab doctor",
    "bootstrap_plan": "llmlab bootstrap --plan",
    "disk_quotas": "aws service-quotas list-service-quotas --service-code ebs --region {region}",
    "grant_disk_key": "aws kms create-grant --region {region} "
    '--key-id "$(aws ec2 get-ebs-default-kms-key-id --region {region} --query KmsKeyId --output text)" --grantee-principal {spot_role} '
    "--operations Decrypt Encrypt GenerateDataKey GenerateDataKeyWithoutPlaintext CreateGrant DescribeKey ReEncryptFrom ReEncryptTo",
    "estimate": "llmlab estimate",
    "estimate_all": "llmlab estimate --all",
    "estimate_recipe": "llmlab estimate --recipe {recipe}",
    "launch_help": "llmlab launch --help",
    "bf16_gpus": "llmlab launch --instance-type g6.xlarge,g5.xlarge",
    "validate": "llmlab validate data/",
    "upload": "llmlab upload data/",
    "upload_skipping": "llmlab upload data/ --skip-bad",
    "upload_model": "llmlab upload MODEL_FOLDER --model {model}",
}
"""Code → command. The program that shows it knows `{run}`; every other value is in the document."""
SET = "set"
"""The code of `llmlab launch --set NAME=VALUE …`, whose values are the settings."""
PATTERNS = {
    "run": re.compile(r"[0-9a-z][0-9a-z-]{0,63}"),
    "region": re.compile(r"[a-z]{2}(-[a-z]+){1,3}-[0-9]"),
    "spot_role": re.compile(r"arn:aws:iam::[0-9]{12}:role/aws-service-role/spot\.amazonaws\.com/AWSServiceRoleForEC2Spot"),
    "stream": re.compile(r"setup|training|agent"),
    "recipe": re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}"),
    "model": re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"),
}
SETTING = re.compile(r"[a-z][a-z0-9_]{0,39}(\.[a-z][a-z0-9_]{0,39})?")
SETTINGS_OF_ADDRESSES = frozenset({"model", "revision"})
"""Settings that choose the model, which is the user's decision: only values in `MODELS` are accepted."""
MODELS = frozenset({"Qwen/Qwen2.5-1.5B-Instruct"})
VALUE = re.compile(r"[A-Za-z0-9\[\"'][A-Za-z0-9._,+\[\]\"' -]{0,99}")
MOST_SETTINGS = 8
WORD = re.compile(r"[A-Za-z0-9._/=:,+@%\[\]-]{1,200}")
"""A word that no shell expands, except brackets, which stay literal unless they match a file's name."""


def render(code: str, values: Mapping[str, object], run: str) -> str:
    """Build the command of a code, "" for an unknown code or values that do not match their patterns."""
    texts = {str(name): value for name, value in values.items() if isinstance(value, str)}
    if code == SET:
        return _settings(texts) if len(texts) == len(values) else ""
    template = HINTS.get(code)
    if template is None:
        return ""
    known = {**texts, "run": run}
    words = []
    for word in template.split():
        name = word[1:-1] if word.startswith("{") else ""
        if name and not PATTERNS[name].fullmatch(known.get(name, "")):
            return ""
        words.append(shlex.quote(known[name]) if name else word)
    return " ".join(words)


def _settings(values: Mapping[str, str]) -> str:
    if not 0 < len(values) <= MOST_SETTINGS or not all(_is_setting(name, value) for name, value in values.items()):
        return ""
    return " ".join(["llmlab launch", *(f"--set {shlex.quote(f'{name}={value}')}" for name, value in values.items())])


def _is_setting(name: str, value: str) -> bool:
    if name in SETTINGS_OF_ADDRESSES:
        return value in MODELS
    return bool(SETTING.fullmatch(name) and VALUE.fullmatch(value))


def parse(command: str) -> tuple[str, dict[str, str]]:
    """The code and values of a hint's command, of any run: the inverse of `render`; ("", {}) for every other text."""
    try:
        words = shlex.split(command)
    except ValueError:
        return "", {}
    if words[:3] == ["llmlab", "launch", "--set"] and set(words[2::2]) == {"--set"} and len(words) % 2 == 0:
        values = dict(word.partition("=")[::2] for word in words[3::2])
        return (SET, values) if len(values) == len(words[3::2]) and _settings(values) else ("", {})
    for code, template in HINTS.items():
        filling = _fitting(template.split(), words)
        if filling is not None:
            return code, filling
    return "", {}


def _fitting(template: list[str], words: list[str]) -> dict[str, str] | None:
    """The values with which the template gives these words, None where there are none."""
    if len(template) != len(words):
        return None
    values = {part[1:-1]: word for part, word in zip(template, words, strict=True) if part.startswith("{")}
    if any(part != word for part, word in zip(template, words, strict=True) if not part.startswith("{")):
        return None
    if not all(PATTERNS[name].fullmatch(value) for name, value in values.items()):
        return None
    values.pop("run", None)
    return values


def plain(hint: str) -> str:
    """The hint of a document that holds it as text, if it is an `llmlab` command without anything a shell expands; else ""."""
    words = hint.split(" ")
    return hint if words[0] == "llmlab" and len(words) > 1 and all(WORD.fullmatch(word) for word in words) else ""
