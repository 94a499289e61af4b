"""The commit of a Hugging Face model, and what is said where nobody tells it."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator

import pytest

from llmlab import recipe as recipes
from llmlab.errors import UsageError
from llmlab.ops.hub import Hub, NoAnswer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
RECIPE = recipes.check({"model": "Qwen/Qwen3-8B", "revision": "v1/x"})


def fails(_: str) -> bytes:
    raise NoAnswer("it answers 401")


def test_a_revision_becomes_its_commit_at_the_hub_that_the_environment_names() -> None:
    asked = []

    def answers(address: str) -> bytes:
        asked.append(address)
        return f'{{"sha": "{COMMIT}"}}'.encode()

    pinned, note = Hub({"HF_ENDPOINT": "https://hub.example/"}, answers).pin(RECIPE)
    assert (pinned.revision, note) == (COMMIT, "")
    assert pinned.model_copy(update={"revision": "v1/x"}) == RECIPE
    assert asked == ["https://hub.example/api/models/Qwen/Qwen3-8B/revision/v1%2Fx"]
    assert Hub({}, answers).pin(pinned) == (pinned, "")
    uploaded = recipes.check({"model": "lab:tiny"})
    assert Hub({}, answers).pin(uploaded) == (uploaded, "")
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("fetch", "why"),
    [
        (fails, "it answers 401"),
        (lambda _: b"<html>", "its answer cannot be read"),
        (lambda _: b'{"sha": "main"}', "its answer is no commit"),
        (lambda _: b"[]", "its answer cannot be read"),
    ],
)
def test_what_is_no_commit_is_told_and_leaves_the_recipe(fetch: Callable[[str], bytes], why: str) -> None:
    kept, note = Hub({}, fetch).pin(RECIPE)
    assert kept == RECIPE
    assert note == f"the commit of Qwen/Qwen3-8B at v1/x is not known ({why}), so a later attempt may get another one"


def test_a_hub_that_does_not_answer_is_not_waited_for() -> None:
    over = threading.Event()

    def hangs(_: str) -> bytes:
        over.wait()
        return b""

    kept, note = Hub({}, hangs, seconds=0.01).pin(RECIPE)
    over.set()
    assert kept == RECIPE
    assert "it has not answered within 0.01 s" in note


@pytest.fixture
def endpoint() -> Iterator[str]:
    """A hub of one gated model, one open model, and nothing else."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            gated = {"/api/models/a/gated/revision/main": "manual", "/api/models/a/open/revision/main": False}
            self.send_response(200 if self.path in gated else 401)
            if self.path not in gated:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            self.wfile.write(json.dumps({"sha": COMMIT, "gated": gated.get(self.path)}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("model", "reason", "note"),
    [
        (
            "a/gated",
            "a/gated is gated, and the lab has no token: accept its terms at http://",
            "a/gated is gated: the owner of the lab's token",
        ),
        ("a/typo", "shows no model a/typo without a token: it does not exist, or is private, and the lab has no token", "may read it"),
    ],
)
def test_a_model_that_needs_a_token_is_refused_where_the_lab_has_none(endpoint: str, model: str, reason: str, note: str) -> None:
    hub, wanted = Hub({"HF_ENDPOINT": endpoint}), recipes.check({"model": model})
    with pytest.raises(UsageError, match=reason) as raised:
        hub.pin(wanted, lambda: False)
    assert raised.value.hint == "llmlab secret set hf-token < token.txt"
    pinned, words = hub.pin(wanted, lambda: True)
    assert note in words
    assert pinned.revision == (COMMIT if model == "a/gated" else "main")


def test_of_an_open_model_nobody_asks_for_a_token(endpoint: str) -> None:
    pinned, words = Hub({"HF_ENDPOINT": endpoint}).pin(recipes.check({"model": "a/open"}), lambda: pytest.fail("asked"))
    assert (pinned.revision, words) == (COMMIT, "")
