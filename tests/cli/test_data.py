"""validate, upload and fetch, as typed."""

import hashlib
from pathlib import Path
from typing import Any

import orjson
import pytest

from llmlab import contract
from llmlab.aws import documents, objects, receiving, sending
from llmlab.aws.session import Aws
from llmlab.clock import ManualClock
from llmlab.contract import Complete, DataFile, EndReason, Manifest, Marker, RunKeys
from tests.cli.conftest import CommandLine

GOOD = [{"prompt": f"{number} + 1?", "completion": str(number + 1)} for number in range(30)]
RUN = contract.build_run_id(contract.run_started("20260101-000000-aaaa"), "aaaa")
KEYS = RunKeys(RUN)


def write(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join((row if isinstance(row, bytes) else orjson.dumps(row)) + b"\n" for row in rows))
    return path


@pytest.fixture
def buckets(lab_aws: Aws, recorder: list[str]) -> Aws:
    for bucket in (lab_aws.names.data_bucket, lab_aws.names.outputs_bucket):
        lab_aws.s3.create_bucket(Bucket=bucket)
        lab_aws.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    recorder.clear()
    return lab_aws


def writes(recorder: list[str]) -> list[str]:
    return [call for call in recorder if not call.startswith(("s3:Get", "s3:Head", "s3:List", "sts:"))]


def manifest(aws: Aws, name: str = "data", prefix: str = contract.DATASETS) -> Manifest:
    found = documents.read(aws, Manifest, aws.names.data_bucket, f"{prefix}{name}/{contract.MANIFEST}")
    assert found
    return found


# ---------------------------------------------------------------- validate


def test_validate_a_good_dataset(llmlab: CommandLine) -> None:
    write(Path("data/a.jsonl"), *GOOD)
    result = llmlab("validate", "data")
    assert result.code == 0
    assert "30" in result.out
    assert "prompt-completion" in result.out
    facts = llmlab("validate", "data", "--json").json
    assert facts["ok"] is True
    assert facts["formats"] == {"prompt-completion": 30}
    assert 0 < facts["trained_share"] < 1


def test_validate_names_the_first_bad_lines_and_counts_the_rest(llmlab: CommandLine) -> None:
    write(Path("data/a.jsonl"), *GOOD, *[b"[/x] {"] * 30)
    result = llmlab("validate", "data")
    assert result.code == 1
    assert result.error == "30 lines are bad"
    assert result.hint == "llmlab validate data --skip-bad"
    assert [line.split(" ")[0] for line in result.out.splitlines() if line.startswith("a.jsonl:")] == [
        f"a.jsonl:{n}:" for n in range(31, 51)
    ]
    assert "and 10 more bad lines, shown with -v" in result.out
    assert llmlab("validate", "data", "-v").out.count("a.jsonl:") == 30 + 1, "all, and the longest"
    as_json = llmlab("validate", "data", "--json")
    assert as_json.code == 1
    assert len(as_json.json["problems"]) == as_json.json["bad"] == 30
    assert llmlab("validate", "data", "--skip-bad").code == 0


@pytest.mark.parametrize(
    ("name", "content", "code", "words"),
    [
        ("data", None, 2, "there is no file or folder data"),
        ("data/", b"", 2, "data is empty"),
        ("data/a.pdf", b"%PDF", 2, "data holds no dataset, only 1 .pdf"),
        ("data/a.jsonl", b"", 1, "data has no examples: every file in it is empty"),
        ("data/a.jsonl", b"\n\n", 1, "data has no examples"),
        ("data/a.jsonl", b"%PDF-1.7 \x00", 1, "no line of data can be trained on"),
        ("data/a.jsonl", b"{}\n", 1, "no line of data can be trained on"),
        ("data/a.jsonl", b'{"text": "\xff"}\n{"text": "a"}\n', 1, "1 line is bad"),
        ("data/a.parquet", b"PK", 1, "no line of data can be trained on"),
    ],
)
def test_bad_input(llmlab: CommandLine, name: str, content: bytes | None, code: int, words: str) -> None:
    if name.endswith("/"):
        Path(name).mkdir()
    elif content is not None:
        Path(name).parent.mkdir()
        Path(name).write_bytes(content)
    result = llmlab("validate", "data")
    assert result.code == code
    assert words in result.error
    assert result.hint.startswith("llmlab validate ")
    assert "Traceback" not in result.err


