"""Chats made up for measuring: as many bytes of them as asked for, the same ones every time."""

import random
from pathlib import Path

import orjson


def make(file: Path, size: int) -> Path:
    """Write chats of one to three turns, 2.4 KB on average, no two of them the same, until the file is this large."""
    chance = random.Random(1)
    texts = texts_of(1)
    number = 0
    with file.open("wb") as out:
        while out.tell() < size:
            number += 1
            messages = [{"role": "system", "content": "Be brief."}] if number % 3 == 0 else []
            for _ in range(chance.choice([1, 1, 1, 2, 3])):
                messages.append({"role": "user", "content": f"{number} {chance.choice(texts)}"})
                messages.append({"role": "assistant", "content": chance.choice(texts)})
            out.write(orjson.dumps({"messages": messages}) + b"\n")
    return file


def texts_of(seed: int) -> list[str]:
    """Texts of five to two hundred of five thousand words, with the commas and line ends of prose."""
    chance = random.Random(seed)
    words = ["".join(chance.choices("etaoinshrdlucmfw", k=chance.randint(2, 9))) for _ in range(5000)]
    words += [f"{word}{mark}" for word in words[:300] for mark in (",", ".", ".\n")]
    return [" ".join(chance.choices(words, k=chance.randint(5, 200))) for _ in range(3000)]
