"""try and merge: what a run left is brought here with its base model, and asked or merged by a program of its own."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmlab import contract
from llmlab.aws import documents
from llmlab.aws.session import Aws
from llmlab.contract import ADAPTER, WHOLE_MODEL, DataFile, EndReason, Manifest, Marker, RunKeys
from llmlab.errors import ExitCode, LabError
from llmlab.ops import merge, program, try_model
from llmlab.ops.extras import install_command
from tests.cli.conftest import CommandLine
from tests.cli.test_report import KEYS, RUN, SPEC

CONFIG = b'{"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 100}'
FILES = {"config.json": CONFIG, "model.safetensors": b"weights"}


def leave(aws: Aws, recipe: dict[str, Any], name: str = ADAPTER) -> None:
    """A finished run, and the model lab:tiny."""
    bucket, data = aws.names.outputs_bucket, aws.names.data_bucket
    for one in (bucket, data):
        aws.s3.create_bucket(Bucket=one)
    documents.write(aws, bucket, KEYS.spec, replace(SPEC, recipe=recipe))
    file = DataFile(f"{name}/adapter_config.json", 2, hashlib.sha256(b"{}").hexdigest())
    aws.s3.put_object(Bucket=bucket, Key=KEYS.output + file.path, Body=b"{}")
    documents.write(aws, bucket, KEYS.success, Marker(RUN, EndReason.COMPLETED, "2026-11-20T11:00:00Z", 1, files=(file,)))
    prefix = contract.model_prefix("tiny")
    for path, content in FILES.items():
        aws.s3.put_object(Bucket=data, Key=prefix + path, Body=content)
    listed = tuple(DataFile(path, len(content), hashlib.sha256(content).hexdigest()) for path, content in FILES.items())
    documents.write(aws, data, prefix + contract.MANIFEST, Manifest("tiny", listed, "2026-11-20T09:00:00Z"))


class Program:
    """Stands for the trainer's program, which needs torch."""

    def __init__(self, **answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, list[str]]] = []

    def __call__(self, module: str, arguments: Sequence[str]) -> Any:
        self.asked.append((module, list(arguments)))
        return self.answer


def test_both_are_asked_with_the_base_model_from_the_bucket(lab: CommandLine, lab_aws: Aws, project: Path) -> None:
    leave(lab_aws, {"model": "lab:tiny"})
    double = Program(prompt="hi", base="b", tuned="t")
    said = try_model.ask(lab_aws, "latest", "hi", Path("outputs"), 16, run=double)
    assert said == try_model.ModelAnswers(RUN, "lab:tiny", "hi", "b", "t")
    base = Path("outputs/models/tiny")
    assert {path.name: path.read_bytes() for path in base.iterdir()} == FILES
    adapter = f"outputs/{RUN}/adapter"
    assert double.asked == [(try_model.PROGRAM, [str(base), adapter, "hi", "--most-tokens", "16", "--revision", "main"])]
    (base / "model.safetensors").write_bytes(b"WEIGHTS")
    try_model.ask(lab_aws, RUN, "hi", Path("outputs"), run=double)
    assert (base / "model.safetensors").read_bytes() == b"weights", "each file is checked again"
    try_model.ask(lab_aws, RUN, "hi", Path("outputs"), base="mine", run=double)
    assert double.asked[-1][1][0] == "mine"


def test_a_model_too_large_for_a_cpu_is_not_even_downloaded(lab: CommandLine, lab_aws: Aws, project: Path) -> None:
    leave(lab_aws, {"model": "Qwen/Qwen3-8B", "revision": "v1"})
    double = Program(prompt="hi", base="b", tuned="t")
    with pytest.raises(LabError, match=r"Qwen/Qwen3-8B has 8.0 billion parameters, and without a GPU up to 3 billion") as caught:
        try_model.ask(lab_aws, "latest", "hi", Path("outputs"), run=double, gpu=lambda: False)
    assert caught.value.hint == f"vllm serve Qwen/Qwen3-8B --enable-lora --lora-modules tuned=outputs/{RUN}/adapter"
    assert not double.asked
    try_model.ask(lab_aws, "latest", "hi", Path("outputs"), run=double, gpu=lambda: True)
    assert double.asked[0][1][-2:] == ["--revision", "v1"]