@pytest.mark.slow  # reads two gigabytes
def test_validate_a_2_gb_line(llmlab: CommandLine) -> None:
    """Seconds, because two billion bytes are really read (from a sparse file), 64 MiB of them held at most."""
    path = write(Path("data/a.jsonl"), *GOOD)
    with path.open("ab") as stream:
        stream.truncate(2 << 30)
    result = llmlab("validate", "data")
    assert "a.jsonl:31: a line of 2,048 MiB: the most is 64 MiB" in result.out
    assert result.error == "1 line is bad"


# ---------------------------------------------------------------- upload


def test_upload_then_nothing_to_do(lab: CommandLine, buckets: Aws, recorder: list[str]) -> None:
    write(Path("data/a.jsonl"), *GOOD)
    write(Path("data/sub/b.jsonl"), {"text": "x"})
    Path("data/notes.md").write_text("not data")
    facts = lab("upload", "data", "--json").json
    assert facts["sent"] == ["a.jsonl", "sub/b.jsonl"]
    found = manifest(buckets)
    assert [file.path for file in found.files] == ["a.jsonl", "sub/b.jsonl"]
    assert found.facts["examples"] == 31
    for file in found.files:
        answer = buckets.s3.get_object(
            Bucket=buckets.names.data_bucket, Key=contract.dataset_prefix("data") + file.path, VersionId=file.version
        )
        assert hashlib.sha256(answer["Body"].read()).hexdigest() == file.sha256
    recorder.clear()
    again = lab("upload", "data")
    assert again.code == 0
    assert "sent 0 (0 B), 2 unchanged" in again.out
    assert writes(recorder) == []


def test_upload_sends_what_changed_and_drops_what_is_gone(lab: CommandLine, buckets: Aws, recorder: list[str]) -> None:
    write(Path("data/a.jsonl"), *GOOD)
    write(Path("data/b.jsonl"), {"text": "x"})
    write(Path("data/c.jsonl"), {"text": "z"})
    lab("upload", "data", "--name", "mine")
    before = manifest(buckets, "mine")
    write(Path("data/b.jsonl"), {"text": "y"})
    Path("data/c.jsonl").unlink()
    recorder.clear()
    facts = lab("upload", "data", "--name", "mine", "--json").json
    assert (facts["sent"], facts["removed"]) == (["b.jsonl"], ["c.jsonl"])
    assert recorder.count("s3:PutObject") == 2, "the file and the manifest"
    after = manifest(buckets, "mine")
    assert [file.path for file in after.files] == ["a.jsonl", "b.jsonl"]
    assert after.files[0] == before.files[0]
    old = buckets.s3.get_object(
        Bucket=buckets.names.data_bucket, Key=contract.dataset_prefix("mine") + "c.jsonl", VersionId=before.files[2].version
    )
    assert old["Body"].read() == b'{"text":"z"}\n', "a run that was launched with the former manifest still finds its data"


def test_upload_refuses_bad_lines_and_uploads_nothing(lab: CommandLine, buckets: Aws, recorder: list[str]) -> None:
    write(Path("data/a.jsonl"), *GOOD, b"{")
    result = lab("upload", "data")
    assert result.code == 1
    assert result.error == "1 line is bad, nothing was uploaded"
    assert result.hint == "llmlab upload data --skip-bad"
    assert "a.jsonl:31: not JSON" in result.out
    assert writes(recorder) == []
    assert lab("upload", "data", "--json").json["problems"][0]["line"] == 31
    assert lab("upload", "data", "--name", "x").hint == "llmlab upload data --name x --skip-bad"


