"""`python -m llmlab.sandbox FOLDER`: a sandbox as a process of its own. It writes its endpoint to `FOLDER/endpoint` when it serves.

With `--attached` it ends when its standard input closes, that is, when whoever started it is gone. With `--containers` its machines are
containers. With `--delay SECONDS` what is new stays unseen for so long; `--refuse NAME[=AMOUNT]` and `--mode MODE`
turn rules of `refusals` on. Until it serves, it writes to `FOLDER/progress` what it does, and
to `FOLDER/failed` what it failed of, and the hint.
"""

import argparse
import faulthandler
import logging
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main() -> None:
    options = _arguments()
    folder: Path = options.folder
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

    from llmlab.errors import LabError
    from llmlab.sandbox.refusals.switch import Switch
    from llmlab.sandbox.service import Service

    rules = Switch()
    rules.turn_on(options.refuse, options.mode)
    service = Service(folder, containers=options.containers, delay_seconds=options.delay, rules=rules)
    for number in SIGNALS:
        signal.signal(number, _give_up)
    faulthandler.register(signal.SIGUSR1)  # writes every thread's stack into the log
    if options.attached:
        threading.Thread(target=_wait_for_starter, daemon=True).start()
    with (folder / "progress").open("w", encoding="utf-8", buffering=1) as progress:
        try:
            service.start(lambda line: print(line, file=progress))
        except LabError as error:
            (folder / "failed").write_text(f"{error}\n{error.hint}\n", encoding="utf-8")
            sys.exit(1)
        except SystemExit:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    for number in SIGNALS:
        signal.signal(number, lambda *_: service.stopped.set())
    part = folder / "endpoint.part"
    part.write_text(service.endpoint, encoding="ascii")
    part.rename(folder / "endpoint")
    service.stopped.wait()
    service.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m llmlab.sandbox", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--attached", action="store_true")
    parser.add_argument("--containers", action="store_true")
    parser.add_argument("--delay", type=float, default=0)
    parser.add_argument("--refuse", action="append", default=[])
    parser.add_argument("--mode", action="append", default=[])
    return parser.parse_args()


def _give_up(*_: object) -> None:
    """Exit on a signal that comes before the sandbox serves, and ignore further signals during the cleanup."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + signal.SIGTERM)


def _wait_for_starter() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
