"""In the training container: transformers, peft, trl; no AWS, no credentials."""
