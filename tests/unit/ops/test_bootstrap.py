"""What bootstrap remembers, and how it tells differences."""

from pathlib import Path

from llmlab.config import load
from llmlab.ops.bootstrap import Property, leaves, remember
from llmlab.ops.init import settings_text


def test_what_is_remembered_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "llmlab.toml"
    values = {"email": "me@example.org", "budget": 80.0, "subnet_ids": ("subnet-1", "subnet-2"), "vpc_id": "vpc-1"}
    assert remember(path, values)
    settings = load({}, {}, path).settings
    assert {key: getattr(settings, key) for key in values} == values
    assert not remember(path, values)


def test_comments_stay_and_a_commented_key_is_used(tmp_path: Path) -> None:
    path = tmp_path / "llmlab.toml"
    path.write_text(settings_text({"email": "old@example.org"}), encoding="utf-8")
    before = path.read_text(encoding="utf-8").splitlines()
    remember(path, {"email": "new@example.org", "budget": 80.0})
    after = path.read_text(encoding="utf-8").splitlines()
    assert len(after) == len(before)
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert changed == ['email = "new@example.org"', "budget = 80.0"]


def test_differences_as_deep_as_the_shape_is_the_same() -> None:
    now = {"Statement": [{"Sid": "A", "Action": "x"}, {"Sid": "C", "Action": "z"}], "Version": "1"}
    wanted = {"Statement": [{"Sid": "A", "Action": "y"}, {"Sid": "B", "Action": "z"}], "Version": "1"}
    assert leaves("policy", now, wanted) == [
        Property("policy.Statement.A.Action", "x", "y"),
        Property("policy.Statement.B", None, {"Action": "z"}),
        Property("policy.Statement.C", {"Action": "z"}, None),
    ]
