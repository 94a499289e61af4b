"""The Pricing API: products of one region and what they cost. It answers in three regions only, for all the others too."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from llmlab.aws.session import Aws

ENDPOINTS = {"ap": "ap-south-1", "eu": "eu-central-1"}
"""By the first word of the region; us-east-1 for everybody else.
https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html"""
SOURCE = "Pricing API"
"""How a price that was told is signed."""

Product = dict[str, Any]


def products(aws: Aws, service: str, wanted: Mapping[str, str]) -> list[Product]:
    """The products of this region whose attributes are as wanted.

    Raises:
        AwsError: the API may not be asked, or does not answer.
    """
    pricing = aws.client("pricing", region=ENDPOINTS.get(aws.region.partition("-")[0], "us-east-1"), attempts=2)
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in {"regionCode": aws.region, **wanted}.items()]
    pages = pricing.get_paginator("get_products").paginate(ServiceCode=service, Filters=filters)
    return [json.loads(text) if isinstance(text, str) else text for page in pages for text in page["PriceList"]]


def attribute(product: Product, name: str) -> str:
    return str(product.get("product", {}).get("attributes", {}).get(name, ""))


def dollars(listed: Iterable[Product]) -> float | None:
    """The first on-demand price above zero, in US dollars for the product's own unit; None when no product has one."""
    for product in listed:
        for term in product.get("terms", {}).get("OnDemand", {}).values():
            for dimension in term.get("priceDimensions", {}).values():
                price = float(dimension.get("pricePerUnit", {}).get("USD", 0))
                if price > 0:
                    return price
    return None
