"""A template that comes with a model, by whoever made it, gets at nothing of this computer."""

from pathlib import Path

import pytest

from llmlab.dataset import BadRow
from llmlab.dataset.rendering.template import TokenizerTemplate


class Tokenizer:
    """A tokenizer whose model brings a template of its own."""

    special_tokens_map: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, source: str) -> None:
        self.chat_template = source

    def get_chat_template(self, tools: object = None) -> str:
        return self.chat_template


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ cycler.__init__.__globals__.os.popen('touch ' ~ messages[0]['content']) }}",
        "{{ self.__init__.__globals__['__builtins__'].open(messages[0]['content'], 'w') }}",
        "{% set x = messages.append(1) %}{{ messages }}",
        "{{ ''.join(lipsum.__globals__.keys()) }}",
    ],
)
def test_a_models_chat_template_gets_out_of_nothing(source: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    messages = [{"role": "user", "content": str(mark)}]
    with pytest.raises(BadRow, match="the chat template refuses"):
        assert "object" not in TokenizerTemplate(Tokenizer(source)).render(messages, [])
    assert not mark.exists()
    assert len(messages) == 1
