"""Pin a run's Hugging Face model to a commit: `main` moves, and a second attempt would go on from another model.

https://huggingface.co/docs/hub/api describes the request. It is made without a token: a gated model's commits are public, a private one's
are not, and the answer is the same as for a model that does not exist
(https://github.com/huggingface/huggingface_hub/blob/main/src/huggingface_hub/utils/_http.py). A model that needs a token is refused where
the lab has none.
"""

import json
import re
import socket
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from llmlab.contract import HF_TOKEN
from llmlab.dataset.rendering.model_files import MORE, MOST_VOCABULARY_BYTES as MOST_FILE_BYTES, SMALL, VOCABULARY
from llmlab.errors import UsageError, one_line
from llmlab.recipe import Recipe

ENDPOINT = "https://huggingface.co"
SECONDS = 5.0
"""How long a launch waits for the hub, the lookup of its name included."""
MOST_BYTES = 4 << 20
"""Most bytes of an answer that are read: a large model's lists its files."""
COMMIT = re.compile(r"[0-9a-f]{40}")
MORE_NAME = re.compile(r"\w[\w.-]*\.jinja")
MOST_MORE = 16
"""Most chat templates that are fetched beside the default one."""
SET_TOKEN = f"llmlab secret set {HF_TOKEN} < token.txt"
Fetch = Callable[[str], bytes]
T = TypeVar("T")


class NoAnswer(Exception):
    """The hub gives no usable answer; the message says why."""


class Unseen(NoAnswer):
    """The hub shows no such model to those without a token."""


class ModelFileMissing(NoAnswer):
    """The model has no such file."""


def fetch(address: str, most: int = MOST_BYTES) -> bytes:
    """The first `most` bytes at an address of the hub.

    Raises:
        UsageError: the hub knows no such revision.
        Unseen: the hub shows no such model.
        ModelFileMissing: the model has no such file.
        NoAnswer: any other failure.
    """
    if not address.startswith(("https://", "http://")):
        raise NoAnswer(f"{address} is no address of the web")
    try:
        with urllib.request.urlopen(address, timeout=SECONDS) as answer:  # noqa: S310 - looked at above
            body: bytes = answer.read(most)
    except urllib.error.HTTPError as error:
        error.close()
        if error.headers.get("X-Error-Code") == "RevisionNotFound":
            raise UsageError("Hugging Face has no such revision of the model", "llmlab launch --set revision=main") from error
        if error.headers.get("X-Error-Code") == "RepoNotFound" or error.code == 401:
            raise Unseen(f"it answers {error.code}") from error
        if error.code == 404:
            raise ModelFileMissing("it answers 404") from error
        raise NoAnswer(f"it answers {error.code}") from error
    except (OSError, ValueError) as error:
        if isinstance(getattr(error, "reason", None), socket.gaierror):
            raise NoAnswer("its host is not known here, as without a network") from error
        raise NoAnswer(one_line(getattr(error, "reason", error) or type(error).__name__)) from error
    return body


def fetch_file(address: str) -> bytes:
    """As `fetch`, with the size limit of a model's files."""
    return fetch(address, MOST_FILE_BYTES)


