"""The model and its loss, made to compute only what counts.

`load` brings model and tokenizer and puts on what will learn, `objective` makes one module of model and loss. Within it: `rows` (how
sequences lie in memory), `attention` and `attention_cpu`, `fused` and `adapted` (pieces with gradients by hand, which `fusing` puts in
their places), `loss` and `products` (the head). `sharding` divides it over GPUs, and `generate` lets it answer.
"""
