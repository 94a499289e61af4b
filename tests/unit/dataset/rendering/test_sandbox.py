"""A model's chat template is a stranger's program: what it may do is limited, and what honest ones do is not."""

import subprocess
import sys
from typing import Any

import pytest

from llmlab.dataset.rendering import sandbox
from llmlab.dataset.rendering.limits import TooMuch
from llmlab.dataset.rendering.template import LONG_AGO

TALK = [{"role": "user", "content": "Is it up?"}, {"role": "assistant", "content": "Yes."}]


def render(source: str, messages: Any = TALK) -> str:
    return sandbox.render(source, messages, [], {"eos_token": "</s>"}, LONG_AGO, prompt=False, marks=False)[0]


def again(times: int, body: str) -> str:
    return "{%- set ns = namespace(s='aaaa', l=[]) -%}{%- for i in range(" + str(times) + ") -%}" + body + "{%- endfor -%}"


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) | map('string') %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% for a in range(99999) %}{{ 'x' * 99999 }}{% endfor %}",
        "{{ 'x' * 9999999999 }}",
        "{{ 10 ** 9999999999 }}",
        again(99, "{% set ns.i = (ns.i or 9) * (ns.i or 9) %}"),
        again(60, "{% set ns.s = ns.s + ns.s %}"),
        again(60, "{% set ns.s = ns.s ~ ns.s %}"),
        again(60, "{% set ns.s = ns.s.replace('a', 'aaaa') %}"),
        again(60, "{% set ns.s = ns.s | replace('a', 'aaaa') %}"),
        again(60, "{% set ns.s = '%s%s' % (ns.s, ns.s) %}"),
        again(60, "{% set ns.s = '{}{}'.format(ns.s, ns.s) %}"),
        again(60, "{% set ns.s = [ns.s, ns.s] | join %}"),
        again(60, "{% set ns.s = ns.s.join(['', '', '']) %}"),
        again(60, "{% set more %}{{ ns.s }}{{ ns.s }}{% endset %}{% set ns.s = more %}"),
        again(60, "{% set ns.l = ns.l + ns.l + [1] %}"),
        again(60, "{% set ns.l = [ns.l, ns.l] %}") + "{{ ns.l }}",
        again(60, "{% set ns.l = [ns.l, ns.l] %}") + "{{ 'a' ~ ns.l }}",
        again(60, "{% set ns.l = [ns.l, ns.l] %}") + "{{ ns.l | tojson }}",
        "{{ 'a'.center(999999999) }}",
        "{{ 'a' | center(999999999) }}",
        "{{ 'a'.ljust(999999999) }}",
        "{{ '%999999999d' % 1 }}",
        "{{ '%*d' % (99999999, 1) }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{{ '{:{w}}'.format(1, w=999999999) }}",
        "{{ 1 | round(999999999) }}",
        "{{ lipsum(n=99999999) }}",
        "{{ messages | tojson(indent=999999999) }}",
    ],
)
def test_what_would_never_end_or_fill_the_memory_is_stopped(source: str) -> None:
    with pytest.raises(TooMuch, match="the chat template of the model was stopped: it"):
        render(source)


def test_honest_work_on_large_conversations_is_not_limited() -> None:
    talk = [{"role": "user", "content": "word " * 40_000}, {"role": "assistant", "content": "a" * 300_000}] * 2
    pairs = "{%- set ns = namespace(n=0) -%}{%- for a in messages -%}{%- for b in messages -%}{%- set ns.n = ns.n + 1 -%}{%- endfor -%}"
    text = render(pairs + "{{ a.content ~ (a.content | trim) + a.content.replace('a', 'bb') + eos_token }}{%- endfor -%}{{ ns.n }}", talk)
    assert text.endswith("</s>16")
    assert len(text) > 3_000_000
    many = [{"role": "user", "content": "a longer question than that one"}] * 300
    assert render(pairs + "{%- endfor -%}{{ ns.n }}", many) == str(300**2)
    assert render("{{ messages[0].content % (1000000, 2000000) }}", [{"content": "%d %d"}]) == "1000000 2000000"
    assert render("{{ '**%s** 20240101' % 1234567 }}{{ nothing | default(7654321) }}") == "**1234567** 202401017654321"


def test_a_namespace_takes_no_name_of_pythons_own() -> None:
    with pytest.raises(Exception, match="may not set '__class__'"):
        render("{% set ns = namespace() %}{% set ns.__class__ = 1 %}")


def test_templates_are_rendered_without_torch_and_transformers() -> None:
    code = "import sys; import llmlab.dataset.rendering.drafts as d; print({'torch', 'transformers', 'trl', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
