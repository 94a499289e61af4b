"""The trainer beside every peer on the same work: `python -m benchmarks.training`."""
