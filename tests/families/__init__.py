"""Every family of causal language models that transformers has, tiny and random, through the trainer's own entry point.

`python -m tests.families --way lora` trains each and prints one document; `--only llama` says how one went. A family is trained, or refused
before its first step in one sentence with a hint; whatever else happens is wrong.
"""
