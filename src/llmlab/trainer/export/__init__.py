"""What comes out of a training, and what is done with it afterwards.

`output` writes it: the weights with `origin` (which base model they belong to), the model `card` and Ollama's Modelfile (`ollama`).
`answer` and `merge` are programs of their own; `limits` says which models a CPU can run, `serving` how vLLM serves them.
"""
