"""Downloads a model of Hugging Face, at the spec's revision, so that the trainer needs no network and never sees the token.

The token is the lab's, where its secrets hold one; a public model needs none. Only weights, configuration and tokenizer are taken, never
code.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from llmlab import contract
from llmlab.agent.job import Job, Say
from llmlab.agent.prepare import PrepareError

FILES = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model", "*.jinja"]
Download = Callable[[str, str, Path, str], None]
"""Takes a model's name, its revision, the folder and the token, "" for none."""


def bring_model(job: Job, secrets: Any, download: Download, say: Say) -> bool:
    """Fetch the recipe's model into the model folder; returns whether there was one to fetch. `secrets` is a Secrets Manager client.

    Raises:
        PrepareError: Hugging Face does not give it.
    """
    model, revision = str(job.spec.recipe.get("model") or ""), str(job.spec.recipe.get("revision") or "main")
    if job.spec.model is not None or not model:
        return False
    token = _token(secrets, job.names.secret(contract.HF_TOKEN), say)
    try:
        download(model, revision, Path(job.folder.model), token)
    except Exception as error:  # noqa: BLE001 - the hub, its HTTP client and the file system each have errors of their own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].replace(token or "\0", "…").rstrip(".")
        raise PrepareError(f"the model {model} cannot be fetched from Hugging Face: {reason}") from None
    say(f"model {model} at {revision} is here, fetched {'with the token of the lab' if token else 'without a token'}")
    return True


def _token(secrets: Any, name: str, say: Say) -> str:
    """The token, "" when there is none or it cannot be read."""
    try:
        return str(secrets.get_secret_value(SecretId=name)["SecretString"])
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code != "ResourceNotFoundException":
            say(f"the secret {name} cannot be read: {code}")
    except BotoCoreError as error:
        say(f"the secret {name} cannot be read: {error}")
    return ""


def download_snapshot(model: str, revision: str, folder: Path, token: str) -> None:
    """Fetch with huggingface_hub, which the image carries; it goes on with what an earlier try has left."""
    from huggingface_hub import snapshot_download

    snapshot_download(model, revision=revision, local_dir=folder, token=token or False, allow_patterns=FILES)
