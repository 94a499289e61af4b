"""Read logged requests with their responses into an `Example` whose answer is the response, which alone carries loss.

What was answered before is context, because each of those answers has a row of its own where the log is whole. The request and the
response may be the objects themselves, a gateway's with a `body`, or that as JSON text. A failed request teaches nothing and is counted;
an answer cut off at the limit is learned without its end, and left out where it was cut within a call. Sources: Anthropic's
https://docs.anthropic.com/en/api/messages, OpenAI's https://platform.openai.com/docs/api-reference/chat/object and
https://platform.openai.com/docs/api-reference/responses/object, Bedrock's
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, Gemini's https://ai.google.dev/api/generate-content,
Ollama's https://github.com/ollama/ollama/blob/main/docs/api.md, and of gateways
https://docs.helicone.ai/features/webhooks and https://docs.litellm.ai/docs/proxy/logging_spec.
"""

from collections.abc import Mapping
from typing import Any

from llmlab.dataset.calls import Unread, parsed, tool_definitions
from llmlab.dataset.content import only_text
from llmlab.dataset.formats import Example, Format, Message
from llmlab.dataset.gemini import content_messages, gemini_messages
from llmlab.dataset.items import ConversationBuilder, one_system
from llmlab.dataset.keys import EMPTY, is_cut
from llmlab.dataset.messages import read_message, read_messages, system_text
from llmlab.dataset.reasons import CUT_CALLS, FAILED, BadRow, LeftOut, name_of

Row = Mapping[str, Any]
ERROR_STATUS = 400
STATUS = ("status_code", "statusCode", "status")
FAILING = frozenset(("error", *STATUS))
TOOLS = frozenset({"tools", "functions", "toolConfig"})
REQUEST = frozenset(
    "model messages system tools functions input instructions contents systemInstruction system_instruction toolConfig tool_config "
    "max_tokens max_completion_tokens max_output_tokens temperature top_p top_k stop stop_sequences stream stream_options metadata "
    "tool_choice function_call parallel_tool_calls thinking reasoning reasoning_effort response_format text n seed user logprobs "
    "top_logprobs "
    "frequency_penalty presence_penalty logit_bias service_tier store truncation include betas anthropic_beta anthropic_version "
    "output_config context_management container mcp_servers generationConfig generation_config safetySettings safety_settings "
    "cachedContent inferenceConfig additionalModelRequestFields guardrailConfig modelId options keep_alive format think extra_body "
    "prompt_cache_key prompt_cache_retention safety_identifier verbosity client_metadata background max_tool_calls provider route "
    "url method headers path query timestamp id created_at body timeout".split()
)
"""Keys of a request that are read, or are parameters of the request."""
RESPONSE = frozenset(
    "id type role model content stop_reason stop_sequence stop_details usage object created created_at choices system_fingerprint "
    "service_tier output output_text status error incomplete_details instructions metadata parallel_tool_calls temperature top_p tools "
    "tool_choice "
    "reasoning text truncation user previous_response_id max_output_tokens store background completed_at candidates usageMetadata "
    "modelVersion responseId promptFeedback createTime stopReason metrics additionalModelResponseFields trace performanceConfig message "
    "done done_reason total_duration load_duration prompt_eval_count prompt_eval_duration eval_count eval_duration provider "
    "prompt_filter_results headers status_code statusCode request_id body latency timestamp container context_management "
    "max_tool_calls prompt_cache_key prompt_cache_retention safety_identifier top_logprobs billing moderation presence_penalty "
    "frequency_penalty "
    "conversation _request_id x_groq citations".split()
)
"""Keys of a response that are read, or only describe it."""


def log_form(row: Row) -> Format:
    """The format of a log's row, by the API that its response comes from."""
    try:
        return _form(_unwrapped(row, "request"), _unwrapped(row, "response"))
    except BadRow:
        return Format.SESSION


