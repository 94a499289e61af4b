"""An Ollama Modelfile for what was trained, with a prompt template only where it is known to say what the model was trained on.

Ollama's templates are Go's (https://github.com/ollama/ollama/blob/main/docs/template.md), chat templates are Jinja. Most chat templates do
no more than put words before and after each message; those words are found by rendering a conversation of placeholders, and believed
only if they give the same text as the template itself for every conversation of `PROBES`. Anything cleverer gets no TEMPLATE, and a
comment instead of a wrong one.
"""

import re
from dataclasses import dataclass
from typing import Any

from llmlab.trainer.model import stop_tokens

SYSTEM, USER, ASSISTANT = "system", "user", "assistant"
PROBES: tuple[tuple[tuple[str, str], ...], ...] = (
    ((USER, "one"),),
    ((SYSTEM, "be brief"), (USER, "one")),
    ((USER, "one"), (ASSISTANT, "two"), (USER, "three")),
    ((SYSTEM, "be brief"), (USER, "one"), (ASSISTANT, "two\nand more"), (USER, "three"), (ASSISTANT, "four"), (USER, "five")),
)
MARKS = {SYSTEM: "\u0001", USER: "\u0002", ASSISTANT: "\u0003"}


@dataclass(frozen=True)
class Words:
    """What a chat template puts around messages. `without_system` opens a conversation that has no system message, `ask` ends a prompt."""

    around: dict[str, tuple[str, str]]
    without_system: str
    ask: str

    def render(self, messages: tuple[tuple[str, str], ...]) -> str:
        start = "" if messages[0][0] == SYSTEM else self.without_system
        return start + "".join(self.around[role][0] + text + self.around[role][1] for role, text in messages) + self.ask

    def go(self) -> str:
        """The same as Ollama's template."""
        roles = "{{ else }}".join(
            f'{{{{ if eq .Role "{role}" }}}}{before}{{{{ .Content }}}}{after}' for role, (before, after) in self.around.items()
        )
        start = f"{{{{ if not .System }}}}{self.without_system}{{{{ end }}}}" if self.without_system else ""
        return f"{start}{{{{ range .Messages }}}}{roles}{'{{ end }}' * len(self.around)}{{{{ end }}}}{self.ask}"


def modelfile(tokenizer: Any, source: str, adapter: str = "", *, base: str = "") -> str:
    """The Modelfile of a model in the folder or of the name `source`, with the adapter in the folder `adapter` when there is one."""
    words = words_of(tokenizer)
    lines = ["# ollama create NAME -f Modelfile"]
    if base:
        lines.append(f"# FROM is the folder of the base model {base}, the very one that was trained on.")
    lines.append(f"FROM {source}")
    if adapter:
        lines.append(f"ADAPTER {adapter}")
    if words is None:
        lines.append(
            "# No TEMPLATE: the chat template does more than put words around messages, so Ollama's own for this family has to do."
        )
    else:
        lines.append(f'TEMPLATE """{words.go()}"""')
    lines += [f"PARAMETER stop {_quoted(token)}" for token in stop_tokens.taught(tokenizer)]
    return "\n".join(lines) + "\n"


def words_of(tokenizer: Any) -> Words | None:
    """The words around messages, None where the template does more than that."""
    if not tokenizer.chat_template:
        return None
    try:
        words = _read(tokenizer)
        same = all(words.render(probe) == _rendered(tokenizer, probe) for probe in PROBES)
    except Exception:  # noqa: BLE001 - a template may refuse any of these conversations, in any way Jinja knows
        return None
    every = [words.without_system, words.ask, *(text for pair in words.around.values() for text in pair)]
    return words if same and not any('"""' in text or "{{" in text for text in every) else None


def _read(tokenizer: Any) -> Words:
    """The words, from conversations of placeholders that end with each role."""
    system, user, assistant = ((role, MARKS[role]) for role in (SYSTEM, USER, ASSISTANT))
    talk = (system, user, assistant, user)
    whole = _rendered(tokenizer, talk, ask=False)
    before_system, between, answer, again, after_user = re.split("[\u0001-\u0003]", whole)
    after_answer = _rendered(tokenizer, (user, assistant), ask=False).partition(MARKS[ASSISTANT])[2]
    before_user = again.removeprefix(after_answer)
    around = {
        SYSTEM: (before_system, between.removesuffix(before_user)),
        USER: (before_user, after_user),
        ASSISTANT: (answer.removeprefix(after_user), after_answer),
    }
    alone = _rendered(tokenizer, (user,)).partition(MARKS[USER])[0]
    return Words(around, alone.removesuffix(before_user), _rendered(tokenizer, talk).removeprefix(whole))


def _rendered(tokenizer: Any, messages: tuple[tuple[str, str], ...], *, ask: bool = True) -> str:
    """A prompt as text, without the token that begins every text: Ollama puts that there itself."""
    talk = [{"role": role, "content": text} for role, text in messages]
    text: str = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=ask)
    return text.removeprefix(tokenizer.bos_token or "")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
