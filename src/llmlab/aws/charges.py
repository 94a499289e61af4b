"""What is paid beside an instance for as long as it lives: its gp3 disk and its public IPv4 address."""

from llmlab.aws import price_list
from llmlab.aws.session import Aws, AwsError
from llmlab.contract import Charge

DISK, ADDRESS = "disk", "address"
MONTH_HOURS = 730
"""The hours of the month by which a price per GB-month becomes one per hour (AWS's own calculator: 8,760 / 12)."""
GP3_MONTH = 0.08
"""US dollars a GB-month of gp3 in us-east-1. https://aws.amazon.com/ebs/pricing/"""
ADDRESS_HOUR = 0.005
"""US dollars an hour of a public IPv4 address, the same in every region. https://aws.amazon.com/vpc/pricing/"""
SHIPPED = "shipped table"


def read(aws: Aws, disk_gib: int) -> tuple[tuple[Charge, ...], str]:
    """The charges of an instance with a disk of this size, and why the Pricing API told none of them ("" when it did)."""
    try:
        disk, address = _disk(aws), _address(aws)
    except AwsError as error:
        return shipped(disk_gib), error.message
    return (_charge(DISK, disk, GP3_MONTH, disk_gib / MONTH_HOURS), _charge(ADDRESS, address, ADDRESS_HOUR)), ""


def shipped(disk_gib: int) -> tuple[Charge, ...]:
    """The charges by the shipped prices."""
    return _charge(DISK, None, GP3_MONTH, disk_gib / MONTH_HOURS), _charge(ADDRESS, None, ADDRESS_HOUR)


def _charge(what: str, told: float | None, shipped: float, units: float = 1.0) -> Charge:
    """`units` of the product an hour at the price that was told, else at the shipped one."""
    price, source = (shipped, SHIPPED) if told is None else (told, price_list.SOURCE)
    return Charge(what, round(price * units, 6), source, approximate=told is None)


def _disk(aws: Aws) -> float | None:
    """US dollars a GB-month: of the storage alone, as its first 3,000 operations and 125 MB a second are free."""
    return price_list.dollars(price_list.products(aws, "AmazonEC2", {"productFamily": "Storage", "volumeApiName": "gp3"}))


def _address(aws: Aws) -> float | None:
    """US dollars an hour of an address in use; the group holds idle ones and contiguous blocks too."""
    found = price_list.products(aws, "AmazonVPC", {"group": "VPCPublicIPv4Address"})
    return price_list.dollars(one for one in found if price_list.attribute(one, "usagetype").endswith("PublicIPv4:InUseAddress"))
