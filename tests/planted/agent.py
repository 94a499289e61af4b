"""Bugs in the agent."""

from tests.planted.bug import Bug

BUGS = (
    Bug(
        "size alone tells a change",
        "agent/shared_files.py",
        "return status.st_mtime_ns, status.st_size",
        "return 0, status.st_size",
        "an adapter that is written again is never sent again: the result in S3 is an older one, with a matching SHA-256",
        ("unit/agent/test_uploads.py",),
    ),
    Bug(
        "403 for 401",
        "agent/imds.py",
        "error.code != 401",
        "error.code != 403",
        "after six hours the token is not renewed, and no spot notice is ever heard again",
        ("unit/agent/test_imds.py",),
    ),
    Bug(
        "the interruption is forgotten",
        "agent/loop.py",
        "self.taken_at = interruption or self.taken_at",
        "self.taken_at = interruption",
        "whether the first hour is free is judged by when the trainer left, not by when AWS took the machine",
        ("unit/agent/test_interrupted.py",),
    ),
    Bug(
        "the beginning of the log for its end",
        "agent/exit_diagnosis.py",
        "log[-SEARCHED_CHARACTERS:]",
        "log[:SEARCHED_CHARACTERS]",
        "a failed GPU at the end of a long log is the training's own error, and the run is not gone on with",
        ("unit/agent/test_exit_diagnosis.py",),
    ),
    Bug(
        "the later of two ends",
        "agent/stop_triggers.py",
        "gone = min(signals.interruption.timestamp(), end.at)",
        "gone = max(signals.interruption.timestamp(), end.at)",
        "AWS takes the machine while the trainer believes to have hours: what was not saved is lost",
        ("unit/agent/test_interrupted.py",),
    ),
)
