"""The Pricing API, which moto lacks: GPU instances, gp3 storage and public addresses at the catalogue's prices."""

import hashlib
import json
import re
import sys
import types
from typing import Any

from llmlab.sandbox.catalogue import ADDRESS_HOUR, GP3_MONTH, ON_DEMAND, THROUGHPUT_MONTH, factor, on_demand_price
from llmlab.sandbox.completion import answer


def install() -> None:
    """Register a pricing service with moto."""
    from moto import backend_index, backends
    from moto.core.base_backend import BackendDict, BaseBackend
    from moto.core.responses import BaseResponse

    class PricingBackend(BaseBackend):  # type: ignore[misc]
        url_bases = [r"https?://api\.pricing\.(.+)\.amazonaws\.com"]  # noqa: RUF012 - moto's own shape

        @property
        def _url_module(self) -> Any:
            return sys.modules["moto.pricing"]

    class PricingResponse(BaseResponse):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(service_name="pricing")

    answer(PricingResponse, "GetProducts", _products)
    module: Any = types.ModuleType("moto.pricing")
    module.pricing_backends = BackendDict(
        PricingBackend, "pricing", use_boto3_regions=False, additional_regions=["us-east-1", "eu-central-1", "ap-south-1"]
    )
    module.url_paths = {"{0}/$": PricingResponse.dispatch}
    sys.modules["moto.pricing"] = module
    folders = list(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: iter([*folders, "pricing"])
    backend_index.backend_url_patterns.append(("pricing", re.compile(r"https?://(api\.)?pricing\.(.+)\.amazonaws\.com")))


def _products(self: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Answer GetProducts: on-demand Linux instances, gp3 storage and public addresses, each product a string of JSON.

    https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-price-list-query-api.html
    """
    terms = {item["Field"]: item["Value"] for item in values.get("Filters", [])}
    region = terms.get("regionCode", "us-east-1")
    catalogue = [*(_product(name, region) for name in ON_DEMAND), *_storage(region), *_addresses(region)]
    products = [product for product in catalogue if product["serviceCode"] == values["ServiceCode"] and _matches(product, terms)]
    limit = int(values.get("MaxResults") or 100)
    begin = int(values.get("NextToken") or 0)
    page = {"FormatVersion": "aws_v1", "PriceList": [json.dumps(product) for product in products[begin : begin + limit]]}
    return {**page, "NextToken": str(begin + limit)} if begin + limit < len(products) else page


def _matches(product: dict[str, Any], terms: dict[str, str]) -> bool:
    """Whether a product has every wanted attribute with that value; the product family counts as an attribute, as at AWS."""
    facts = product["product"]
    attributes = {"productFamily": facts.get("productFamily", ""), **facts["attributes"]}
    return all(str(attributes.get(field, "")).lower() == value.lower() for field, value in terms.items())


def _product(instance_type: str, region: str) -> dict[str, Any]:
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    facts = INSTANCE_TYPES[instance_type]
    attributes = {
        "instanceType": instance_type, "instanceFamily": "GPU instance", "currentGeneration": "Yes", "tenancy": "Shared",
        "operatingSystem": "Linux", "preInstalledSw": "NA", "capacitystatus": "Used", "licenseModel": "No License required",
        "operation": "RunInstances", "marketoption": "OnDemand", "usagetype": f"BoxUsage:{instance_type}",
        "vcpu": str(facts["VCpuInfo"]["DefaultVCpus"]), "memory": f"{facts['MemoryInfo']['SizeInMiB'] // 1024} GiB",
        "gpu": str(sum(gpu["Count"] for gpu in facts["GpuInfo"]["Gpus"])),
    }  # fmt: skip
    return _listed("AmazonEC2", "Compute Instance", region, attributes, "Hrs", on_demand_price(instance_type, region))


def _storage(region: str) -> list[dict[str, Any]]:
    """The gp3 products: a gigabyte-month, and a month of a GiB/s."""
    attributes = {"volumeApiName": "gp3", "volumeType": "General Purpose", "usagetype": "EBS:VolumeUsage.gp3"}
    throughput = {"volumeApiName": "gp3", "usagetype": "EBS:VolumeP-Throughput.gp3"}
    return [
        _listed("AmazonEC2", "Storage", region, attributes, "GB-Mo", GP3_MONTH * factor(region)),
        _listed("AmazonEC2", "Provisioned Throughput", region, throughput, "GiBps-mo", THROUGHPUT_MONTH * factor(region)),
    ]


def _addresses(region: str) -> list[dict[str, Any]]:
    """The public IPv4 products: an address in use, an idle one, and one of a contiguous block. They have a group and no family."""
    uses = {"IdleAddress": ADDRESS_HOUR, "InUseAddress": ADDRESS_HOUR, "ContiguousBlock": 0.008}
    return [
        _listed("AmazonVPC", "", region, {"group": "VPCPublicIPv4Address", "usagetype": f"USE1-PublicIPv4:{use}"}, "Hrs", price)
        for use, price in uses.items()
    ]


def _listed(service: str, family: str, region: str, attributes: dict[str, str], unit: str, price: float | None) -> dict[str, Any]:
    """A product with one on-demand price. Without a family, its `productFamily` key is missing."""
    name = f"{service}/{attributes['usagetype']}/{region}"
    sku = f"SANDBOX{int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 10**9:09d}"
    dimension = {
        "unit": unit, "beginRange": "0", "endRange": "Inf", "rateCode": f"{sku}.JRTCKXETXF.6YS6EN2CT7", "appliesTo": [],
        "description": f"${price} per {unit} of {attributes['usagetype']}", "pricePerUnit": {"USD": f"{price:.10f}"},
    }  # fmt: skip
    term = {
        "offerTermCode": "JRTCKXETXF",
        "sku": sku,
        "effectiveDate": "2026-11-01T00:00:00Z",
        "termAttributes": {},
        "priceDimensions": {dimension["rateCode"]: dimension},
    }
    where = {"servicecode": service, "regionCode": region, "locationType": "AWS Region"}
    return {
        "product": {**({"productFamily": family} if family else {}), "sku": sku, "attributes": {**where, **attributes}},
        "serviceCode": service,
        "terms": {"OnDemand": {f"{sku}.JRTCKXETXF": term}},
        "version": "20261101000000",
        "publicationDate": "2026-11-01T00:00:00Z",
    }
