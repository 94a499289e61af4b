"""The documentation of each form: what it becomes, examples, and where it is described."""

# ruff: noqa: E501 - examples and sentences, one a line, read better than cut up

from typing import Any

from llmlab.dataset.formats import Format

_HI, _HELLO = {"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}
_CALL = {"id": "c1", "type": "function", "function": {"name": "sum", "arguments": '{"a": 2, "b": 2}'}}
_TOOL = {"type": "function", "function": {"name": "sum", "parameters": {"type": "object", "properties": {"a": {"type": "number"}}}}}
_AXOLOTL = "https://docs.axolotl.ai/docs/dataset-formats/inst_tune.html"
_MLX_LM = "https://github.com/ml-explore/mlx-lm/blob/main/mlx_lm/LORA.md"
_MS_SWIFT = "https://github.com/modelscope/ms-swift/blob/main/swift/dataset/preprocessor/core.py"

SHOWN: dict[Format, tuple[str, tuple[Any, ...], tuple[str, ...]]] = {
    Format.SESSION: (
        "a chat whose last answer, the response, carries loss; of requests that repeat each other the longest is kept, with loss on each answer that had a row of its own; failed requests are counted",
        (
            {"request": {"system": "Be brief.", "messages": [_HI]}, "response": {"content": [{"type": "text", "text": "4"}], "stop_reason": "end_turn"}},
            {"request": {"body": {"messages": [_HI]}}, "response": {"status": 200, "body": {"content": [{"type": "text", "text": "4"}]}}},
        ),
        ("https://docs.anthropic.com/en/api/messages", "https://docs.helicone.ai/features/webhooks"),
    ),
    Format.OPENAI_LOG: (
        "the same, of chat completions",
        ({"request": {"messages": [_HI]}, "response": {"choices": [{"message": _HELLO, "finish_reason": "stop"}]}},),
        ("https://platform.openai.com/docs/api-reference/chat/object", "https://docs.litellm.ai/docs/proxy/logging_spec"),
    ),
    Format.RESPONSES_LOG: (
        "the same, of the Responses API; `instructions` is the system prompt, reasoning that is no secret is thoughts",
        (
            {
                "request": {"instructions": "Be brief.", "input": "2 + 2?"},
                "response": {"output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "4"}]}]},
            },
        ),
        ("https://platform.openai.com/docs/api-reference/responses/object",
         "https://github.com/openai/openai-python/blob/main/src/openai/types/responses/response.py"),
    ),
    Format.CLAUDE_CODE: (
        "a file is a conversation: every answer carries loss; what the user took back and what a subagent did are conversations of their own",
        (
            {"type": "user", "sessionId": "s", "uuid": "u1", "parentUuid": None, "message": {"role": "user", "content": "List the files"}},
            {"type": "assistant", "sessionId": "s", "uuid": "u2", "parentUuid": "u1",
             "message": {"id": "m1", "role": "assistant", "content": [{"type": "text", "text": "There are none."}]}},
        ),
        ("https://docs.anthropic.com/en/docs/claude-code/settings", "https://github.com/ticpu/claude-conversation-search-mcp/blob/main/docs/jsonl-format.md"),
    ),
    Format.CODEX: (
        "a file is a conversation: every answer carries loss; where Codex compacted its history, another conversation begins",
        (
            {"type": "session_meta", "payload": {"id": "s", "instructions": "Be brief."}},
            {"type": "response_item", "payload": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "2 + 2?"}]}},
            {"type": "response_item", "payload": {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "4"}]}},
        ),
        ("https://github.com/openai/codex/blob/main/codex-rs/protocol/src/protocol.rs", "https://github.com/openai/codex/blob/main/codex-rs/protocol/src/models.rs"),
    ),
    Format.PREFERENCE: (
        "a preference; the prompt may be `prompt`, `instruction` and `input`, `question`, `query`, `messages` or `conversations`, or the beginning that both answers share, also as Human: and Assistant: in a string",
        (
            {"prompt": "2 + 2?", "chosen": "4", "rejected": "5"},
            {"conversations": [{"from": "human", "value": "2 + 2?"}], "chosen": {"from": "gpt", "value": "4"}, "rejected": {"from": "gpt", "value": "5"}},
            {"chosen": "\n\nHuman: 2 + 2?\n\nAssistant: 4", "rejected": "\n\nHuman: 2 + 2?\n\nAssistant: 5"},
        ),
        ("https://huggingface.co/docs/trl/dataset_formats#preference", "https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md",
         "https://huggingface.co/datasets/Anthropic/hh-rlhf"),
    ),
    Format.OPENAI_PREFERENCE: (
        "a preference",
        ({"input": {"messages": [_HI]}, "preferred_output": [_HELLO], "non_preferred_output": [{"role": "assistant", "content": "5"}]},),
        ("https://platform.openai.com/docs/guides/direct-preference-optimization", "https://docs.together.ai/docs/preference-fine-tuning"),
    ),
    Format.REJECTED_RESPONSE: (
        "a preference whose better answer is the last of the messages",
        ({"messages": [_HI, _HELLO], "rejected_response": "5"},),
        ("https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html", _MS_SWIFT),
    ),
    Format.KTO: (
        "an unpaired preference: a chat or a pair, and whether its last answer is a good one; taken with `--objective kto`",
        ({"prompt": "2 + 2?", "completion": "5", "label": False},),
        ("https://huggingface.co/docs/trl/dataset_formats#unpaired-preference", "https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md"),
    ),
    Format.MESSAGES: (
        "a chat whose every answer carries loss, but for those with `weight`, `train`, `training`, `loss_weight` or `loss` of 0 or false; `thinking` and `reasoning` are its thoughts; also under `conversation`, in parts of OpenAI, Anthropic, Bedrock or LLaMA-Factory",
        (
            {"messages": [_HI, _HELLO]},
            {"messages": [_HI, {"role": "assistant", "content": None, "tool_calls": [_CALL]}, {"role": "tool", "tool_call_id": "c1", "content": "4"}, _HELLO],
             "tools": [_TOOL]},
            {"system": [{"text": "Be brief."}], "messages": [{"role": "user", "content": [{"text": "2 + 2?"}]}, {"role": "assistant", "content": [{"text": "4"}]}]},
        ),
        ("https://platform.openai.com/docs/guides/supervised-fine-tuning", "https://docs.anthropic.com/en/api/messages",
         "https://docs.aws.amazon.com/bedrock/latest/userguide/model-customization-prepare.html", "https://docs.axolotl.ai/docs/dataset-formats/conversation.html"),
    ),
    Format.CONVERSATIONS: (
        "a chat whose every answer carries loss; also under `items`",
        ({"system": "Be brief.", "conversations": [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}]},),
        ("https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md", "https://github.com/lm-sys/FastChat/blob/main/docs/training.md",
         "https://github.com/InternLM/xtuner/blob/main/docs/en/user_guides/dataset_format.md"),
    ),
    Format.GEMINI: (
        "a chat whose every answer carries loss",
        ({"systemInstruction": {"parts": [{"text": "Be brief."}]},
          "contents": [{"role": "user", "parts": [{"text": "2 + 2?"}]}, {"role": "model", "parts": [{"text": "4"}]}]},),
        ("https://cloud.google.com/vertex-ai/generative-ai/docs/models/gemini-supervised-tuning-prepare", "https://ai.google.dev/api/caching#Content"),
    ),
    Format.PROMPT_COMPLETION: (
        "a chat of a question and its answer, as strings or messages",
        ({"prompt": "2 + 2?", "completion": "4"}, {"prompt": [_HI], "completion": [_HELLO]}),
        ("https://huggingface.co/docs/trl/dataset_formats#prompt-completion", _MLX_LM),
    ),
    Format.ALPACA: (
        "a chat; `input` follows the instruction after a blank line, `history` is turns before it, which carry loss as well",
        ({"instruction": "Add.", "input": "2 and 2", "output": "4", "history": [["1 + 1?", "2"]]},),
        ("https://github.com/tatsu-lab/stanford_alpaca", "https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md"),
    ),
    Format.INSTRUCTION_RESPONSE: (
        "a chat; `context` follows the instruction after a blank line",
        ({"instruction": "Who?", "context": "Ann did it.", "response": "Ann."},),
        ("https://huggingface.co/datasets/databricks/databricks-dolly-15k", _AXOLOTL),
    ),
    Format.PROMPT_RESPONSE: ("a chat", ({"prompt": "2 + 2?", "response": "4"},), ("https://github.com/mosaicml/llm-foundry/blob/main/scripts/train/finetune_example/README.md", _MS_SWIFT)),
    Format.PROMPT_ANSWER: (
        "a chat, as strings or messages; an answer may be a number",
        ({"prompt": "2 + 2?", "answer": 4}, {"prompt": [_HI], "answer": "4"}),
        ("https://huggingface.co/docs/trl/grpo_trainer#using-a-custom-reward-function", "https://docs.predibase.com/user-guide/fine-tuning/grpo"),
    ),
    Format.QUERY_RESPONSE: (
        "a chat, `history` as in alpaca",
        ({"query": "And 3 + 3?", "response": "6", "history": [["2 + 2?", "4"]]},),
        ("https://swift.readthedocs.io/en/latest/Customization/Custom-dataset.html", "https://huggingface.co/datasets/meta-math/MetaMathQA"),
    ),
    Format.QUESTION_ANSWER: ("a chat", ({"question": "2 + 2?", "answer": "4"},), ("https://huggingface.co/datasets/openai/gsm8k", _AXOLOTL)),
    Format.QUESTION_RESPONSE: (
        "a chat, with `system_prompt` as its system prompt",
        ({"system_prompt": "Be brief.", "question": "2 + 2?", "response": "4"},),
        ("https://huggingface.co/datasets/Open-Orca/OpenOrca", _AXOLOTL),
    ),
    Format.INPUT_OUTPUT: ("a chat", ({"input": "2 + 2?", "output": "4"},), (_MLX_LM, _MS_SWIFT)),
    Format.TEXT: ("plain text, all of which carries loss", ({"text": "Once upon a time."},), ("https://huggingface.co/docs/trl/dataset_formats#language-modeling", _MLX_LM)),
}  # fmt: skip
