"""The model and its loss, made to compute only what counts.

`load` brings model and tokenizer and puts on what will learn, `objective` makes one module of model and loss. Within it: `rows` (how
sequences lie in memory), `attention` and `attention_cpu`, `fused` (elementwise pieces), `loss` (the head). `sharding` divides it over
GPUs, and `generate` lets it answer.
"""
