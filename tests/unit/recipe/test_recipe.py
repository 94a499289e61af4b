"""Recipes: what ships parses, what is wrong is said in words."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from hypothesis import given, strategies as st

from llmlab import recipe
from llmlab.errors import ExitCode, UsageError


def test_every_shipped_recipe_parses() -> None:
    seen = {name: recipe.load(name) for name in recipe.shipped()}
    assert {"lora-1b", "qlora-8b", "sandbox"} <= set(seen)
    assert len(seen) == len(list(Path("recipes").glob("*.yaml"))) >= 3
    assert seen["sandbox"].lab_model == "tiny"
    assert seen["qlora-8b"].method == "qlora"
    assert recipe.load() == seen[recipe.DEFAULT]


def test_overrides_reach_inner_fields() -> None:
    given = {
        "lora.rank": "8",
        "learning_rate": "3e-4",
        "max_steps": "5",
        "lora.targets": "[q_proj, v_proj]",
        "gradient_checkpointing": "false",
    }
    loaded = recipe.load("sandbox", given)
    assert (loaded.lora.rank, loaded.learning_rate, loaded.max_steps) == (8, 3e-4, 5)
    assert loaded.lora.targets == ("q_proj", "v_proj")
    assert loaded.gradient_checkpointing is False
    assert loaded.lora.alpha == recipe.load("sandbox").lora.alpha


BAD = {
    "learning_rat: 1": (
        "there is no field learning_rat in a recipe ({file}); the nearest is learning_rate",
        "llmlab estimate --recipe {file}",
    ),
    "rank: 8": ("there is no field rank in a recipe ({file}); the nearest is lora.rank", "llmlab estimate --recipe {file}"),
    "lora: {rnk: 8}": ("there is no field lora.rnk in a recipe ({file}); the nearest is lora.rank", "llmlab estimate --recipe {file}"),
    "learning_rate: -1": ("learning_rate: must be greater than 0, not -1 ({file})", "llmlab launch --set learning_rate=0.0002"),
    "epochs: many": (
        "epochs: must be a valid number, unable to parse string as a number, not many ({file})",
        "llmlab launch --set epochs=3",
    ),
    "method: magic": ("method: must be 'lora', 'qlora' or 'full', not magic ({file})", "llmlab launch --set method=lora"),
    "lora: {rank: 0}": ("lora.rank: must be greater than or equal to 1, not 0 ({file})", "llmlab launch --set lora.rank=16"),
    "model: 'lab:'": (
        "model: must be a Hugging Face name such as Qwen/Qwen2.5-1.5B-Instruct, or lab:NAME, not lab: ({file})",
        "llmlab launch --set model=Qwen/Qwen2.5-1.5B-Instruct",
    ),
    "model:": ("model: must be a valid string, not nothing ({file})", "llmlab launch --set model=Qwen/Qwen2.5-1.5B-Instruct"),
    "- a\n- b": ("{file} is not a recipe: it must be a list of `field: value` lines", "llmlab init"),
}


@pytest.mark.parametrize("text", BAD)
def test_bad_recipes_are_said_in_words(tmp_path: Path, text: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text if "model" in text or text.startswith("-") else f"model: some/model\n{text}")
    with pytest.raises(UsageError) as caught:
        recipe.load(file)
    message, hint = BAD[text]
    assert (caught.value.message, caught.value.hint) == (message.format(file=file), hint.format(file=file))
    assert caught.value.exit_code is ExitCode.USAGE


def test_a_recipe_without_a_model(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("")
    with pytest.raises(UsageError, match="names no model"):
        recipe.load(file)


def test_not_yaml(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("a: [1,")
    with pytest.raises(UsageError, match="is not YAML"):
        recipe.load(file)
    file.write_bytes(b"model: \xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        recipe.load(file)


def test_an_unknown_override_hints_with_the_users_value() -> None:
    with pytest.raises(UsageError) as caught:
        recipe.load("sandbox", {"lerning_rate": "3e-4"})
    assert caught.value.message == "there is no field lerning_rate in a recipe (--set); the nearest is learning_rate"
    assert caught.value.hint == "llmlab launch --set learning_rate=3e-4"
    with pytest.raises(UsageError, match=r"--set"):
        recipe.load("sandbox", {"epochs": "0"})
    with pytest.raises(UsageError, match="method has no fields"):
        recipe.load("sandbox", {"method.x": "0"})


def test_no_such_recipe() -> None:
    with pytest.raises(UsageError, match=r"there is no recipe lora1b; llmlab ships .*lora-1b") as caught:
        recipe.load("lora1b")
    assert caught.value.hint == "llmlab launch --recipe lora-1b"


def test_every_field_says_what_it_is() -> None:
    described = list(recipe.fields())
    assert len(described) >= 20
    assert all(text for _, _, text in described)


@given(
    st.builds(
        recipe.Recipe,
        model=st.from_regex(r"[a-zA-Z0-9/._-]+", fullmatch=True),
        max_length=st.integers(8, 1 << 20),
        epochs=st.floats(0.01, 100),
        seed=st.integers(0, 2**32 - 1),
        lora=st.builds(recipe.Lora, rank=st.integers(1, 512)),
    )
)
def test_a_recipe_survives_its_documents(one: recipe.Recipe) -> None:
    dumped = one.model_dump(mode="json")
    assert recipe.check(dumped) == one
    assert recipe.check(yaml.safe_load(yaml.safe_dump(dumped))) == one


def test_of_a_field_without_a_default_the_hint_leaves_the_setting_out() -> None:
    with pytest.raises(UsageError, match="max_steps: must be greater than or equal to 1, not 0") as raised:
        recipe.load("sandbox", {"max_steps": "0"})
    assert (raised.value.hint, raised.value.without) == ("llmlab launch", ("max_steps",))
    with pytest.raises(UsageError, match="must be of exact_match") as raised:
        recipe.load("grpo", {"grpo.rewards": "[exact]"})
    assert (raised.value.hint, raised.value.without) == ("llmlab launch", ("grpo.rewards",))


def test_a_warm_up_is_a_share_or_steps(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("model: lab:tiny\nwarmup: 0.1\nwarmup_steps: 20\n")
    with pytest.raises(UsageError) as raised:
        recipe.load(file)
    assert raised.value.message == f"the warm-up stands there twice, as warmup 0.1 and as warmup_steps 20 ({file})"
    assert raised.value.hint == "llmlab launch --set warmup_steps=20"
    assert recipe.load(file, {"warmup_steps": "20"}).warmup_steps == 20
    assert recipe.load(file, {"warmup": "0.2"}).warmup_steps is None
    with pytest.raises(UsageError, match="twice"):
        recipe.load(file, {"warmup": "0.2", "warmup_steps": "5"})
    file.write_text("model: lab:tiny\nwarmup: 0.1\nwarmup_steps: null\n")
    assert recipe.load(file).warmup == 0.1
    by_steps = recipe.load("sandbox", {"warmup_steps": "0"})
    assert recipe.check(by_steps.model_dump(mode="json")) == by_steps
    file.write_text(yaml.safe_dump(by_steps.shown()))
    assert recipe.load(file) == by_steps


class TestChatTemplate:
    """A file beside the recipe, whose text travels."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        (tmp_path / "mine.jinja").write_bytes("{% for m in messages %}\r\n{{ m.content }}é{% endfor %}".encode())
        file = tmp_path / "recipe.yaml"
        file.write_text("model: lab:tiny\nchat_template: mine.jinja\n")
        return file

    def test_its_text_and_hash_go_into_the_run_and_come_back(self, file: Path) -> None:
        loaded = recipe.load(file)
        assert loaded.chat_template
        assert loaded.chat_template.text == "{% for m in messages %}\n{{ m.content }}é{% endfor %}"
        assert loaded.chat_template.sha256 == sha256(loaded.chat_template.text.encode()).hexdigest()
        assert recipe.check(json.loads(json.dumps(loaded.model_dump(mode="json")))) == loaded
        assert recipe.load(file, {"chat_template": "null"}).chat_template is None
        assert yaml.safe_load(yaml.safe_dump(loaded.shown()))["chat_template"] == "mine.jinja"

    def test_a_text_that_is_not_the_hashs_is_refused(self, file: Path) -> None:
        values = recipe.load(file).model_dump(mode="json")
        values["chat_template"]["text"] += " "
        with pytest.raises(UsageError, match=r"chat_template: must have the SHA-256 of the text of mine\.jinja"):
            recipe.check(values)

    def test_another_models_is_named_and_comes_with_the_run(self, file: Path) -> None:
        loaded = recipe.load(file, {"chat_template": "lab:other"})
        assert loaded.chat_template
        assert (loaded.chat_template.lab_model, loaded.chat_template.text) == ("other", "")
        assert loaded.shown()["chat_template"] == "lab:other"
        with pytest.raises(UsageError, match=r"chat_template: must have the text of mine\.jinja"):
            recipe.check({"model": "lab:tiny", "chat_template": {"file": "mine.jinja"}})

    def test_a_file_named_on_the_command_line_lies_where_it_was_typed(self, file: Path) -> None:
        other = file.parent / "elsewhere" / "other.jinja"
        other.parent.mkdir()
        other.write_text("other")
        loaded = recipe.load(file, {"chat_template": str(other)})
        assert loaded.chat_template
        assert (loaded.chat_template.file, loaded.chat_template.text) == (str(other), "other")

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("none.jinja", None, "chat_template names {folder}/none.jinja, and there is no such file"),
            ("../secret", None, "chat_template names ../secret, which does not lie beside recipe.yaml"),
            ("/etc/passwd", None, "chat_template names /etc/passwd, which does not lie beside recipe.yaml"),
            ("mine.jinja", b"", "the chat template mine.jinja is empty"),
            ("mine.jinja", b"\xff", "the chat template mine.jinja cannot be read: "),
            ("mine.jinja", b"x" * 65536 + "é".encode(), "the chat template mine.jinja is larger than 64 KiB"),
            ('"a\\0b"', None, "the chat template a"),
            ("x" * 300, None, "the chat template xxx"),
            ('"lab:"', None, "chat_template: must have the text of lab:, not {{'file': 'lab:'}} ("),
            ("[mine.jinja]", None, "chat_template: must be the name of a file, not ['mine.jinja'] ("),
            ("3", None, "chat_template: must be the name of a file, not 3 ("),
        ],
    )
    def test_what_is_none_is_said_in_words(self, file: Path, name: str, content: bytes | None, words: str) -> None:
        file.write_text(f"model: lab:tiny\nchat_template: {name}\n")
        if content is not None:
            (file.parent / name).write_bytes(content)
        with pytest.raises(UsageError) as raised:
            recipe.load(file)
        assert raised.value.message.startswith(words.format(folder=file.parent))
        assert raised.value.hint.startswith("llmlab ")


