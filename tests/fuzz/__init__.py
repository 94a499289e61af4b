"""Everything that llmlab reads and did not write in the same breath, fed with anything.

A target takes bytes and raises only when a law is broken: any bytes give a value or the one error that is documented, with a sentence and
a hint; what was read can be written and read again. `corpus/TARGET/` holds meaningful inputs and every one that ever broke a law.
`python -m tests.fuzz TARGET --seconds 600` looks for more, led by coverage (atheris, on libFuzzer).
"""