def test_upload_without_bad_lines(lab: CommandLine, buckets: Aws, recorder: list[str]) -> None:
    write(Path("data/a.jsonl"), *GOOD, b"{")
    write(Path("data/b.jsonl"), b"nothing good")
    assert lab("upload", "data", "--skip-bad", "--json").json["dropped"] == 2
    (file,) = manifest(buckets).files
    assert file.path == "a.jsonl"
    assert manifest(buckets).facts["examples"] == 30
    body = buckets.s3.get_object(Bucket=buckets.names.data_bucket, Key=contract.dataset_prefix("data") + "a.jsonl")["Body"].read()
    assert body == b"".join(orjson.dumps(row) + b"\n" for row in GOOD)
    recorder.clear()
    lab("upload", "data", "--skip-bad")
    assert writes(recorder) == [], "a cleaned file is the same every time"


def test_upload_in_parts(lab: CommandLine, buckets: Aws, recorder: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PART", 5 << 20)
    write(Path("data/a.jsonl"), *[{"text": "x" * (1 << 20)}] * 12)
    lab("upload", "data")
    assert recorder.count("s3:UploadPart") == 3
    (file,) = manifest(buckets).files
    body = buckets.s3.get_object(Bucket=buckets.names.data_bucket, Key=contract.dataset_prefix("data") + "a.jsonl", VersionId=file.version)[
        "Body"
    ].read()
    assert hashlib.sha256(body).hexdigest() == file.sha256


@pytest.mark.parametrize("size", [5 << 20, 1])
def test_an_interrupted_upload_leaves_the_old_manifest_and_goes_on(
    lab: CommandLine, buckets: Aws, recorder: list[str], monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(sending, "PART", 5 << 20)
    write(Path("data/a.jsonl"), *GOOD)
    lab("upload", "data")
    before = manifest(buckets)
    write(Path("data/a.jsonl"), *GOOD[1:])
    write(Path("data/b.jsonl"), *GOOD, {"text": "x" * size})

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(documents, "write", interrupt)
        result = lab("upload", "data")
    assert result.code == 130
    assert result.hint == "llmlab upload data"
    assert "manifest was not written" in result.error
    assert manifest(buckets) == before
    recorder.clear()
    assert lab("upload", "data").code == 0
    assert writes(recorder) == ["s3:PutObject"], "both files were there: only the manifest is sent"
    assert [file.path for file in manifest(buckets).files] == ["a.jsonl", "b.jsonl"]


def test_an_interrupted_part_aborts_the_upload(lab: CommandLine, buckets: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PART", 5 << 20)
    write(Path("data/a.jsonl"), *[{"text": "x" * (1 << 20)}] * 12)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sending, "_put_part", interrupt)
    assert lab("upload", "data").code == 130
    assert "Uploads" not in buckets.s3.list_multipart_uploads(Bucket=buckets.names.data_bucket)
    assert objects.listing(buckets, buckets.names.data_bucket, "") == []


def test_a_file_that_changes_meanwhile_is_refused(buckets: Aws, tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"other")
    outgoing = sending.UploadFile(file, "a", 5, changed=1)
    with pytest.raises(Exception, match="changed while it was sent"):
        sending.send(buckets, buckets.names.data_bucket, [outgoing])


def test_upload_a_model(lab: CommandLine, buckets: Aws) -> None:
    folder = Path("tiny")
    folder.mkdir()
    assert lab("upload", folder, "--model", "tiny").error == "tiny is not a model folder: it has no config.json"
    (folder / "config.json").write_text("{}")
    assert lab("upload", folder, "--model", "tiny").error == "tiny is not a model folder: it has no weights (*.safetensors)"
    (folder / "model.safetensors").write_bytes(b"\0" * 9)
    (folder / ".gitattributes").write_text("")
    result = lab("upload", folder, "--model", "tiny")
    assert result.code == 0
    assert "next: llmlab estimate --set model=lab:tiny" in result.err
    assert [file.path for file in manifest(buckets, "tiny", contract.MODELS).files] == ["config.json", "model.safetensors"]
    assert lab("upload", folder, "--model", "tiny", "--name", "x").code == 2


def test_upload_needs_a_lab_and_a_name(lab: CommandLine, lab_aws: Aws, recorder: list[str]) -> None:
    write(Path("data/a.jsonl"), *GOOD)
    result = lab("upload", "data")
    assert result.error == f"there is no lab {lab_aws.lab} in {lab_aws.region} yet"
    assert result.hint.endswith("bootstrap")
    assert lab("upload", "data", "--name", "Big Data").hint == "llmlab upload data --name my-name"


# ---------------------------------------------------------------- fetch


def put(aws: Aws, key: str, content: bytes, **more: Any) -> DataFile:
    aws.s3.put_object(Bucket=aws.names.outputs_bucket, Key=key, Body=content, **more)
    return DataFile(key.removeprefix(KEYS.output), len(content), hashlib.sha256(content).hexdigest())


@pytest.fixture
def finished(buckets: Aws) -> Aws:
    """A run with an adapter, a log, a whole checkpoint and half a one."""
    put(buckets, KEYS.spec, b"{}")
    put(buckets, KEYS.status, b"{}")
    put(buckets, KEYS.log(contract.LogStream.TRAINING, 1), b"step 1\n")
    files = (
        put(buckets, KEYS.output + "adapter/adapter_model.safetensors", b"weights" * 1000),
        put(buckets, KEYS.output + contract.METRICS_FILE, b"{}\n"),
        put(buckets, KEYS.output + "empty.txt", b""),
    )
    whole = put(buckets, KEYS.checkpoint(10) + "optimizer.pt", b"state")
    complete = Complete(10, (DataFile("optimizer.pt", whole.size, whole.sha256),))
    documents.write(buckets, buckets.names.outputs_bucket, KEYS.checkpoint(10) + contract.COMPLETE, complete)
    put(buckets, KEYS.checkpoint(20) + "optimizer.pt", b"half")
    documents.write(
        buckets, buckets.names.outputs_bucket, KEYS.success, Marker(RUN, EndReason.COMPLETED, "2026-11-24T00:00:00Z", 1, files=files)
    )
    return buckets


def test_fetch_then_nothing_to_do(lab: CommandLine, finished: Aws, recorder: list[str]) -> None:
    result = lab("fetch", "latest")
    assert result.code == 0
    folder = Path("outputs", RUN)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    expected = ["SUCCESS", "adapter/adapter_model.safetensors", "empty.txt", "logs/1/training.log", "metrics.jsonl", "spec.json"]
    assert names == expected
    assert (folder / "adapter/adapter_model.safetensors").read_bytes() == b"weights" * 1000
    assert f"llmlab fetch {RUN} --only checkpoints" in result.out
    recorder.clear()
    again = lab("fetch", RUN, "--json").json
    assert (again["fetched"], again["checked"], len(again["files"])) == ([], 3, 6)
    gets = recorder.count("s3:GetObject")
    assert gets == 1, "the marker, and no file"


def test_fetch_mends_what_was_spoiled(lab: CommandLine, finished: Aws) -> None:
    lab("fetch")
    adapter = Path("outputs", RUN, "adapter/adapter_model.safetensors")
    adapter.write_bytes(b"Weights" * 1000)
    facts = lab("fetch", "--json", "--only", "adapter").json
    assert facts["fetched"] == ["adapter/adapter_model.safetensors"]
    assert adapter.read_bytes() == b"weights" * 1000


def test_fetch_checkpoints_takes_whole_ones(lab: CommandLine, finished: Aws) -> None:
    facts = lab("fetch", "--only", "checkpoints", "--json").json
    assert facts["files"] == ["checkpoints/checkpoint-10/COMPLETE", "checkpoints/checkpoint-10/optimizer.pt"]
    assert facts["checked"] == 1
    assert list(facts["left"]) == ["report", "logs", "adapter"]
    lab("fetch", "--only", "logs,adapter")
    out = lab("fetch", "--only", "checkpoints").out
    assert "of report\n" in out, "what is here is not left there"
    assert f"which comes with: llmlab fetch {RUN} --only report\n" in out
    assert lab("fetch", "--only", "adaptor").error == "there is no part adaptor to fetch, only adapter, checkpoints, logs, report"


@pytest.mark.parametrize("held", [b"weights" * 400, b"wrong!!" * 400, b"weights" * 1000, b"weights" * 2000])
def test_fetch_goes_on_from_a_part(
    lab: CommandLine, finished: Aws, held: bytes, recorder: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiving, "PART", 1500)
    path = Path("outputs", RUN, "adapter/adapter_model.safetensors")
    path.parent.mkdir(parents=True)
    receiving.partial(path).write_bytes(held)
    assert lab("fetch", RUN, "--only", "adapter").code == 0
    assert path.read_bytes() == b"weights" * 1000
    assert not receiving.partial(path).exists()
    gets = recorder.count("s3:GetObject") - 1  # the marker
    assert gets == {b"weights" * 400: 3, b"wrong!!" * 400: 3 + 5, b"weights" * 1000: 0, b"weights" * 2000: 5}[held]


def test_fetch_refuses_damage(lab: CommandLine, finished: Aws) -> None:
    put(finished, KEYS.output + contract.METRICS_FILE, b"[]\n")
    result = lab("fetch", "--only", "report")
    assert result.code == 1
    assert "metrics.jsonl is not what its SHA-256 says" in result.error
    assert not Path("outputs", RUN, "metrics.jsonl").exists()
    put(finished, KEYS.output + contract.METRICS_FILE, b"longer\n")
    assert "has 7 bytes, and 3 were promised" in lab("fetch", "--only", "report").error
    documents.delete(finished, finished.names.outputs_bucket, KEYS.output + contract.METRICS_FILE)
    assert "is listed as part of run" in lab("fetch").error


def test_fetch_does_not_leave_its_folder(lab: CommandLine, finished: Aws) -> None:
    """What leads out is told and left out; the results come all the same."""
    names = ["../../evil", "adapter/../../../../evil", "/etc/evil", "a//b", "back\\slash"]
    for name in names:
        finished.s3.put_object(Bucket=finished.names.outputs_bucket, Key=KEYS.output + name, Body=b"x")
    result = lab("fetch")
    assert result.code == 0
    assert result.out.count("left out, because it leads out of") == len(names)
    assert Path("outputs", RUN, "adapter/adapter_model.safetensors").exists()
    assert not [path for path in Path().rglob("*") if "evil" in path.name or "slash" in path.name]


def test_fetch_of_odd_keys(lab: CommandLine, finished: Aws) -> None:
    """Folders of S3's console, names as long as can be, a file that is a folder too, and names of the run's own documents."""
    for key in (KEYS.output, KEYS.output + "dir/", KEYS.output + "adapter/"):
        finished.s3.put_object(Bucket=finished.names.outputs_bucket, Key=key)
    long = {f"{letter * 255}": letter.encode() for letter in "ab"}
    odd = {**long, "x" * 600: b"600", "both": b"file", "both/inner": b"inner", "SUCCESS": b"ours", "logs/1/training.log": b"ours"}
    for name, content in odd.items():
        put(finished, KEYS.output + name, content)
    facts = lab("fetch", "--json").json
    assert (facts["skipped"], facts["over"], len(facts["files"])) == ([], True, 6 + len(odd))
    folder = Path("outputs", RUN)
    assert [(folder / name).read_bytes() for name in long] == list(long.values())
    assert (folder / "both/inner").read_bytes() == b"inner"
    assert [path.read_bytes() for path in folder.glob("both~*")] == [b"file"]
    assert (folder / "output/SUCCESS").read_bytes() == b"ours"
    assert b'"completed"' in (folder / "SUCCESS").read_bytes()
    assert (folder / "logs/1/training.log").read_bytes() == b"step 1\n"
    assert lab("fetch", "--json").json["fetched"] == []
    assert not list(folder.rglob("*.part"))


def test_fetch_with_a_marker_that_cannot_be_read(lab: CommandLine, finished: Aws) -> None:
    put(finished, KEYS.success, b"[[[[")
    put(finished, KEYS.checkpoint(10) + contract.COMPLETE, b"[[[[")
    result = lab("fetch", "--only", "adapter,checkpoints")
    assert result.code == 0
    assert result.out.count("not checked against its SHA-256s") == 2
    assert Path("outputs", RUN, "adapter/adapter_model.safetensors").exists()


def test_fetch_says_what_cannot_be_written(lab: CommandLine, finished: Aws) -> None:
    Path("outputs").write_text("a file where the folder is to be", encoding="utf-8")
    result = lab("fetch")
    assert (result.code, result.hint) == (1, "df -h .")
    assert "cannot be written" in result.error


def test_fetch_a_run_that_is_not_over(lab: CommandLine, buckets: Aws) -> None:
    assert lab("fetch").error == "there are no runs yet"
    put(buckets, KEYS.spec, b"{}")
    put(buckets, KEYS.output + contract.METRICS_FILE, b"1\n")
    result = lab("fetch", RUN)
    assert result.code == 0
    assert f"run {RUN} is not over" in result.out
    put(buckets, KEYS.output + contract.METRICS_FILE, b"1\n2\n")
    assert lab("fetch", RUN, "--json").json["fetched"] == ["metrics.jsonl"], "it has grown"


def test_fetch_restores_what_is_archived(lab: CommandLine, finished: Aws, recorder: list[str]) -> None:
    put(finished, KEYS.log(contract.LogStream.SETUP, 1), b"old\n", StorageClass="GLACIER")
    result = lab("fetch", "--only", "logs,adapter")
    assert result.code == 1
    assert "archived: 1 files, 4 B in GLACIER; their restore takes 3 to 5 hours" in result.out
    assert result.hint == f"llmlab fetch --only logs,adapter {RUN}"
    assert recorder.count("s3:RestoreObject") == 1
    assert Path("outputs", RUN, "adapter/adapter_model.safetensors").exists(), "what can be read is fetched"


def test_the_clock_dates_the_manifest(lab: CommandLine, buckets: Aws) -> None:
    lab.clock = ManualClock(contract.run_started(RUN))
    write(Path("data/a.jsonl"), *GOOD)
    lab("upload", "data/a.jsonl")
    assert manifest(buckets, "a").created == "2026-01-01T00:00:00Z"


# ---------------------------------------------------------------- what a dataset is, told before it is paid for


def test_skip_bad_is_a_fact_of_the_dataset(lab: CommandLine, buckets: Aws, recorder: list[str]) -> None:
    """The files are the same with and without it; the manifest is not, because the trainer asks it."""
    write(Path("data/a.jsonl"), *GOOD)
    lab("upload", "data")
    assert manifest(buckets).facts["skip_bad"] is False
    recorder.clear()
    assert "sent 0 (0 B), 1 unchanged" in lab("upload", "data", "--skip-bad").out
    assert manifest(buckets).facts["skip_bad"] is True
    assert writes(recorder) == ["s3:PutObject"]


def test_parts_of_a_dataset_are_told_and_are_facts(lab: CommandLine, buckets: Aws) -> None:
    for name, count in (("train", 3), ("valid", 2), ("test", 1)):
        write(Path(f"data/{name}.jsonl"), *[{"text": f"{name} {at}"} for at in range(count)])
    out = lab("upload", "data").out
    assert "2 examples held out for evaluation, and not trained on: valid.jsonl" in out
    assert "1 examples never trained on: test.jsonl" in out
    facts = manifest(buckets).facts
    assert facts["examples"] == 3
    assert facts["splits"]["valid"] == {"files": ["valid.jsonl"], "examples": 2}
    assert facts["splits"]["test"] == {"files": ["test.jsonl"], "examples": 1}


LOG = [
    {"request": {"messages": [{"role": "user", "content": "a"}]}, "response": {"content": "1"}},
    {"request": {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "1"}, {"role": "user", "content": "b"}]},
     "response": {"content": "2", "stop_reason": "max_tokens"}},
    {"request": {"messages": [{"role": "user", "content": "c"}]}, "response": {"type": "error"}},
]  # fmt: skip


