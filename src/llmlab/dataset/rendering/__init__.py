"""Render examples with a chat template as the text that a model sees, with the spans that carry loss: on the laptop as on the instance.

In reading order: `drafts` (an example → one text or several, with their spans), `edges`, `shown` and `unfinished` (where an answer begins,
whether it is there, where one that was cut off ends), `template` (one model's template, and what it wants of messages), `sandbox` (the text
that a template makes). The trainer and the checks before a run read through the same functions, so that they say the same of a row.
"""