def _form(request: dict[str, Any], response: dict[str, Any]) -> Format:
    if "choices" in response or isinstance(response.get("message"), dict):
        return Format.OPENAI_LOG
    if isinstance(response.get("output"), list) or ("input" in request and "messages" not in request):
        return Format.RESPONSES_LOG
    return Format.GEMINI if "contents" in request else Format.SESSION


def read_log(row: Row, unread: Unread) -> Example:
    """Read a row with `request` and `response` into an `Example`.

    Raises:
        LeftOut: the request failed, or its answer was cut off within a call.
        BadRow: one of the two cannot be read.
    """
    response = _succeeded(row)
    request = _unwrapped(row, "request")
    form = _form(request, response)
    for name, value, known in (("request", request, REQUEST), ("response", response, RESPONSE)):
        if not known.issuperset(value):
            unread.update(f"{name}.{key}" for key in value if key not in known and value[key] not in EMPTY)
    if form is Format.RESPONSES_LOG:
        messages, trained = _responses(request, response, unread)
    elif form is Format.GEMINI:
        messages, trained = _gemini(request, response)
    else:
        messages, trained = _chat(request, response, unread)
    if TOOLS.isdisjoint(request):
        return Example(form, messages, trained, [])
    return Example(form, messages, trained, tool_definitions(_either(request, *TOOLS), "request.tools", unread))


def _chat(request: dict[str, Any], response: dict[str, Any], unread: Unread) -> tuple[list[Message], list[int]]:
    history = request.get("messages")
    if not isinstance(history, list) or not history:
        raise BadRow("request.messages is not a list of messages" if history is not None else "request has no messages")
    messages = system_text(request.get("system"), "request.system") + read_messages(history, "request.messages", unread)[0]
    answer, where, stop = _answer(response, unread)
    message = _words_alone(answer)
    if message is None:
        (message,), _ = read_message({**answer, "role": "assistant"}, where, unread)
    if is_cut(stop):
        message["cut"] = True
    _not_within_a_call(message)
    return [*messages, message], [len(messages)]


def _words_alone(answer: Message) -> Message | None:
    """An answer that is words and nothing else, as most are."""
    content = answer.get("content")
    if type(content) is list and len(content) == 1:
        content = only_text(content[0])
    return {"role": "assistant", "content": content} if type(content) is str and len(answer) == 1 + ("role" in answer) else None


def _answer(response: dict[str, Any], unread: Unread) -> tuple[Message, str, object]:
    """The message of a response, where it stands, and why it ended."""
    choices = response.get("choices")
    if isinstance(choices, list):
        choice = choices[0] if choices else None
        if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
            raise BadRow("response.choices has no message" if choices else "response.choices is empty")
        if len(choices) > 1:
            unread.add("response.choices after the first")
        return choice["message"], "response.choices[0].message", choice.get("finish_reason")
    inner = response.get("output")
    if isinstance(inner, dict) and isinstance(inner.get("message"), dict):  # Bedrock Converse
        return inner["message"], "response.output.message", response.get("stopReason")
    if isinstance(response.get("message"), dict):  # Ollama
        return response["message"], "response.message", response.get("done_reason")
    if response.get("content") is None:
        raise BadRow("response has no content")
    return {"content": response["content"]}, "response", response.get("stop_reason")


def _responses(request: dict[str, Any], response: dict[str, Any], unread: Unread) -> tuple[list[Message], list[int]]:
    for key in ("previous_response_id", "conversation", "prompt"):
        if request.get(key) not in EMPTY:
            raise BadRow(f"request.{key}: the turns before it are not in this row; log requests that hold their whole input")
    turns = ConversationBuilder(system_text(request.get("instructions"), "request.instructions"), learning=False)
    items = request.get("input")
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    if not isinstance(items, list) or not items:
        raise BadRow("request has no input")
    turns.add_all(items, "request.input", unread)
    output = response.get("output")
    if not isinstance(output, list) or not output:
        raise BadRow("response has no output")
    turns.learning = True
    turns.add_all(output, "response.output", unread)
    if not turns.trained:
        raise BadRow("response.output has no message of the assistant")
    details = response.get("incomplete_details")
    if response.get("status") == "incomplete" or (isinstance(details, dict) and is_cut(details.get("reason"))):
        turns.messages[-1]["cut"] = True
    _not_within_a_call(turns.messages[-1])
    return one_system(turns.messages, turns.trained)


