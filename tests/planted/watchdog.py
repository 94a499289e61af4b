"""Bugs in the watchdog, in the schedules it makes, and in the keys it reads."""

from tests.planted.bug import Bug

BUGS = (
    Bug(
        "one page of keys",
        "lifecycle/object_store.py",
        'yield from self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, **arguments)',
        "yield self.client.list_objects_v2(Bucket=self.bucket, **arguments)",
        "beyond a thousand keys the newest checkpoint, the ends and which runs are over are not seen",
        ("unit/lifecycle/test_run_documents.py",),
    ),
    Bug(
        "seconds of a day for all seconds",
        "watchdog/termination.py",
        "(snapshot.now - _ended(end)).total_seconds() > AFTERMATH_SECONDS",
        "(snapshot.now - _ended(end)).seconds > AFTERMATH_SECONDS",
        "a machine that hangs after its end may live on when days have passed",
        ("unit/watchdog/test_termination.py",),
    ),
    Bug(
        "minutes as seconds",
        "watchdog/capacity.py",
        "timedelta(minutes=EXCLUDED_MINUTES)",
        "timedelta(seconds=EXCLUDED_MINUTES)",
        "a pool that has just failed is asked first again after half a minute instead of half an hour",
        ("unit/watchdog/test_capacity.py",),
    ),
    Bug(
        "the old deadline stays",
        "watchdog/start_attempt.py",
        "    tools.delete_deadline(snapshot.newest)\n",
        "",
        "the one-time schedules of attempts that are over pile up",
        ("unit/watchdog/test_start_attempt.py",),
    ),
    Bug(
        "no second try",
        "watchdog/handler.py",
        '{"total_max_attempts": 5, "mode": "standard"}, connect_timeout=5, read_timeout=30',
        '{"total_max_attempts": 1, "mode": "standard"}, connect_timeout=5, read_timeout=30',
        "one busy answer of AWS ends a look of the watchdog",
        ("unit/watchdog/test_handler.py",),
    ),
    Bug(
        "its own instances wait too",
        "watchdog/run_snapshot.py",
        "if newest.by != WATCHDOG and (",
        "if (",
        "an instance whose start was cut short is nobody's for five minutes",
        ("unit/watchdog/test_start_attempt.py",),
    ),
    Bug(
        "local time in a schedule by UTC",
        "lifecycle/one_time_schedules.py",
        "datetime.fromtimestamp(moment, UTC).strftime(AT)",
        "datetime.fromtimestamp(moment).strftime(AT)",
        "a laptop in Berlin sets every deadline an hour late",
        ("unit/lifecycle/test_one_time_schedules.py",),
    ),
    Bug(
        "six digits of a step",
        "contract/keys.py",
        "[0-9]{1,12}",
        "[0-9]{1,6}",
        "from step 1,000,000 on nothing is a checkpoint any more",
        ("unit/contract/test_keys.py",),
    ),
)
