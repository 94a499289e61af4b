"""The two shapes that are trained, made on the spot: a tokenizer, a random Llama, and chats with a long tail of lengths.

Everything follows from the seed, so that two machines train the same tokens. Each shape is a folder:

    model/           a model with its tokenizer, whose chat template marks the assistant's words
    chat/train.jsonl the rows as `messages`
    text/train.jsonl the same rows as `text`, rendered by the template: loss on all tokens, and token for token the same
    tokens.json      the same rows as token ids

A chat ends with the end token and nothing after it, because programs differ in what they append behind one.
"""

import json
import math
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

SEED = 7
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")
SYSTEM = "You are a careful operations assistant."
TEMPLATE = (
    "{%- for m in messages -%}{{- ('' if loop.first else '\n') + '<|im_start|>' + m.role + '\n' -}}"
    "{%- if m.role == 'assistant' -%}{%- generation -%}{{- m.content + '<|im_end|>' -}}{%- endgeneration -%}"
    "{%- else -%}{{- m.content + '<|im_end|>' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '\n<|im_start|>assistant\n' -}}{%- endif -%}"
)


@dataclass(frozen=True)
class Shape:
    """A model and its rows. `words` is the size of the made-up language, which decides how large a vocabulary can be learned."""

    name: str
    hidden: int
    inner: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int
    words: int
    rows: int


SMALL = Shape("small", 512, 1408, 8, 8, 4, vocabulary=2048, words=1500, rows=128)
MID = Shape("mid", 768, 2048, 6, 12, 6, vocabulary=32_000, words=40_000, rows=48)
SHAPES = {shape.name: shape for shape in (SMALL, MID)}
POSITIONS = 4096


def make(folder: Path, shape: Shape, rows: int | None = None) -> Path:
    """The shape's folder, made unless it is there. `rows` asks for another number of them, in a folder of its own."""
    place = folder / (shape.name if rows is None else f"{shape.name}-{rows}")
    facts = json.dumps({**asdict(shape), "rows": rows or shape.rows, "seed": SEED}, indent=1)
    done = place / "shape.json"
    if done.is_file() and done.read_text(encoding="utf-8") == facts:
        return place
    place.mkdir(parents=True, exist_ok=True)
    chance = random.Random(SEED)
    language = vocabulary_of(shape.words, chance)
    tokenizer = learn_tokenizer(language, shape.vocabulary)
    save_model(place / "model", tokenizer, shape)
    write_rows(place, tokenizer, list(chats(language, rows or shape.rows, chance)))
    done.write_text(facts, encoding="utf-8")
    return place


def vocabulary_of(words: int, chance: random.Random) -> list[str]:
    """Distinct made-up words, the short ones first, as in a real language where they are the frequent ones."""
    syllables = [a + b for a in "b c d f g k l m n p r s t v st tr ch".split() for b in "a e i o u ai ou er in".split()]
    found: dict[str, None] = {}
    while len(found) < words:
        found["".join(chance.choices(syllables, k=chance.choice((1, 2, 2, 3, 3, 4))))] = None
    return sorted(found, key=lambda word: (len(word), word))


def learn_tokenizer(language: list[str], vocabulary: int) -> Any:
    """A byte-level BPE of at most `vocabulary` tokens, learned from every word of the language, the frequent ones more often."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = bytes_of
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    counted = ((f" {word}" * (1 + 2000 // (rank + 1))) for rank, word in enumerate(language))
    tokenizer.train_from_iterator((*counted, "system\nuser\nassistant\n", SYSTEM), trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|pad|>", model_max_length=POSITIONS)
    wrapped.chat_template = TEMPLATE
    return wrapped


def save_model(folder: Path, tokenizer: Any, shape: Shape) -> None:
    """A Llama with random weights in float32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def chats(language: list[str], count: int, chance: random.Random) -> Iterator[dict[str, Any]]:
    """Rows of one or two turns. The answers' lengths are log-normal, at even quantiles: most are short, and some are long for any count."""
    weights = [1 / (rank + 10) for rank in range(len(language))]
    normal = NormalDist(0.5, 1.15)
    sentences = [max(1, int(math.exp(normal.inv_cdf((rank + 0.5) / count)))) for rank in range(count)]
    chance.shuffle(sentences)

    def words(least: int, most: int) -> str:
        return " ".join(chance.choices(language, weights, k=chance.randint(least, most)))

    for length in sentences:
        messages = [{"role": "system", "content": SYSTEM}]
        for said in chance.choice(((length,), (length,), (length, 1), (1, length))):
            messages.append({"role": "user", "content": f"How do I {words(3, 8)}?"})
            messages.append({"role": "assistant", "content": " ".join(f"You {words(6, 14)}." for _ in range(said))})
        yield {"messages": messages}


def write_rows(folder: Path, tokenizer: Any, rows: list[dict[str, Any]]) -> None:
    """The rows in every form a contestant reads.

    Raises:
        AssertionError: the text does not give the tokens that the template gives.
    """
    texts = [tokenizer.apply_chat_template(row["messages"], tokenize=False) for row in rows]
    tokens = [list(tokenizer.apply_chat_template(row["messages"], tokenize=True, return_dict=True)["input_ids"]) for row in rows]
    assert tokens == [tokenizer(text)["input_ids"] for text in texts], "a rendered chat gives other tokens than the template"
    _write_lines(folder / "chat" / "train.jsonl", rows)
    _write_lines(folder / "text" / "train.jsonl", [{"text": text} for text in texts])
    (folder / "tokens.json").write_text(json.dumps(tokens), encoding="utf-8")


def _write_lines(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
