"""A prompt to the likeliest answer: greedy, so that the same question gets the same answer."""

from typing import Any


def encode(tokenizer: Any, prompt: str) -> Any:
    if not tokenizer.chat_template:
        return tokenizer(prompt, return_tensors="pt")
    messages = [{"role": "user", "content": prompt}]
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)


def generate(model: Any, tokenizer: Any, coded: Any, most_tokens: int) -> str:
    import torch

    with torch.inference_mode():
        ids = model.generate(**coded, max_new_tokens=most_tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    text: str = tokenizer.decode(ids[0, coded["input_ids"].shape[1] :], skip_special_tokens=True)
    return text.strip()
