"""Bugs in what runs on the laptop: data, uploads, resources, costs."""

from tests.planted.bug import Bug

BUGS = (
    Bug(
        "refusals inside a 200 are not read",
        "lifecycle/deleting.py",
        'answer.get("Errors", [])',
        "[]",
        "teardown waits a minute and blames a writer that does not exist",
        ("unit/aws/test_buckets.py",),
    ),
    Bug(
        "one part too many",
        "aws/sending.py",
        "-(-size // MOST_PARTS)",
        "size // MOST_PARTS",
        "a file over 80 GB is cut into 10,001 parts, which S3 refuses after all of them were sent",
        ("unit/aws/test_sending.py",),
    ),
    Bug(
        "begun this month for paid this month",
        "ops/cost.py",
        "if run not in ended or ended[run].at >= begin",
        'if run >= begin.strftime("%Y%m%d")',
        "runs that were begun in the month before, or resumed since, cost nothing",
        ("unit/ops/test_cost.py",),
    ),
    Bug(
        "the first frame is the file",
        "dataset/unpack.py",
        "(frame.unused_data, None) if frame.eof",
        '(b"", None) if frame.eof',
        "half of a dataset is gone without a word: pzstd and cat make files of several frames",
        ("unit/dataset/test_lines.py",),
    ),
    Bug(
        "places as they were counted",
        "dataset/tally.py",
        "        places.sort()\n",
        "        places.copy()\n",
        "the places of over-long lines are out of order where rows of several kinds mix, and the first ones shown are not the first",
        ("unit/dataset/test_check.py",),
    ),
    Bug(
        "a failure stops only what depends on it",
        "infra/order.py",
        "if reverse or not failures:",
        "if reverse or not failures or waiting:",
        "bootstrap goes on making resources after one has failed",
        ("unit/infra/test_engine.py",),
    ),
)
