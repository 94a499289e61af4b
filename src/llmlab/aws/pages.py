"""Listings with all of their pages. The first page of a paged call may hold any part of the list, or nothing at all.

IAM says so outright: it may return fewer than were asked for while there are more.
https://docs.aws.amazon.com/IAM/latest/APIReference/API_ListRolePolicies.html
"""

from typing import Any


def every(client: Any, operation: str, items: str, **arguments: Any) -> list[Any]:
    """All that `operation` lists under the name `items`, from all of its pages."""
    return [item for page in client.get_paginator(operation).paginate(**arguments) for item in page.get(items, [])]
