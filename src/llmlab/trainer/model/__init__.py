"""The model and its loss, made to compute only what counts.

`load` brings model and tokenizer and puts on what will learn, `objective` makes one module of model and loss. Within it: `collate` (how
sequences lie in memory), `varlen_attention` and `attention_cpu`, `fused`, `rotation` and `adapted` (pieces with gradients by hand, which
`fusing` puts in their places), `loss` and `products` (the head). `added_tokens`, `untrained_tokens` and `stop_tokens` are about single
tokens, `fsdp` divides the model over GPUs, and `generate` lets it answer.
"""