UNFIT = {
    "engine: trl\npacking: true": ("engine trl pads its batches, so packing true cannot be had ({file})", "packing=auto"),
    "engine: trl\nparallel: fsdp": (
        "engine trl trains on one GPU, so there is nothing for parallel fsdp to divide ({file})",
        "parallel=auto",
    ),
    "engine: trl\non_bad_loss: skip": (
        "engine trl moves the weights by every step, so on_bad_loss skip cannot leave one out ({file})",
        "on_bad_loss=stop",
    ),
    "engine: trl\nobjective: dpo\ndpo: {label_smoothing: 0.1}": ("engine trl has no dpo.label_smoothing ({file})", "dpo.label_smoothing=0"),
    "engine: trl\nlora: {targets: [q_proj, lm_head]}": (
        "engine trl computes the loss from lm_head's own weights, so lora.targets cannot name lm_head ({file})",
        "lora.targets=all-linear",
    ),
}


@pytest.mark.parametrize("text", UNFIT)
def test_what_an_engine_cannot_do_is_refused(tmp_path: Path, text: str) -> None:
    """On the laptop already: every command that reads a recipe reads it here. What the hint sets is taken."""
    file = tmp_path / "recipe.yaml"
    file.write_text(f"model: some/model\n{text}")
    message, mends = UNFIT[text]
    with pytest.raises(UsageError) as caught:
        recipe.load(file)
    assert (caught.value.message, caught.value.hint) == (message.format(file=file), f"llmlab launch --set {mends}")
    name, _, value = mends.partition("=")
    assert recipe.load(file, {name: value}).by_trl
    if "objective" not in text:
        assert not recipe.load(file, {"engine": "own"}).by_trl
