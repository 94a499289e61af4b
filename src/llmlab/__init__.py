"""llmlab: from a folder of JSONL to a fine-tuned model on AWS GPUs, and nothing left running."""

__version__ = "0.1.0"
