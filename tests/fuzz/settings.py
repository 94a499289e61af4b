"""What the user writes: recipes, `--set`, `llmlab.toml` and the environment."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import yaml

from llmlab import config, recipe
from tests.fuzz.laws import value_or_told

Target = Callable[[bytes], None]


def a_recipe(data: bytes) -> None:
    """A file is a recipe or one error; a recipe written out is the same recipe."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "recipe.yaml")
        path.write_bytes(data)
        made = value_or_told(lambda: recipe.load(path))
        if made is not None:
            path.write_text(yaml.safe_dump(made.model_dump(mode="json")), encoding="utf-8")
            assert recipe.load(path) == made


def override(data: bytes) -> None:
    """`--set NAME=VALUE` of anything gives a recipe or one error."""
    name, _, value = data.decode(errors="replace").partition("=")
    value_or_told(lambda: recipe.load(None, {name: value}))


def toml(data: bytes) -> None:
    """A settings file gives settings or one error, and each setting says where it came from."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "llmlab.toml")
        path.write_bytes(data)
        loaded = value_or_told(lambda: config.load({}, {}, path))
        assert loaded is None or set(loaded.origins) == set(config.Settings.model_fields)


def environment(data: bytes) -> None:
    """Variables `NAME=VALUE`, one a line, give settings or one error."""
    pairs = (line.partition("=") for line in data.decode(errors="surrogateescape").replace("\0", "").splitlines())
    values = {f"{config.PREFIX}{name}": value for name, _, value in pairs if name != "CONFIG"}
    value_or_told(lambda: config.load({}, values, None))


TARGETS: dict[str, Target] = {"recipe": a_recipe, "override": override, "toml": toml, "environment": environment}
