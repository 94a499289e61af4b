"""The memory that a process and all those it started have resident."""

import resource
from pathlib import Path


def resident(process: int) -> int:
    """Bytes of a process and those it started (Linux; 0 elsewhere)."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        started = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return 0
    return pages * resource.getpagesize() + sum(resident(int(one)) for one in started)
