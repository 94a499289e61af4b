"""Keys that a form does not read: those that are harmless, and those whose meaning must not be lost.

A key in neither table is reported by name and counted. A key whose value is null, or holds nothing, counts as absent.
"""

from collections.abc import Mapping
from typing import Any

from llmlab.dataset.reasons import BadRow

EMPTY: tuple[object, ...] = (None, "", [], {})

HARMLESS = frozenset(
    "id _id uuid idx index key hash md5 sha256 row number position __index_level_0__ custom_id prompt_id prompt_hash response_id "
    "message_id "
    "conversation_id conversation_hash chat_id session_id sessionId thread_id request_id requestId user_id trace_id parent_id hashed_ip "
    "source sources origin dataset dataset_name data_source subset split filename file_name file path url link license author annotator "
    "score scores score_chosen score_rejected chosen_score rejected_score chosen_rating rejected_rating rating ratings margin quality "
    "quality_score reward rewards confidence difficulty complexity votes upvotes verified is_correct winner "
    "model models model_name model_id chosen_model rejected_model generator generation_model provider version schemaVersion "
    "language lang locale country state category categories topic topics domain subject task task_type task_name task_id type subtype tag "
    "tags keywords title name comment comments note notes "
    "timestamp time date created created_at createdAt updated updated_at modified duration latency elapsed ts "
    "metadata meta info extra extras additional_info moderation openai_moderation detoxify_moderation toxic redacted pii header headers "
    "turn turns num_turns n_turns length len char_count word_count tokens token_count num_tokens n_tokens usage cost price "
    "temperature top_p top_k max_tokens max_completion_tokens seed stream parallel_tool_calls tool_choice store service_tier user "
    "status status_code finish_time logprobs".split()
)
"""Keys of a row that say where it comes from, what it was counted as or how it was made, and nothing that a model could learn."""

HARMLESS_IN_MESSAGE = frozenset(
    "id _id uuid message_id parent_id parentUuid index idx timestamp time date created created_at createdAt create_time model model_name "
    "language lang toxic redacted hashed_ip header country state metadata meta info extra cache_control annotations refusal status "
    "score rating quality tokens token_count num_tokens usage logprobs type phase turn_identifier turn signature object is_error "
    "openai_moderation detoxify_moderation feedback author_id".split()
)
"""Keys of a message that are not its words. `refusal` is read where there is no content, and `type` where it is a part."""

PICTURES = ("images", "image", "audios", "audio", "videos", "video", "image_url", "pixel_values", "image_path")
TRAIN_KEYS = ("weight", "train", "training", "loss_weight", "loss")
"""Keys that say whether a message carries loss: OpenAI's and Mistral's `weight`, axolotl's `train` and `training`, LLaMA-Factory's
`loss_weight`, ms-swift's `loss`."""
THOUGHTS = ("reasoning_content", "thinking", "reasoning")
"""Keys of an assistant's thoughts: DeepSeek's and vLLM's `reasoning_content`, TRL's and gpt-oss's `thinking`, OpenRouter's `reasoning`."""
CUTS = frozenset({"max_tokens", "length", "max_output_tokens", "MAX_TOKENS", "model_context_window_exceeded", "content_filter"})
"""Stop reasons of an answer that was cut off: Anthropic's and Bedrock's, OpenAI's, the Responses API's, Gemini's."""


def is_cut(reason: object) -> bool:
    """Whether an answer with this stop reason was cut off."""
    return isinstance(reason, str) and reason in CUTS


MEANING: dict[str, str] = {
    **dict.fromkeys(PICTURES, "only text can be trained on, and the model would be taught without them"),
    **dict.fromkeys(TRAIN_KEYS, "a row carries loss or is left out of the data; single messages may have a weight"),
    "train_detail": "axolotl's parts of a message with and without loss are not read; split the message",
    "history": "this form has no earlier turns beside it; put them among the messages",
    "label": "a row to classify; write the label as an answer, with prompt and completion",
    "kto_tag": "unpaired preferences (KTO) have it beside a prompt or messages",
    "thinking": "thoughts belong to one message; put them there",
    "reasoning": "thoughts belong to one message; put them there",
    "reasoning_content": "thoughts belong to one message; put them there",
    "segments": "axolotl's segments of one text, with and without loss, are not read; use prompt and completion",
    "role": "one message of a conversation, which must stand in one row",
    "system": "this form has no system prompt",
    "tools": "this form has no tools",
    "functions": "this form has no tools",
    "previous_response_id": "the turns before it stand in another row, and would be lost",
}
"""Keys of a row that change what it means, and why a form that does not read them refuses the row."""

MEANING_IN_MESSAGE: dict[str, str] = {
    **dict.fromkeys((*PICTURES, "input_audio"), "only text can be trained on, and the model would be taught without them"),
    "train_detail": "axolotl's parts of a message with and without loss are not read; split the message",
}


def suspicious(key: str) -> str:
    """Why a row with this key is refused unless its form reads it; "" when it is not."""
    if key in MEANING:
        return MEANING[key]
    if key.startswith("rejected") and key not in HARMLESS:
        return "the worse answer of a preference, which this form does not read"
    return ""


def present(row: Mapping[str, Any], key: str) -> bool:
    """Whether a row has a key, and it holds anything."""
    value = row.get(key)
    return value is not None and value not in EMPTY


def refuse(row: Mapping[str, Any], keys: tuple[str, ...], form: str) -> None:
    """Refuse a row for a key that would change its meaning.

    Raises:
        BadRow: one of the keys holds something.
    """
    for key in keys:
        value = row[key]
        if value in EMPTY or (key in TRAIN_KEYS and value in (1, True)):
            continue
        raise BadRow(f"{key} beside {form}: {suspicious(key)}")
