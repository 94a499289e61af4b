"""What an instance costs on top of its hourly price: its gp3 disk and its public IPv4 address."""

from llmlab.aws import price_list
from llmlab.aws.session import Aws, AwsError
from llmlab.contract import Charge

DISK, ADDRESS = "disk", "address"
MONTH_HOURS = 730
"""The hours of the month by which a price per GB-month becomes one per hour (AWS's own calculator: 8,760 / 12)."""
GP3_MONTH = 0.08
"""US dollars a GB-month of gp3 in us-east-1. https://aws.amazon.com/ebs/pricing/"""
THROUGHPUT_MONTH = 0.04
"""US dollars a month of one MB/s of gp3 beyond the free ones in us-east-1, by the same page."""
FREE_MB_PER_SECOND = 125
"""Free throughput of any gp3 volume, which has 3,000 operations a second: enough for 750 MB/s, so `disk_mb_per_second` asks for no more.
https://docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html"""
GIB_MIB = 1024
"""The price list has throughput by the GiB/s (`GiBps-mo`)."""
ADDRESS_HOUR = 0.005
"""US dollars an hour of a public IPv4 address, the same in every region. https://aws.amazon.com/vpc/pricing/"""
SHIPPED = "shipped table"


def read(aws: Aws, disk_gib: int, disk_mb_per_second: int) -> tuple[tuple[Charge, ...], str]:
    """The charges of an instance with a disk of this size and throughput, and why the Pricing API gave none of them ("" when it did)."""
    paid = _paid(disk_mb_per_second)
    try:
        disk, address = _disk(aws), _address(aws)
        throughput = _throughput(aws) if paid else 0.0
    except AwsError as error:
        return shipped(disk_gib, disk_mb_per_second), error.message
    if disk is None or throughput is None:
        return (*shipped(disk_gib, disk_mb_per_second)[:1], _charge(ADDRESS, address, ADDRESS_HOUR)), ""
    return (_charge(DISK, disk * disk_gib + throughput * paid, 0.0, 1 / MONTH_HOURS), _charge(ADDRESS, address, ADDRESS_HOUR)), ""


def shipped(disk_gib: int, disk_mb_per_second: int) -> tuple[Charge, ...]:
    """The charges by the shipped prices."""
    month = GP3_MONTH * disk_gib + THROUGHPUT_MONTH * _paid(disk_mb_per_second)
    return _charge(DISK, None, month, 1 / MONTH_HOURS), _charge(ADDRESS, None, ADDRESS_HOUR)


def _paid(disk_mb_per_second: int) -> int:
    return max(0, disk_mb_per_second - FREE_MB_PER_SECOND)


def _charge(what: str, listed: float | None, shipped: float, units: float = 1.0) -> Charge:
    """The charge for `units` of a product an hour, at the listed price, else at the shipped one."""
    price, source = (shipped, SHIPPED) if listed is None else (listed, price_list.SOURCE)
    return Charge(what, round(price * units, 6), source, approximate=listed is None)


def _disk(aws: Aws) -> float | None:
    """US dollars a GB-month: of the storage alone, as its first 3,000 operations and 125 MB a second are free."""
    return price_list.dollars(price_list.products(aws, "AmazonEC2", {"productFamily": "Storage", "volumeApiName": "gp3"}))


def _throughput(aws: Aws) -> float | None:
    """US dollars a month of one MB/s."""
    products = price_list.products(aws, "AmazonEC2", {"productFamily": "Provisioned Throughput", "volumeApiName": "gp3"})
    price = price_list.dollars(products)
    return None if price is None else price / GIB_MIB


def _address(aws: Aws) -> float | None:
    """US dollars an hour of an address in use; the group holds idle ones and contiguous blocks too."""
    addresses = price_list.products(aws, "AmazonVPC", {"group": "VPCPublicIPv4Address"})
    return price_list.dollars(
        address for address in addresses if price_list.attribute(address, "usagetype").endswith("PublicIPv4:InUseAddress")
    )