def test_logs_that_repeat_themselves_go_as_rows_with_their_origin(lab: CommandLine, buckets: Aws, recorder: list[str]) -> None:
    write(Path("data/log.jsonl"), *LOG)
    write(Path("data/once.jsonl"), LOG[2], {**LOG[0], "request": {"messages": [{"role": "user", "content": "z"}]}})
    result = lab("upload", "data")
    assert "1 repeated requests, 1 of their answers carry loss where they are held" in result.out
    assert "2 failed requests (log.jsonl:3, once.jsonl:1)" in result.out
    assert "1 answers end at the limit of their length" in result.out

    def body(name: str) -> bytes:
        content: bytes = buckets.s3.get_object(Bucket=buckets.names.data_bucket, Key=contract.dataset_prefix("data") + name)["Body"].read()
        return content

    (row,) = map(orjson.loads, body("log.jsonl").splitlines())
    assert row["origin"] == {"file": "log.jsonl", "line": 2}
    assert [message.get("cut") for message in row["messages"]] == [None, None, None, True]
    assert body("once.jsonl") == Path("data/once.jsonl").read_bytes(), "every other file goes byte for byte"
    recorder.clear()
    assert "2 unchanged" in lab("upload", "data").out
    assert writes(recorder) == []


def test_a_transcript_goes_as_rows(lab: CommandLine, buckets: Aws) -> None:
    lines = [
        {"type": "user", "sessionId": "s", "uuid": "u1", "parentUuid": None, "message": {"role": "user", "content": "a"}},
        {
            "type": "assistant",
            "sessionId": "s",
            "uuid": "u2",
            "parentUuid": "u1",
            "message": {"id": "m", "role": "assistant", "content": "1"},
        },
    ]
    write(Path("data/session.jsonl"), *lines)
    assert lab("upload", "data").code == 0
    assert manifest(buckets).facts["formats"] == {"claude-code": 1}
    content = buckets.s3.get_object(Bucket=buckets.names.data_bucket, Key=contract.dataset_prefix("data") + "session.jsonl")["Body"].read()
    assert orjson.loads(content)["messages"] == [{"role": "user", "content": "a"}, {"role": "assistant", "content": "1"}]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"text": "a"}, {"prompt": "a", "chosen": "b", "rejected": "c"}], "text and preference examples cannot be trained together"),
        (LOG[2:], "no line of data can be trained on: 1 failed requests"),
    ],
)
@pytest.mark.parametrize("skip_bad", [(), ("--skip-bad",)])
def test_what_no_objective_learns_from_is_refused(
    lab: CommandLine, buckets: Aws, recorder: list[str], rows: list[Any], words: str, skip_bad: tuple[str, ...]
) -> None:
    write(Path("data/a.jsonl"), *rows)
    for command in ("validate", "upload"):
        result = lab(command, "data", *skip_bad)
        assert result.code == 1
        assert words in result.error
        assert result.hint == "llmlab validate --forms"
    assert writes(recorder) == []


