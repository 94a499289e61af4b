"""Which commit of a Hugging Face model a run is about: `main` moves, and with it what a second attempt would go on from.

https://huggingface.co/docs/hub/api has the question. It is asked without a token: a gated model's commits are public, a private one's
are not, and the answer is the same as for a model that does not exist
(https://github.com/huggingface/huggingface_hub/blob/main/src/huggingface_hub/utils/_http.py). What the machine cannot fetch without a token
is refused where the lab has none.
"""

import json
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from llmlab.contract import HF_TOKEN
from llmlab.errors import UsageError, one_line
from llmlab.recipe import Recipe

ENDPOINT = "https://huggingface.co"
SECONDS = 5.0
"""How long a launch waits for the hub, names and all."""
MOST_BYTES = 4 << 20
"""Of an answer: a large model's lists its files."""
COMMIT = re.compile(r"[0-9a-f]{40}")
SET_TOKEN = f"llmlab secret set {HF_TOKEN} < token.txt"
Fetch = Callable[[str], bytes]


class NoAnswer(Exception):
    """The hub does not tell; says why."""


class Unseen(NoAnswer):
    """The hub shows no such model to those without a token."""


def fetch(address: str) -> bytes:
    """What is at an address.

    Raises:
        UsageError: the hub knows no such revision.
        Unseen: it shows no such model.
        NoAnswer: anything else that is no answer.
    """
    if not address.startswith(("https://", "http://")):
        raise NoAnswer(f"{address} is no address of the web")
    try:
        with urllib.request.urlopen(address, timeout=SECONDS) as answer:  # noqa: S310 - looked at above
            body: bytes = answer.read(MOST_BYTES)
    except urllib.error.HTTPError as error:
        error.close()
        if error.headers.get("X-Error-Code") == "RevisionNotFound":
            raise UsageError("Hugging Face has no such revision of the model", "llmlab launch --set revision=main") from error
        if error.headers.get("X-Error-Code") == "RepoNotFound" or error.code == 401:
            raise Unseen(f"it answers {error.code}") from error
        raise NoAnswer(f"it answers {error.code}") from error
    except (OSError, ValueError) as error:
        raise NoAnswer(one_line(getattr(error, "reason", error) or type(error).__name__)) from error
    return body


@dataclass(frozen=True)
class Hub:
    """The hub that this environment names."""

    environment: Mapping[str, str]
    fetch: Fetch = fetch
    seconds: float = SECONDS

    def pin(self, recipe: Recipe, has_token: Callable[[], bool] = lambda: True) -> tuple[Recipe, str]:
        """The recipe with the commit that its revision is now, and what there is to say where nobody tells or not everybody may have it.

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
        answered = self._within(address)
        try:
            told = json.loads(answered)
            commit, gated = str(told["sha"]), bool(told.get("gated"))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise NoAnswer("its answer cannot be read") from error
        if not COMMIT.fullmatch(commit):
            raise NoAnswer("its answer is no commit")
        return commit, gated

    def _within(self, address: str) -> bytes:
        """An answer in time: looking up a name knows no limit of its own."""
        found: list[bytes | Exception] = []

        def ask() -> None:
            try:
                found.append(self.fetch(address))
            except (UsageError, NoAnswer) as error:
                found.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(self.seconds)
        if not found:
            raise NoAnswer(f"it has not answered within {self.seconds:g} s")
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]
