"""Render a conversation with a chat template in a sandbox: with what transformers gives to its templates, without transformers.

A template comes with a model and is a stranger's program. It runs in Jinja's sandbox for untrusted templates
(https://jinja.palletsprojects.com/en/stable/sandbox/), which keeps it from the program around it and not from the machine's time and
memory: "the sandbox alone is no solution for perfect security … limits on resources". So its loops and calls are counted, and the length
of what it makes is limited, both by the size of its inputs. The variables of a template, and the names it may call, are those of
transformers: https://huggingface.co/docs/transformers/main/en/chat_templating_writing. A test holds the two together.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from datetime import datetime
from functools import lru_cache, wraps
from typing import Any

from jinja2 import Template, nodes, pass_eval_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from llmlab.dataset.rendering.limits import (
    CHARACTERS_A_STEP,
    GROWING,
    JUDGED,
    LARGEST_NUMBER,
    LENGTH,
    MOST_BITS,
    STEPS_A_CALL,
    WIDENING,
    WRITING,
    Rendering,
    Span,
    TooMuch,
    grown,
    product,
    weight,
)  # fmt: skip

LOOPED = "llmlab_looped"
"""The filter that loops go through."""


def render(
    source: str, messages: Sequence[Any], tools: Sequence[Any], names: Mapping[str, str], today: datetime, *, prompt: bool, marks: bool
) -> tuple[str, list[Span]]:
    """The text of a conversation, and, with `marks`, the spans that the template's marks (`{% generation %}`) enclose.

    Raises:
        TooMuch: the template does more than any honest one.
        TemplateError: it cannot be read, or refuses the messages.
        Exception: whatever its own expressions raise: TypeError, KeyError, ValueError and their like.
    """
    environment, template = compiled(source)
    rendering = Rendering(inputs=(messages, tools), today=today, marks=marks)
    environment.rendering = rendering
    variables = {"messages": [_aliased(message) for message in messages], "tools": list(tools) or None, "documents": None}
    chunks = []
    for chunk in template.root_render_func(template.new_context({**variables, "add_generation_prompt": prompt, **names})):
        rendering.written += len(chunk)
        if rendering.written > rendering.length:
            rendering.count_text(rendering.written)
        chunks.append(chunk)
    rendering.count_text(rendering.written)
    return "".join(chunks), rendering.spans


@lru_cache(maxsize=64)
def compiled(source: str) -> tuple["TemplateSandbox", Template]:
    """Compile a template: its environment, and the template in it."""
    environment = TemplateSandbox()
    return environment, environment.from_string(source)


def _aliased(message: Any) -> Any:
    """A message whose thoughts stand under both names, as transformers gives them."""
    thoughts = message.get("reasoning_content")
    return message if thoughts is None else {"thinking": thoughts, **message}


# ---------------------------------------------------------------- what a template may call


class _Marks(Extension):
    """`{% generation %} … {% endgeneration %}`: what the assistant says, which the text does not show."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own name for it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

    @pass_eval_context
    def _marked(self, _context: nodes.EvalContext, caller: Callable[[], str]) -> str:
        text = caller()
        rendering: Rendering = self.environment.rendering  # type: ignore[attr-defined]
        if rendering.marks:
            rendering.spans.append((rendering.written, rendering.written + len(text)))
        return text


class _Names(Namespace):
    """A template's own variables, none of which begins with an underscore."""

    def __init__(*args: Any, **attributes: Any) -> None:
        names, *more = args
        Namespace.__init__(names, *more, **attributes)
        for name in dict(*more, **attributes):
            _check_name(name)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a template may not set {name!r}")


class _Dictionaries:
    """What a template knows as `dict`."""

    def __call__(self, *items: Any, **more: Any) -> dict[Any, Any]:
        return dict(*items, **more)

    def fromkeys(self, *arguments: Any) -> dict[Any, Any]:
        return dict.fromkeys(*arguments)


def _refuses(message: str) -> None:
    raise TemplateError(message)


