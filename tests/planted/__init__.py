"""Bugs put into a copy of the source, one at a time: the test files near each must fail.

A fault of a few characters that no test catches is a place where the tests only look as if they held something. Each row of the table was
such a place once. `python -m tests.planted` plants them all; a new row is one `Bug` in the file of its part of the source.
"""
