"""What comes out of a training, and what is done with it afterwards.

`output` writes it: the weights with their `provenance` (which base model they belong to), the base's own files (`base_files`), the
`model_card` and Ollama's Modelfile (`ollama`). `answer` and `merge` are programs of their own; `cpu_limit` says which models a CPU can
run, `serving` how vLLM serves them.
"""
