"""Formats, validation, statistics of a dataset; no torch."""