MERGED = {
    "folder": "x", "files": 5, "size": 1000, "dtype": "float32", "prompt": "p", "difference": 1e-6, "logit": 2.0, "same_words": 1.0,
    "checked": True, "own_tokenizer": True,
}  # fmt: skip


def test_merge_goes_beside_the_adapter(lab: CommandLine, lab_aws: Aws, project: Path) -> None:
    leave(lab_aws, {"model": "lab:tiny"})
    double = Program(**MERGED)
    made = merge.merge(lab_aws, "latest", Path("outputs"), run=double)
    assert (made.run, made.base, made.difference) == (RUN, "outputs/models/tiny", 1e-6)
    assert double.asked[0] == (
        merge.PROGRAM, ["outputs/models/tiny", f"outputs/{RUN}/adapter", f"outputs/{RUN}/merged", "--revision", "main"],
    )  # fmt: skip
    Path("outputs", RUN, "merged").mkdir()
    result = lab("merge", "latest")
    assert result.code == ExitCode.USAGE
    assert result.error == f"outputs/{RUN}/merged is there already"
    assert result.hint == f"llmlab merge {RUN} --output outputs/{RUN}/merged-2"


def test_a_whole_model_has_nothing_to_merge(lab: CommandLine, lab_aws: Aws, project: Path) -> None:
    leave(lab_aws, {"model": "lab:tiny", "method": "full"}, WHOLE_MODEL)
    result = lab("merge", RUN)
    assert result.error == f"run {RUN} trained every weight, so there is nothing to merge: outputs/{RUN}/model"
    assert lab("fetch", RUN, "--json").json["adapter"] == f"outputs/{RUN}/model"


def test_what_is_not_there_is_said(lab: CommandLine, lab_aws: Aws, project: Path) -> None:
    leave(lab_aws, {"model": "lab:other"})
    result = lab("merge", "latest")
    assert result.error == "the model lab:other has not been uploaded; there are: lab:tiny"
    lab_aws.s3.delete_object(Bucket=lab_aws.names.data_bucket, Key=contract.model_prefix("tiny") + "config.json")
    documents.write(lab_aws, lab_aws.names.outputs_bucket, KEYS.spec, replace(SPEC, recipe={"model": "lab:tiny"}))
    result = lab("try", "latest", "hi")
    assert result.error == "models/tiny/config.json is listed as part of the model and is not in the bucket"
    lab_aws.s3.delete_object(Bucket=lab_aws.names.outputs_bucket, Key=f"{KEYS.output}{ADAPTER}/adapter_config.json")
    lab_aws.s3.delete_object(Bucket=lab_aws.names.outputs_bucket, Key=RunKeys(RUN).success)
    for path in sorted(Path("outputs", RUN).rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    assert lab("try", "latest", "hi").error == f"run {RUN} has not put out anything yet"


def test_the_programs_own_words_come_through() -> None:
    with pytest.raises(LabError, match="this needs torch, which is not installed here") as caught:
        program.run("json.tool", [], installed=lambda name: None if name == "torch" else name)
    assert caught.value.hint == install_command("trainer")
    failed = program._failed("llmlab.trainer.export.merge", ["a b"], 1, "noise\nerror: it is so\nhint: llmlab status\n")
    assert (failed.message, failed.hint, failed.exit_code) == ("it is so", "llmlab status", ExitCode.FAILED)
    odd = program._failed("llmlab.trainer.export.merge", ["a b"], -9, "Traceback\nMemoryError\n")
    assert (odd.message, odd.hint) == ("merge failed: MemoryError", "python -m llmlab.trainer.export.merge 'a b'")


def test_views_say_how_exact_it_is() -> None:
    from llmlab.commands.model import merged_view

    made = merge.MergeResult(run=RUN, base="outputs/models/tiny", **MERGED)
    text = "\n".join(merged_view(made))
    assert "warning" not in text
    other = "\n".join(merged_view(replace(made, own_tokenizer=False)))
    assert "warning: the tokenizer is in the form of transformers 5" in other
    assert "logits differ from base and adapter by at most 1e-06 (5.0e-07 of the largest), and 100% of" in text
    assert "its weights are those the adapter was trained on" in text