LABELLED = [{"prompt": f"{number} + 1?", "completion": str(number), "label": number % 2 == 0} for number in range(6)]


def test_labels_are_taken_where_they_are_said_to_be_for_kto(lab: CommandLine, buckets: Aws, recorder: list[str]) -> None:
    write(Path("data/a.jsonl"), *LABELLED)
    for command in ("validate", "upload"):
        result = lab(command, "data")
        assert result.code == 1
        assert "6 rows have a label: unpaired preferences, which objective kto learns from and no other" in result.error
        assert result.hint == f"llmlab {command} data --objective kto"
    assert writes(recorder) == []
    assert lab("validate", "data", "--objective", "kto", "--json").json["labels"] == {"good": 3, "bad": 3}
    assert "3 good and 3 bad" in lab("validate", "data", "--objective", "kto").out
    result = lab("upload", "data", "--objective", "kto")
    assert result.code == 0, result.error
    assert "next: llmlab launch --data data --recipe kto" in result.err
    facts = manifest(buckets).facts
    assert (facts["objective"], facts["labels"], facts["kinds"]) == ("kto", {"good": 3, "bad": 3}, {"kto": 6})


@pytest.mark.parametrize(
    ("rows", "objective", "words", "hint"),
    [
        (LABELLED[::2], "kto", "every label of data says that the answer is good, and objective kto learns from good and bad ones",
         "llmlab validate --forms"),
        (LABELLED, "sft", "objective kto learns from the rows of data, and objective sft does not",
         "llmlab {command} data --objective kto"),
        (GOOD, "kto", "objective sft learns from the rows of data, and objective kto does not", "llmlab {command} data --objective sft"),
        ([*LABELLED, GOOD[0]], "kto", "kto and chat examples cannot be trained together", "llmlab validate --forms"),
    ],
)  # fmt: skip
def test_what_an_objective_does_not_learn_from_is_not_uploaded_for_it(
    lab: CommandLine, buckets: Aws, recorder: list[str], rows: list[Any], objective: str, words: str, hint: str
) -> None:
    assert buckets
    write(Path("data/a.jsonl"), *rows)
    for command in ("validate", "upload"):
        result = lab(command, "data", "--objective", objective)
        assert result.code == 1
        assert words in result.error
        assert result.hint == hint.format(command=command)
    assert writes(recorder) == []


