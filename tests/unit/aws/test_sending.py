"""How a file is cut into parts: never more than S3 takes, and nothing left out."""

from hypothesis import example, given, strategies as st

from llmlab.aws.sending import MOST_PARTS, PART, _starts, part_size

MOST_BYTES = 5 << 40
"""S3's largest object. https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""
MOST_PART_BYTES = 5 << 30


@given(size=st.integers(PART + 1, MOST_BYTES))
@example(size=PART * MOST_PARTS)
@example(size=PART * MOST_PARTS + 1)
@example(size=MOST_BYTES)
def test_a_file_of_any_size_has_no_more_parts_than_s3_takes(size: int) -> None:
    part = part_size(size)
    assert part * MOST_PARTS >= size
    assert PART <= part <= MOST_PART_BYTES


@given(size=st.integers(1, 10_000), part=st.integers(1, 500))
def test_the_parts_are_the_file(size: int, part: int) -> None:
    parts = list(_starts(size, part))
    assert [number for number, _ in parts] == list(range(1, len(parts) + 1))
    assert [start for _, start in parts] == list(range(0, size, part))
