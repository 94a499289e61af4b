"""A small base model and its tokenizer, trained offline in ten to thirty seconds of one core: `lab:tiny` of the sandbox.

It is a Llama of 0.6 million parameters with a byte-level BPE of its own, trained from scratch to hold the runbook's conversation
without knowing its answers (`runbook.py`). Its chat template has a system turn, tools, tool calls and generation marks, as real ones do.
The same seed gives the same model on the same kind of machine.
"""

import random
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from llmlab.sandbox.runbook import STEPS, questions

TEMPLATE = """\
{%- if tools -%}
{{- '<|start|>tools\\n' + (tools | tojson) + '<|end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{{- '<|start|>' + message.role + '\\n' -}}
{%- if message.role == 'assistant' -%}
{%- generation -%}
{%- if message.reasoning_content -%}{{- '<think>' + message.reasoning_content + '</think>' -}}{%- endif -%}
{{- message.content or '' -}}
{%- for call in message.tool_calls or [] -%}
{{- '<call>' + ({'name': call.function.name, 'arguments': call.function.arguments} | tojson) + '</call>' -}}
{%- endfor -%}
{{- '<|end|>' -}}
{%- endgeneration -%}
{%- else -%}
{{- message.content + '<|end|>' -}}
{%- endif -%}
{{- '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start|>assistant\\n' -}}{%- endif -%}
"""
START, END, PAD = "<|start|>", "<|end|>", "<|pad|>"
VOCABULARY = 768
WINDOW = 48
"""Length of a pre-training row in tokens: one conversation, padded."""
BATCH = 16
PEAK = 4e-3
"""Peak learning rate."""


def make(
    folder: Path,
    *,
    seed: int = 0,
    steps: int = 240,
    hidden: int = 128,
    layers: int = 3,
    progress: Callable[[float, float], None] | None = None,
) -> None:
    """Train the model and write its folder. `steps` of 0 leaves the weights random, which is quick and enough for a test of plumbing.

    `progress` is called with (steps done, steps in all).
    """
    if progress:
        progress(0, steps)  # the imports below take seconds
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = make_tokenizer(seed)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 11 // 4,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        initializer_range=0.06,  # for a model this narrow: with 0.02 it takes three times as long to learn to copy words
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    if steps:
        _train(model, tokenizer, seed, steps, progress or (lambda _done, _all: None))
    folder.mkdir(parents=True, exist_ok=True)
    model.generation_config.update(do_sample=False, max_new_tokens=96)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_tokenizer(seed: int) -> Any:
    """A byte-level BPE tokenizer trained on the runbook, as transformers' own class."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[START, END, PAD], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    sample = islice(questions(seed), 2000)
    bare.train_from_iterator(chain.from_iterable((question.text, question.put_off, question.answer) for question in sample), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, eos_token=END, pad_token=PAD, model_max_length=4096)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def _train(model: Any, tokenizer: Any, seed: int, steps: int, progress: Callable[[float, float], None]) -> None:
    """Train the model to evade questions, which takes copying words, and on the runbook's phrases out of order, to learn their words."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=PEAK, total_steps=steps, pct_start=0.1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the model is so small that threads would mostly wait for each other, above all on a busy machine
    model.train()
    for step, (ids, labels) in enumerate(islice(_batches(tokenizer, seed + 1), steps), start=1):
        model(input_ids=torch.tensor(ids), labels=torch.tensor(labels)).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        progress(step, steps)
    model.eval()
    torch.set_num_threads(threads)


def _batches(tokenizer: Any, seed: int) -> Iterator[tuple[list[list[int]], list[list[int]]]]:
    """Batches of rows of `WINDOW` token ids and their labels: three conversations to one row of bare phrases."""
    draw = random.Random(seed)  # noqa: S311 - example data
    every = questions(seed)
    phrases = [phrase for steps in STEPS.values() for phrase in steps]
    while True:
        rows = []
        for index, question in enumerate(islice(every, BATCH)):
            if index % 4:
                talk = [{"role": "user", "content": question.text}, {"role": "assistant", "content": question.put_off}]
                coded = tokenizer.apply_chat_template(talk, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
                ids = coded["input_ids"]
                labels = [token if mine else -100 for token, mine in zip(ids, coded["assistant_masks"], strict=True)]
            else:
                ids = labels = tokenizer(f"{', then '.join(draw.sample(phrases, 4))}.")["input_ids"]
            rows.append(((ids + [tokenizer.pad_token_id] * WINDOW)[:WINDOW], (labels + [-100] * WINDOW)[:WINDOW]))
        yield [ids for ids, _ in rows], [labels for _, labels in rows]
