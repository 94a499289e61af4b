"""The Pricing API: products of one region and what they cost. It answers in three regions only, for all the others too."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from llmlab.aws.session import Aws, AwsError

ENDPOINTS = {"ap": "ap-south-1", "eu": "eu-central-1"}
"""Where the Pricing API is asked, by the first word of the lab's region; us-east-1 for all others.
https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html"""
SOURCE = "Pricing API"
"""The source that is named with a price of the Pricing API."""

Product = dict[str, Any]


def products(aws: Aws, service: str, wanted: Mapping[str, str]) -> list[Product]:
    """The products of this region whose attributes are as wanted.

    Raises:
        AwsError: the API may not be asked, does not answer, or answers with no products.
    """
    pricing = aws.client("pricing", region=ENDPOINTS.get(aws.region.partition("-")[0], "us-east-1"), attempts=2)
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in {"regionCode": aws.region, **wanted}.items()]
    pages = pricing.get_paginator("get_products").paginate(ServiceCode=service, Filters=filters)
    return [product(text) for page in pages for text in page["PriceList"]]


def product(text: str | Product) -> Product:
    """One product of an answer, which holds each as a JSON document in a string.

    Raises:
        AwsError: it is no JSON.
    """
    try:
        value = json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError) as error:
        raise AwsError("the Pricing API answered with what is not JSON", "llmlab doctor", operation="pricing:GetProducts") from error
    return value if isinstance(value, dict) else {}


def attribute(product: Product, name: str) -> str:
    return str(_inner(_inner(product, "product"), "attributes").get(name, ""))


def dollars(listed: Iterable[Product]) -> float | None:
    """The first on-demand price above zero, in US dollars for the product's own unit; None when no product has one."""
    for product in listed:
        for term in _inner(_inner(product, "terms"), "OnDemand").values():
            for dimension in _inner(term, "priceDimensions").values():
                price = _number(_inner(dimension, "pricePerUnit").get("USD"))
                if price > 0:
                    return price
    return None


def _inner(value: Any, name: str) -> Product:
    """The object under a name of a product, an empty one where there is none."""
    inner = value.get(name) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}


def _number(text: object) -> float:
    """A finite number, else 0: prices are strings such as `0.5260000000`."""
    try:
        number = float(str(text))
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0