def _tojson(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: tuple[str, str] | None = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


# ---------------------------------------------------------------- and how it is counted


class _CountingCodeGenerator(CodeGenerator):
    """Generates Python code in which joins and slices are calls too, so that they can be counted."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - Jinja's name
        self.write("environment.joined((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802 - Jinja's name
        if not isinstance(node.arg, nodes.Slice):
            super().visit_Getitem(node, frame)
            return
        self.write("environment.part(")
        super().visit_Getitem(node, frame)
        self.write(")")


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox for untrusted templates, which counts what they do. One rendering at a time."""

    code_generator_class = _CountingCodeGenerator
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_Marks, loopcontrols], cache_size=0, finalize=self.shown)
        self.rendering = Rendering()
        self.concat = self.joined  # type: ignore[method-assign]
        self.filters["tojson"] = _tojson
        self.filters = {name: self._counted(name, call) for name, call in self.filters.items()}
        self.filters[LOOPED] = self._looped
        self.globals.update(raise_exception=_refuses, strftime_now=self._now, dict=_Dictionaries(), namespace=_Names)

    def _now(self, form: str) -> str:
        assert self.rendering.today
        return self.rendering.today.strftime(form)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """The template, with its loops over what counts their turns."""
        tree = super()._parse(source, name, filename)
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = nodes.Filter(loop.iter, LOOPED, [], [], None, None).set_lineno(loop.lineno)
        return tree

    def _looped(self, value: Any) -> Any:
        if isinstance(value, Sized):
            self.rendering.step(len(value))
            return value
        return self._each(value)

    def _each(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self.rendering.step()
            yield value

    def joined(self, parts: Iterable[Any]) -> str:
        texts = []
        length = 0
        for part in parts:
            text = part if type(part) is str else str(self.shown(part))
            length += len(text)
            if length > LENGTH:
                self.rendering.count_text(length)
            texts.append(text)
        self.rendering.count_text(length)
        return "".join(texts)

    def shown(self, value: Any) -> Any:
        """Count a value that becomes text, and return it."""
        if isinstance(value, list | tuple | dict):
            self.rendering.count_text(weight(value, self.rendering.longest))
        return value

    def part(self, value: Any) -> Any:
        if isinstance(value, Sized):
            self.rendering.step(1 + len(value) // CHARACTERS_A_STEP)
        return value

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805, PYI063 - Jinja's signature
        method = getattr(__obj, "__wrapped__", __obj)  # the sandbox has a format of its own
        __self._judge(getattr(method, "__name__", ""), getattr(method, "__self__", None), args, kwargs)
        return __self._counted_result(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Calculate sums and products once it is known how large they get."""
        if operator == "+" and isinstance(left, str | list | tuple) and isinstance(right, Sized):
            self.rendering.count_text(len(left) + len(right))
            return left + right  # type: ignore[operator] # which raises as it would in the template
        if operator == "%" and isinstance(left, str):
            self._judge("format", left, right if isinstance(right, tuple) else (right,), {})
        elif operator in {"*", "**"}:
            self.rendering.count_text(product(operator, left, right))
        return self._counted_result(super().call_binop(context, operator, left, right))

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """A filter that is counted."""
        passed = 1 if getattr(call, "jinja_pass_arg", None) else 0

        @wraps(call)
        def counted(*args: Any, **kwargs: Any) -> Any:
            subject, *more = args[passed:] or (None,)
            self._judge(name, subject, more, kwargs)
            return self._counted_result(call(*args, **kwargs))

        return counted

    def _judge(self, name: str, subject: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Stop a call whose result would be larger than any text, before it is made."""
        self.rendering.step(STEPS_A_CALL)
        if name not in JUDGED:
            return
        numbers = (*args, *kwargs.values()) if name in WIDENING else ()
        if any(isinstance(value, int) and value > LARGEST_NUMBER for value in numbers):
            raise TooMuch(f"it calls {name} with a number over {LARGEST_NUMBER:,}")
        if name in WRITING:
            self.shown(subject)
        if name in GROWING:
            self.rendering.count_text(grown(name, subject, args))

    def _counted_result(self, result: Any) -> Any:
        if isinstance(result, str):
            self.rendering.count_text(len(result))
        elif isinstance(result, list | tuple | dict):
            self.rendering.step(1 + len(result) // CHARACTERS_A_STEP)
        elif isinstance(result, int) and result.bit_length() > MOST_BITS:
            raise TooMuch("it calculates with numbers of a thousand digits")
        return result
