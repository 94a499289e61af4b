"""The laptop's rendering of chat templates beside transformers' own, which is what serves a model."""

from datetime import datetime
from typing import Any

import pytest
from jinja2.exceptions import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from llmlab.dataset.rendering import sandbox
from llmlab.dataset.rendering.template import LONG_AGO, TOOL, twins
from tests.trainer import test_families as families
from tests.trainer.test_templates import TALKS, TOOLS, said, templates

NAMES = {"bos_token": "<s>", "eos_token": "</s>"}
JOINS = ("+", "~", "+ (c.function.arguments | tojson)", "+ (c.function.arguments | items | list | string)")
OWN = [families.OPEN, families.TURNS, families.CHANNELS, families.ENDLESS, *families.ALWAYS.values()]
OWN += [families.CALLING.replace("JOIN c.function.arguments", join + " c.function.arguments" * (len(join) == 1)) for join in JOINS]
# What templates use of Jinja beside loops: each line is one of them.
WAYS = [
    "{%- for m in messages if m.role != 'system' -%}{{ loop.index0 }}/{{ loop.length }}{{ loop.last }}{{ loop.previtem }}{%- endfor -%}",
    "{%- for m in messages -%}{%- if loop.index0 == 1 -%}{%- break -%}{%- endif -%}{{ m.content }}{%- endfor -%}",
    "{%- for m in messages | reverse -%}{{ m.content }}{{ loop.revindex }}{%- else -%}none{%- endfor -%}",
    "{%- for m in messages | map(attribute='role') -%}{{ m }}{{ loop.length }}{%- endfor -%}{%- for x in nothing -%}{{ x }}{%- endfor -%}",
    "{%- set ns = namespace(n=0, t='') -%}{%- for m in messages -%}{%- set ns.t = ns.t ~ m.content ~ 1 -%}{%- endfor -%}{{ ns.t }}",
    "{%- macro show(m, n=2000000) -%}{{ m.role }}{{ n }}{%- endmacro -%}{%- for m in messages -%}{{ show(m) }}{%- endfor -%}",
    "{{ messages[1:] }}{{ messages[-1].content[:3] }}{{ messages | length }}{{ (messages | first).role | upper }}{{ 7 // 2 * 3 % 4 ** 1 }}",
    "{{ messages | tojson }}{{ messages | tojson(indent=2) }}{{ {'ä<': none} | tojson }}{{ 'a%sb' % 'ä' }}{{ 'a' ~ none ~ true }}",
    "{%- for k, v in dict(a=1, b='x').items() -%}{{ k }}{{ v }}{%- endfor -%}{{ strftime_now('%d') | length }}{{ [1] + [3] }}{{ 'a' * 3 }}",
    "{%- set x -%} {{ messages[0].content }} {%- endset -%}{{ x | trim }}{{ x.split('e') }}{{ x.replace('s', 'zz') | replace('t', 'q') }}",
    "{{ raise_exception('Conversation roles must alternate') }}",
    "{{ messages[99].content }}{{ nothing }}{{ nothing.more }}",
    "{{ 'a' + 1 }}",
    "{% if %}",
    "{{ range(1000000) | list }}",
    "{{ [1, [2]] | string }}{{ {'a': [1]} }}{{ (1, 'x') }}{{ 1.5 }}{{ '%5d|%-3s|' % (3, 'a') }}{{ '{:>4}{}'.format(1, 'x') }}",
    "{%- for m in messages recursive -%}{{ m.role or m }}{%- if m.role -%}{{ loop([m.content]) }}{%- endif -%}{%- endfor -%}",
    "{% for m in messages %}\n  {% if m.role == 'user' %}\n  {{ m.content }}\n  {% endif %}\n{% endfor %}\n\n",
    "{{ documents is none }}{{ tools is none }}{{ add_generation_prompt }}{{ bos_token }}{{ messages[-1].thinking }}",
    "{%- for m in messages -%}{%- if m.role != 'user' -%}{% generation %}{{ m.content }}!{% endgeneration %}{%- endif -%}{%- endfor -%}",
]


def both(source: str, messages: list[Any], tools: list[Any], *, prompt: bool, marks: bool) -> tuple[Any, Any]:
    """What each makes of a conversation: the text and the spans, or the class and the words of the refusal."""

    def theirs() -> Any:
        made = render_jinja_template(
            conversations=[messages], tools=tools or None, chat_template=source, return_assistant_tokens_mask=marks,
            add_generation_prompt=prompt, **NAMES,
        )  # fmt: skip
        return made[0][0], made[1][0] if marks else []

    def ours() -> Any:
        return sandbox.render(source, messages, tools, NAMES, LONG_AGO, prompt=prompt, marks=marks)

    def tried(render: Any) -> Any:
        try:
            return render()
        except (TemplateError, TypeError, KeyError, ValueError, AttributeError, ArithmeticError) as error:
            return type(error), str(error)

    return tried(theirs), tried(ours)


@pytest.mark.slow
def test_every_template_is_rendered_as_transformers_renders_it() -> None:
    published = [*templates().values(), *twins().values()]
    sources = [*OWN, *WAYS, *(source for source in published if "strftime_now" not in source)]
    several = said("assistant", "", tool_calls=[families.call("Oslo"), families.call("Rome")])
    talks = [*TALKS.values(), ([families.USER, several, families.RESULT], families.GET), ([said("user", "a"), said("user", "b")], [])]
    talks += [([], []), ([said("user", "<b> & 'é\u2028'")], [TOOL])]
    refused = 0
    for source in sources:
        for messages, tools in talks:
            for prompt, marks in ((False, False), (True, False), (False, "endgeneration" in source)):
                theirs, ours = both(source, messages, tools, prompt=prompt, marks=marks)
                assert ours == theirs, source
                refused += isinstance(ours[0], type)
    assert len(sources) > 80
    assert refused > 100


@pytest.mark.parametrize("form", ["'%d %b %Y'", "'%d' ~ ' %b %Y'", "form"])
def test_a_date_is_the_one_that_the_template_is_told(form: str) -> None:
    source = "{%- set form = '%d %b %Y' -%}{{ strftime_now(FORM) }}".replace("FORM", form)
    assert sandbox.render(source, [], [], {}, LONG_AGO, prompt=False, marks=False)[0] == datetime(2024, 7, 26).strftime("%d %b %Y")  # noqa: DTZ001
    assert TOOLS