def _gemini(request: dict[str, Any], response: dict[str, Any]) -> tuple[list[Message], list[int]]:
    system = _either(request, "systemInstruction", "system_instruction")
    messages = gemini_messages(request.get("contents"), "request.contents")[0]
    if system not in EMPTY:
        messages = [*gemini_system(system, "request.systemInstruction"), *messages]
    candidates = response.get("candidates")
    first = candidates[0] if isinstance(candidates, list) and candidates else None
    if not isinstance(first, dict) or not isinstance(first.get("content"), dict):
        raise BadRow("response has no candidates with a content")
    (message,) = content_messages(first["content"], "response.candidates[0].content", "model")[-1:]
    if is_cut(first.get("finishReason")):
        message["cut"] = True
    _not_within_a_call(message)
    return [*messages, message], [len(messages)]


def gemini_system(value: object, where: str) -> list[Message]:
    """The messages of a system instruction, which is a content without a role, or a string."""
    if isinstance(value, str):
        return [{"role": "system", "content": value}]
    return [{"role": "system", "content": message["content"]} for message in content_messages(value, where, "system")]


def _not_within_a_call(message: Message) -> None:
    if message.get("cut") and message.get("tool_calls"):
        raise LeftOut(CUT_CALLS, "the answer was cut off within a call, which is not whole")


def _succeeded(row: Row) -> dict[str, Any]:
    """The response of a request that did not fail; a failed one is left out as such whatever it holds, a page in HTML perhaps."""
    if row.get("response") is None:
        if row.get("error") not in EMPTY:
            raise LeftOut(FAILED, f"a failed request: {_words(row['error'])}")
        raise BadRow("request without response (session)")
    wrapped = row["response"]
    _not_failed(row)
    if isinstance(wrapped, dict):
        _not_failed(wrapped)
    response = _unwrapped(row, "response")
    if response is not wrapped:
        _not_failed(response)
    if response.get("type") == "error" or response.get("status") in ("failed", "cancelled"):
        raise LeftOut(FAILED, f"a failed request: {response.get('status') or 'a response of type error'}")
    return response


def _not_failed(holder: Row) -> None:
    if FAILING.isdisjoint(holder):
        return
    error = holder.get("error")
    if error not in EMPTY and error is not False:
        raise LeftOut(FAILED, f"a failed request: {_words(error)}")
    for key in STATUS:
        status = holder.get(key)
        if isinstance(status, int) and status >= ERROR_STATUS:
            raise LeftOut(FAILED, f"a failed request: status {status}")


def _words(error: object) -> str:
    if isinstance(error, dict):
        error = error.get("message") or error.get("type") or error
    return str(error)[:200]


def _unwrapped(row: Row, key: str) -> dict[str, Any]:
    """A request or a response: the object itself, or what a gateway's `body` holds of it, either perhaps as JSON text."""
    value: Any = row[key]
    where = key
    for _ in range(3):
        if isinstance(value, str):
            if value.lstrip().startswith(("data:", "event:")):
                raise BadRow(f"{where} is a stream of events; log the whole message that they make")
            value = parsed(value, where)
        if not isinstance(value, dict):
            raise BadRow(f"{where} is {name_of(value)}, not an object")
        body = value.get("body")
        if not isinstance(body, (dict, str)) or not body or "messages" in value or "content" in value:
            return value
        value, where = body, f"{where}.body"
    return value  # type: ignore[no-any-return]


def _either(holder: dict[str, Any], *keys: str) -> object:
    return next((holder[key] for key in keys if holder.get(key) not in EMPTY), None)
