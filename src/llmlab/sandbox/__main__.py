"""`python -m llmlab.sandbox FOLDER`: a sandbox as a process of its own. It writes its endpoint to `FOLDER/endpoint` when it serves.

With `--attached` it ends when its standard input closes, that is, when whoever started it is gone.
"""

import faulthandler
import logging
import os
import signal
import sys
import threading
from pathlib import Path


def main() -> None:
    folder = Path(sys.argv[1])
    attached = "--attached" in sys.argv
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(name)s %(message)s", level=logging.INFO)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    for name in [name for name in os.environ if name.startswith(("AWS_", "LLMLAB_"))]:
        del os.environ[name]
    os.environ.update(
        {
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    )

    from llmlab.sandbox.service import Service

    service = Service(folder)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: service.stopped.set())
    faulthandler.register(signal.SIGUSR1)  # what every thread is doing, into the log
    service.start()
    part = folder / "endpoint.part"
    part.write_text(service.endpoint, encoding="ascii")
    part.rename(folder / "endpoint")
    if attached:
        threading.Thread(target=_wait_for_starter, args=(service.stopped,), daemon=True).start()
    service.stopped.wait()
    service.close()


def _wait_for_starter(stopped: threading.Event) -> None:
    sys.stdin.read()
    stopped.set()


if __name__ == "__main__":
    main()
