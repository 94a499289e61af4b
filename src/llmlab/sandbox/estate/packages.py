"""Build arguments that give this computer's pip settings to a build in a container that shares its network.

A folder of wheels (`find-links`) is served on the loopback address while the build runs.
"""

import http.server
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

PASSED_ON = {"index-url": "PIP_INDEX_URL", "extra-index-url": "PIP_EXTRA_INDEX_URL", "trusted-host": "PIP_TRUSTED_HOST"}
FIND_LINKS = "find-links"
LOOPBACK = "127.0.0.1"
FIRST_PORT = 45071
"""The same port whenever it is free: with another address docker would reuse nothing of the last build."""


class QuietFileHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing: every wheel would be a line."""


@contextmanager
def build_arguments() -> Iterator[list[str]]:
    """`--build-arg` pairs for docker; the folders of wheels they name are served for as long as the context lasts."""
    settings = pip_settings()
    arguments = {name: settings[key] for key, name in PASSED_ON.items() if key in settings}
    arguments["PIP_EXTRA_INDEX_URL"] = " ".join(
        url for url in arguments.get("PIP_EXTRA_INDEX_URL", "").split() if not url.startswith("file:")
    )
    servers: list[http.server.ThreadingHTTPServer] = []
    links = []
    for place in settings.get(FIND_LINKS, "").split():
        folder = Path(urlsplit(place).path if place.startswith("file:") else place)
        if not folder.is_dir():
            links.append(place)
            continue
        server = _server(FIRST_PORT + len(servers), partial(QuietFileHandler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, name="wheels", daemon=True).start()
        servers.append(server)
        links.append(f"http://{LOOPBACK}:{server.server_port}/")
    if servers:
        arguments["PIP_TRUSTED_HOST"] = f"{arguments.get('PIP_TRUSTED_HOST', '')} {LOOPBACK}".strip()
    arguments["PIP_FIND_LINKS"] = " ".join(links)
    try:
        yield [word for name, value in arguments.items() if value for word in ("--build-arg", f"{name}={value}")]
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def _server(port: int, handler: Callable[..., QuietFileHandler]) -> http.server.ThreadingHTTPServer:
    """An HTTP server on this port, or on another one when it is taken."""
    try:
        return http.server.ThreadingHTTPServer((LOOPBACK, port), handler)
    except OSError:
        return http.server.ThreadingHTTPServer((LOOPBACK, 0), handler)


def pip_settings() -> dict[str, str]:
    """The settings that `pip config list` shows, the environment's over the files'."""
    answer = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    return settings_of(answer.stdout)


def settings_of(text: str) -> dict[str, str]:
    """Parse lines such as `global.index-url='https://…'` and `:env:.find-links='…'`; the environment wins over the files."""
    of_files: dict[str, str] = {}
    of_environment: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            scope, _, name = key.rpartition(".")
            target = of_environment if scope.startswith(":env:") else of_files
            target[name] = value.strip().strip("'\"").replace("\\n", " ")
    return {**of_files, **of_environment}