@dataclass(frozen=True)
class Hub:
    """The Hugging Face hub that this environment names."""

    environment: Mapping[str, str]
    fetch: Fetch = fetch
    seconds: float = SECONDS
    fetch_file: Fetch = fetch_file

    def pin(self, recipe: Recipe, has_token: Callable[[], bool] = lambda: True) -> tuple[Recipe, str]:
        """The recipe with the commit of its revision, and a note where the commit is not known, or the model is gated or private.

        Args:
            recipe: the recipe.
            has_token: whether the lab has a token of Hugging Face; asked only where the model needs one.

        Raises:
            UsageError: there is no such revision, or the model needs a token and the lab has none.
        """
        model = recipe.model
        if recipe.lab_model or COMMIT.fullmatch(recipe.revision):
            return recipe, ""
        try:
            commit, gated = self._commit(model, recipe.revision)
        except Unseen as error:
            words = f"Hugging Face shows no model {model} without a token: it does not exist, or is private"
            if not has_token():
                raise UsageError(f"{words}, and the lab has no token", SET_TOKEN) from error
            return recipe, f"{words}, and the lab's token has to be one that may read it"
        except NoAnswer as error:
            words = f"the commit of {model} at {recipe.revision} is not known ({error}), so a later attempt may get another one"
            return recipe, words
        if gated and not has_token():
            raise UsageError(f"{model} is gated, and the lab has no token: accept its terms at {self._endpoint}/{model} first", SET_TOKEN)
        words = f"{model} is gated: the owner of the lab's token must have accepted its terms at {self._endpoint}/{model}" if gated else ""
        return recipe.model_copy(update={"revision": commit}), words

    def files(self, recipe: Recipe, folder: Path) -> tuple[str, str]:
        """Download a model's chat template and tokenizer files into a folder; returns their commit, and a note on missing files.

        The template's files may take as long as any answer, and the vocabulary, which is large, once more as long.

        Raises:
            UsageError: there is no such revision.
            NoAnswer: the hub does not give the template.
        """
        model = recipe.model
        commit = recipe.revision if COMMIT.fullmatch(recipe.revision) else self._commit(model, recipe.revision)[0]
        address = f"{self._endpoint}/{urllib.parse.quote(model)}/resolve/{commit}/"

        def small() -> dict[str, bytes]:
            names = [*SMALL, *self._more_templates(model, commit)]
            return {name: body for name in names if (body := self._file(address + name)) is not None}

        for name, body in self._within(small).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(body)
        try:
            vocabulary = self._within(lambda: self._file(address + VOCABULARY))
        except NoAnswer as error:
            return commit, f"lengths are estimated: {VOCABULARY} of {model} did not come ({error})"
        if vocabulary is None:
            return commit, f"lengths are estimated: {model} has no {VOCABULARY}"
        (folder / VOCABULARY).write_bytes(vocabulary)
        return commit, ""

    def _more_templates(self, model: str, commit: str) -> list[str]:
        """The paths of a model's additional chat templates, which have a folder of their own; few, and none that leads out of it.

        https://github.com/huggingface/transformers/blob/main/src/transformers/utils/hub.py, `list_repo_templates`, asks the hub alike.

        Raises:
            NoAnswer: the hub does not tell.
        """
        try:
            answered = self.fetch(f"{self._endpoint}/api/models/{urllib.parse.quote(model)}/tree/{commit}/{MORE}")
        except ModelFileMissing:
            return []
        try:
            names = [str(entry["path"]).removeprefix(f"{MORE}/") for entry in json.loads(answered)]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise NoAnswer("its answer cannot be read") from error
        return [f"{MORE}/{name}" for name in names if MORE_NAME.fullmatch(name)][:MOST_MORE]

    def _file(self, address: str) -> bytes | None:
        """A file, or None where the model has none of this name."""
        try:
            return self.fetch_file(address)
        except ModelFileMissing:
            return None

    @property
    def _endpoint(self) -> str:
        return self.environment.get("HF_ENDPOINT", "").rstrip("/") or ENDPOINT

    def _commit(self, model: str, revision: str) -> tuple[str, bool]:
        """The commit of a revision, and whether the model is given only to those who have accepted its terms.

        Raises:
            NoAnswer: not within `SECONDS`, or not a commit.
        """
        if self.environment.get("HF_HUB_OFFLINE", "0").lower() not in {"", "0", "false", "no", "off"}:
            raise NoAnswer("HF_HUB_OFFLINE is set")
        address = f"{self._endpoint}/api/models/{urllib.parse.quote(model)}/revision/{urllib.parse.quote(revision, safe='')}"
        answered = self._within(lambda: self.fetch(address))
        try:
            info = json.loads(answered)
            commit, gated = str(info["sha"]), bool(info.get("gated"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise NoAnswer("its answer cannot be read") from error
        if not COMMIT.fullmatch(commit):
            raise NoAnswer("its answer is no commit")
        return commit, gated

    def _within(self, ask: Callable[[], T]) -> T:
        """The answer of `ask` within `seconds`: in a thread, because looking up a name has no timeout of its own."""
        answers: list[T] = []
        failures: list[Exception] = []

        def ask_hub() -> None:
            try:
                answers.append(ask())
            except (UsageError, NoAnswer) as error:
                failures.append(error)

        thread = threading.Thread(target=ask_hub, daemon=True)
        thread.start()
        thread.join(self.seconds)
        if failures:
            raise failures[0]
        if not answers:
            raise NoAnswer(f"it has not answered within {self.seconds:g} s")
        return answers[0]
