"""What a training imports: nothing that its recipe does not use."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from llmlab.recipe import Recipe
from llmlab.trainer import device, run
from tests.trainer import work as folders


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has just begun."""
    monkeypatch.setitem(sys.modules, "bitsandbytes", sys)  # so that what is there now comes back
    del sys.modules["bitsandbytes"]


@pytest.mark.parametrize(
    ("recipe", "config", "kept"),
    [
        ({}, "{}", False),
        ({"method": "full"}, "{}", False),
        ({"method": "qlora"}, "{}", True),
        ({"optimizer": "adamw_8bit"}, "{}", True),
        ({}, '{"quantization_config": {"quant_method": "bitsandbytes"}}', True),
        ({}, None, True),
    ],
)
def test_bitsandbytes_is_imported_only_where_it_is_used(
    unread: None, tmp_path: Path, recipe: dict[str, str], config: str | None, kept: bool
) -> None:
    """A model of the hub, whose config is not here, may be quantised."""
    path = tmp_path / "config.json"
    if config is not None:
        path.write_text(config, encoding="utf-8")
    device.spare_bitsandbytes(Recipe(model="lab:tiny", **recipe), path)
    assert bool(find_spec("bitsandbytes")) is kept


def test_a_run_that_cannot_be_read_is_told_later(unread: None, tmp_path: Path, model: Path) -> None:
    work = folders.make(tmp_path, model, count=2)
    run.spare_imports(work)
    assert not find_spec("bitsandbytes")
    del sys.modules["bitsandbytes"]
    Path(work.spec).write_text("{", encoding="utf-8")
    run.spare_imports(work)
    assert find_spec("bitsandbytes")
