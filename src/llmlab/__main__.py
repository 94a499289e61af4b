"""`python -m llmlab` is the `llmlab` command."""

from llmlab.cli import main

if __name__ == "__main__":
    main()