def test_kinds_in_files_of_their_own_can_be_put_apart(llmlab: CommandLine) -> None:
    write(Path("data/a.jsonl"), *GOOD)
    write(Path("data/b.jsonl"), {"prompt": "a", "chosen": "b", "rejected": "c"})
    assert llmlab("validate", "data").hint == "mkdir data-preferences && mv data/b.jsonl data-preferences"


def test_keys_that_nobody_reads_are_named(llmlab: CommandLine) -> None:
    write(Path("data/a.jsonl"), *[{**row, "persona": "x"} for row in GOOD])
    assert "keys that llmlab does not know, and their rows: persona (30)" in llmlab("validate", "data").out
    assert llmlab("validate", "data", "--json").json["unread"] == {"persona": 30}


def test_the_forms_are_printed(llmlab: CommandLine) -> None:
    result = llmlab("validate", "--forms")
    assert result.code == 0
    assert "claude-code: a file of Claude Code's" in result.out
    assert len(llmlab("validate", "--forms", "--json").json) > 15


def test_data_is_compared_with_the_recipe_at_hand(ready: CommandLine, project: Path) -> None:
    rows = project / "pairs"
    rows.mkdir()
    (rows / "train.jsonl").write_text('{"prompt": "2+2?", "chosen": "4", "rejected": "' + "5" * 400 + '"}\n')
    assert "objective" not in ready("validate", rows).err
    recipe = project / "recipe.yaml"
    recipe.write_text("model: lab:tiny\nmax_length: 50\n")
    words = "with the recipe of this folder, all 1 examples of pairs are preferences (chosen, rejected), which objective sft does not"
    checked = ready("validate", rows)
    assert checked.code == 0
    assert words in " ".join(checked.err.split())
    assert "over 50 tokens" in checked.out
    sent = ready("upload", rows)
    assert sent.code == 0
    assert "next: llmlab upload tiny/ --model tiny\n" in sent.err
    recipe.write_text("model: Qwen/Qwen3-0.6B\nmax_length: 50\n")
    assert "next: llmlab launch --data pairs --set objective=dpo" in ready("upload", rows).err
    recipe.write_text("model: Qwen/Qwen3-0.6B\nobjective: dpo\n")
    assert "next: llmlab launch --data pairs\n" in ready("upload", rows).err
    assert "next: llmlab launch --data pairs --recipe dpo\n" in ready("upload", rows, "--recipe", "dpo").err
    assert "next: llmlab launch --data pairs --set objective=dpo --recipe lora-1b\n" in ready("upload", rows, "--recipe", "lora-1b").err
    for command in ("validate", "upload"):
        assert ready(command, rows, "--recipe", "kt").hint == f"llmlab {command} {rows} --recipe kto"
    recipe.write_text("modell: lab:tiny\n")
    broken = ready("validate", rows)
    assert broken.code == 0
    assert "data and recipe were not compared: " in broken.err
