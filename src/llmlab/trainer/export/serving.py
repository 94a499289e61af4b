"""How vLLM serves the output of a training, and when it cannot: what `PEFTHelper` refuses (vllm/lora/peft_helper.py) is merged first."""

import json
from collections.abc import Mapping
from pathlib import Path
from shlex import join
from typing import Any

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM's --max-lora-rank may be (vllm/config/lora.py); it is 16 where nothing is said."""
ADAPTER_CONFIG = "adapter_config.json"


def config_of(folder: Path) -> dict[str, Any] | None:
    """PEFT's config of the adapter in a folder, None for a whole model."""
    try:
        config = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def refused(config: Mapping[str, Any]) -> str:
    """What of an adapter vLLM does not load, in words; "" for one that it loads."""
    return "DoRA" if config.get("use_dora") else "modules trained whole" if config.get("modules_to_save") else ""


def vllm(base: str, tuned: str, config: Mapping[str, Any] | None, *, own_stops: bool = False) -> str:
    """The line that serves a whole model, or an adapter (which has a config) over its base; `own_stops`: at tokens of its own.

    "" where vLLM does not load it.
    """
    if config is None:
        return join(["vllm", "serve", tuned])
    if refused(config):
        return ""
    wanted = config.get("r")
    rank = ["--max-lora-rank", str(next((most for most in RANKS if most >= wanted), RANKS[-1]))] if isinstance(wanted, int) else []
    stops = ["--generation-config", tuned] if own_stops else []
    return join(["vllm", "serve", base, "--enable-lora", *rank, "--lora-modules", f"tuned={tuned}", *stops])
