"""The tokens at which an answer ends: what the base model stops at, and what it was taught to end an answer with.

The two differ where a base model meets a chat template: Qwen2.5's base stops at `<|endoftext|>`, and its template ends an answer with
`<|im_end|>`. Tuned on conversations it says that, and talks on until its limit, here and at every server:
https://github.com/huggingface/open-r1/pull/604, https://github.com/QwenLM/Qwen3/issues/927,
https://github.com/modelscope/ms-swift/issues/3113. Servers and transformers read the tokens from generation_config.json.
"""

from collections.abc import Iterable
from typing import Any

from llmlab.trainer.data.example_encoder import special_tokens

ANSWER = "\u0001"
TALK = ({"role": "user", "content": "a question"}, {"role": "assistant", "content": ANSWER})


def taught(tokenizer: Any) -> list[str]:
    """The tokenizer's own end, and the special token that its chat template puts right behind an answer."""
    return list(dict.fromkeys(filter(None, (tokenizer.eos_token, _behind_an_answer(tokenizer)))))


def ids(known: object) -> list[int]:
    """A config's `eos_token_id` as a list: one, several or none."""
    several = known if isinstance(known, list) else [known]
    return [token for token in several if isinstance(token, int) and not isinstance(token, bool)]


def with_taught(tokenizer: Any, known: Iterable[int]) -> list[int]:
    """The stop tokens that were known, and behind them those that training taught beside."""
    return list(dict.fromkeys([*known, *tokenizer.convert_tokens_to_ids(taught(tokenizer))]))


def stop_there(model: Any, tokenizer: Any) -> None:
    """Set the tokens at which the model's generation ends to those at which its answers do."""
    config = model.generation_config
    config.eos_token_id = with_taught(tokenizer, ids(config.eos_token_id)) or None


def _behind_an_answer(tokenizer: Any) -> str:
    """The special token right behind an answer; "" where there is none, no chat template, or one that refuses the shortest conversation."""
    if not tokenizer.chat_template:
        return ""
    try:
        text: str = tokenizer.apply_chat_template(list(TALK), tokenize=False)
    except Exception:  # noqa: BLE001 - a template may refuse any conversation, in any way Jinja knows
        return ""
    _, answered, behind = text.rpartition(ANSWER)
    matching = (token for token in special_tokens(tokenizer) if answered and behind.lstrip().startswith(token))
    return max(matching, key=len, default="")
