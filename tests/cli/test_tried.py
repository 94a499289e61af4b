"""A recipe's chat template tried on a dataset before a run: what validate and upload say, the manifest keeps, and launch makes of it."""

import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from llmlab import contract
from llmlab.aws.session import Aws
from llmlab.contract import Manifest
from llmlab.dataset.rendering.model_files import ModelFiles
from llmlab.ops import estimate
from llmlab.recipe import check
from tests.cli.conftest import CommandLine

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TEMPLATE = (
    "{%- for m in messages -%}{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{- raise_exception('Conversation roles must alternate user/assistant.') -}}{%- endif -%}"
    "{{- '<|start|>' + m.role + '\n' -}}{%- if m.role == 'assistant' and loop.last -%}{{- '<think>\n\n</think>\n' -}}{%- endif -%}"
    "{{- m.content + '<|end|>\n' -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|start|>assistant\n' -}}{%- endif -%}"
)


def said(*contents: str) -> dict[str, Any]:
    return {"messages": [{"role": "user" if at % 2 == 0 else "assistant", "content": content} for at, content in enumerate(contents)]}


GOOD = [said("2+2?", "4"), said("2+2?", "4", "And 3+3?", "6", "And 4+4?", "8"), said("long", "word " * 200)]
TWICE = {"messages": [{"role": role, "content": role} for role in ("user", "user", "assistant")]}


@pytest.fixture
def model(project: Path) -> Path:
    """A folder with a tokenizer of bytes, as transformers writes it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder = project / "tiny"
    folder.mkdir()
    alphabet = {character: number for number, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    bare = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    bare.add_special_tokens(["<|start|>", "<|end|>"])
    bare.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>", "chat_template": TEMPLATE}))
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def data(project: Path) -> Path:
    folder = project / "sums"
    folder.mkdir()
    rows(folder, *GOOD)
    return folder


def rows(folder: Path, *every: dict[str, Any]) -> None:
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in every))


def manifest(aws: Aws, name: str = "sums") -> Manifest:
    answer = aws.s3.get_object(Bucket=aws.names.data_bucket, Key=contract.dataset_prefix(name) + contract.MANIFEST)
    return contract.load(Manifest, answer["Body"].read())


def test_validate_tells_what_the_template_of_a_folder_refuses_and_makes(llmlab: CommandLine, model: Path, data: Path) -> None:
    good = llmlab("validate", data, "--tokenizer", model, "--max-length", "128")
    assert good.code == 0, good.err
    assert "tried on every row" in good.out
    assert "5: of 1 conversations each answer is one" in good.out
    assert "1 of 3 over 128 tokens (train.jsonl:3)" in " ".join(good.out.split())
    template = llmlab("validate", data, "--tokenizer", model, "--json").json["template"]
    texts = [said("2+2?", "4"), said("2+2?", "4"), said("2+2?", "4", "And 3+3?", "6"), GOOD[1], GOOD[2]]
    # each text: a header, the words and an end for each message, and the empty thoughts of the last
    words = sum(len(m["content"].encode()) + 1 + len(m["role"]) + 2 + 1 for one in texts for m in one["messages"])
    assert template["sequences"] == 5
    assert template["tokens"] == words + len(texts) * len("<think>\n\n</think>\n")
    rows(data, *GOOD, TWICE)
    bad = llmlab("validate", data, "--tokenizer", model)
    assert bad.code == 1
    reason = "the chat template refuses the messages: Conversation roles must alternate user/assistant"
    assert f"train.jsonl:4: {reason}; messages[0] and messages[1] are both of the user: make them one" in " ".join(bad.out.split())
    assert bad.error == "1 row is refused by the chat template"
    assert bad.hint.startswith("llmlab validate ")
    assert bad.hint.endswith(" --skip-bad")
    assert llmlab("validate", data, "--tokenizer", model, "--skip-bad").code == 0


def test_tokens_that_nothing_teaches_are_refused_before_they_are_paid_for(
    llmlab: CommandLine, project: Path, model: Path, data: Path
) -> None:
    recipe = project / "mine.yaml"
    recipe.write_text("model: a/b\nadditional_special_tokens: ['<tool>', '<|end|>']\n")
    refused = llmlab("validate", data, "--recipe", recipe, "--tokenizer", model)
    assert (refused.code, refused.error) == (2, "the model a/b has never met <tool>, and an adapter alone cannot teach them")
    assert refused.hint == "llmlab launch --set 'lora.modules_to_save=[embed_tokens,lm_head]'"
    recipe.write_text(recipe.read_text() + "lora: {modules_to_save: [embed_tokens, lm_head]}\n")
    assert llmlab("validate", data, "--recipe", recipe, "--tokenizer", model).code == 0


def test_a_template_that_never_ends_is_stopped(llmlab: CommandLine, model: Path, data: Path) -> None:
    (model / "chat_template.jinja").write_text("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")
    stopped = llmlab("validate", data, "--tokenizer", model)
    assert stopped.code == 1
    assert "the chat template of the model was stopped: it takes more than a million steps" in stopped.error


def test_a_model_of_the_lab_is_tried_by_upload_and_known_to_launch(
    ready: CommandLine, lab_aws: Aws, model: Path, data: Path, project: Path
) -> None:
    recipe = project / "recipe.yaml"
    recipe.write_text("model: lab:tiny\nmax_length: 128\n")
    missing = ready("validate", data)
    assert missing.code == 0
    assert "the chat template of lab:tiny was not tried on the data: no model tiny has been uploaded" in missing.err
    assert ready("upload", data).code == 0
    assert ready("upload", model, "--model", "tiny").code == 0
    launch = ("launch", "--data", "sums", "--dry-run", "--instance-type", "g6.xlarge")
    untried = ready(*launch)
    assert untried.code == 0, untried.err
    words = " ".join((untried.out + untried.err).split())
    assert "the chat template of lab:tiny was not tried on sums (sums was tried with none)" in words
    assert "llmlab upload data/ --name sums with this recipe at hand" in words
    rows(data, *GOOD, TWICE)
    done = ready("upload", data)
    assert done.code == 0
    assert "1 row is refused by the chat template of lab:tiny" in done.err
    assert "--skip-bad" in done.err
    facts = manifest(lab_aws).facts
    assert facts["template"]["hash"] == ModelFiles(model).hash
    assert facts["template"]["refused_lines"][0]["at"] == "train.jsonl:4"
    assert (facts["template"]["refused"], facts["template"]["sequences"], facts["tokenizer"]) == (1, 5, "lab:tiny")
    refused = ready(*launch)
    assert refused.code == 1
    assert refused.error.startswith("the chat template of lab:tiny refuses 1 row of sums (train.jsonl:4: the chat template refuses")
    assert refused.hint == "llmlab upload data/ --name sums --skip-bad"
    assert ready("upload", data, "--skip-bad").code == 0
    allowed = ready(*launch)
    assert allowed.code == 0, allowed.err
    words = " ".join((allowed.out + allowed.err).split())
    assert "left out, because the chat template of lab:tiny refuses them: 1 of the rows" in words
    assert "2 of 3 examples fit into max_length 128; 1 would be left out" in words
    (model / "chat_template.jinja").write_text(TEMPLATE + "!")
    assert ready("upload", model, "--model", "tiny").code == 0
    assert "was not tried on sums (sums was tried with the template of lab:tiny)" in " ".join(ready(*launch).out.split())


def test_the_recipes_own_template_is_tried_and_travels_with_the_run(
    ready: CommandLine, lab_aws: Aws, model: Path, data: Path, project: Path
) -> None:
    """It takes what the model's own refuses, and what was tried with one says nothing of the other."""
    launch = ("launch", "--data", "sums", "--dry-run", "--instance-type", "g6.xlarge")
    recipe, template = project / "recipe.yaml", project / "mine.jinja"
    template.write_text("{%- for m in messages -%}{{- '<|start|>' + m.role + '\n' + m.content + '<|end|>\n' -}}{%- endfor -%}")
    recipe.write_text("model: lab:tiny\nmax_length: 128\nchat_template: mine.jinja\n")
    rows(data, *GOOD, TWICE)
    assert ready("upload", model, "--model", "tiny").code == 0
    sent = ready("upload", data)
    assert sent.code == 0, sent.err
    assert "the recipe's, tried on every row" in " ".join(sent.out.split())
    facts = manifest(lab_aws).facts["template"]
    assert (facts["template"], facts["refused"]) == (sha256(template.read_bytes()).hexdigest(), 0)
    allowed = ready(*launch)
    assert allowed.code == 0, allowed.err
    assert "was not tried" not in allowed.out + allowed.err
    own = ready(*launch, "--set", "chat_template=null")
    assert "the chat template of lab:tiny was not tried on sums (sums was tried with another recipe's template)" in " ".join(
        (own.out + own.err).split()
    )
    template.write_text("{{ raise_exception('Never') }}")
    changed = ready(*launch)
    assert "the chat template mine.jinja was not tried on sums" in " ".join((changed.out + changed.err).split())
    refused = ready("validate", data)
    assert refused.code == 1
    assert refused.error == "4 rows are refused by the recipe's chat template"
    folder = ready("validate", data, "--tokenizer", model, "--json").json["template"]
    assert (folder["refused"], folder["folder"]) == (4, str(model))


def test_the_template_of_another_model_of_the_lab(ready: CommandLine, model: Path, data: Path, project: Path) -> None:
    launch = ("launch", "--data", "sums", "--dry-run", "--instance-type", "g6.xlarge")
    (project / "recipe.yaml").write_text("model: lab:tiny\nchat_template: lab:other\n")
    missing = ready("validate", data)
    assert missing.code == 0
    assert "no chat template was tried on the data: no model other has been uploaded" in missing.err
    other = project / "other"
    shutil.copytree(model, other)
    (other / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": "{% for m in messages %}<|im_start|>{{ m.role }} {{ m.content }}<|end|>{% endfor %}"})
    )
    for folder in (model, other):
        assert ready("upload", folder, "--model", folder.name).code == 0
    sent = ready("upload", data)
    assert sent.code == 0, sent.err
    words = " ".join(sent.err.split())
    assert "the chat template lab:other writes <|im_start|>, which are no tokens of lab:tiny: it reads them letter by letter" in words
    allowed = ready(*launch, "--json")
    assert allowed.code == 0, allowed.err
    assert "was not tried" not in allowed.out
    template = allowed.json["request"]["recipe"]["chat_template"]
    assert (template["file"], template["text"][:12]) == ("lab:other", "{% for m in ")
    assert template["sha256"] == sha256(template["text"].encode()).hexdigest()
    (other / "tokenizer_config.json").write_text("{}")
    assert ready("upload", other, "--model", "other").code == 0
    bare = ready(*launch)
    assert bare.code == 1
    assert bare.error == "the model other has no chat template"


@pytest.mark.parametrize("command", [("validate", "sums"), ("launch", "--data", "sums", "--dry-run")])
def test_a_template_that_is_no_jinja_is_one_sentence(llmlab: CommandLine, data: Path, project: Path, command: tuple[str, ...]) -> None:
    (project / "mine.jinja").write_text("{% for m in messages %}\n{{ m.content }")
    (project / "recipe.yaml").write_text("model: lab:tiny\nchat_template: mine.jinja\n")
    result = llmlab(*command)
    assert result.code == 2
    assert result.error == "the chat template mine.jinja cannot be read in line 2: unexpected '}'"
    assert "--set chat_template=null" in result.hint


def test_estimate_counts_the_sequences_that_fit(ready: CommandLine, lab_aws: Aws, model: Path, data: Path, project: Path) -> None:
    recipe = project / "recipe.yaml"
    recipe.write_text("model: lab:tiny\nmax_length: 128\n")
    assert ready("upload", model, "--model", "tiny").code == 0
    assert ready("upload", data).code == 0
    kept, wanted = manifest(lab_aws), check({"model": "lab:tiny", "max_length": 128, "epochs": 1, "accumulate": 1})
    assert estimate.data_items(kept, wanted) == 4
    assert estimate.steps(wanted, kept) == 4
    longer = wanted.model_copy(update={"max_length": 2048})
    assert estimate.data_items(kept, longer) == 5
    assert estimate.data_tokens(kept, longer) == kept.facts["tokens"] > 1000 > (estimate.data_tokens(kept, wanted) or 0) > 200
    old = Manifest("old", (), kept.created, {"examples": 3, "tokens": 70})
    assert (estimate.data_tokens(old, wanted), estimate.data_items(old, wanted)) == (70, 3)


@pytest.fixture
def hub(model: Path) -> Iterator[tuple[str, set[str]]]:
    """A hub of one model, at this address; the names in the set are answered with what they say."""
    odd: set[str] = set()

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.removeprefix(f"/a/model/resolve/{COMMIT}/")
            file = model / name
            is_file = name != self.path and file.is_file() and name not in odd
            more = model / "additional_chat_templates"
            if self.path.startswith("/api/models/a/model/revision/"):
                body, code = json.dumps({"sha": COMMIT, "gated": False}).encode(), 200
            elif self.path == f"/api/models/a/model/tree/{COMMIT}/{more.name}" and more.is_dir():
                names = [*(file.name for file in more.iterdir()), "../../x.jinja", "notes.md"]
                body, code = json.dumps([{"type": "file", "path": f"{more.name}/{name}", "size": 1} for name in names]).encode(), 200
            else:
                body, code = (file.read_bytes(), 200) if is_file else (b"", 403 if name in odd else 404)
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", odd
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_model_of_the_hub_is_asked_for_its_template(
    llmlab: CommandLine, model: Path, data: Path, project: Path, hub: tuple[str, set[str]]
) -> None:
    address, odd = hub
    (project / "mine.yaml").write_text("model: a/model\n")
    llmlab.environment = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0"}
    tried = llmlab("validate", data, "--recipe", "mine.yaml", "--json")
    template = tried.json["template"]
    assert (template["model"], template["revision"], template["counted"]) == ("a/model", COMMIT, True)
    assert template["hash"] == ModelFiles(model).hash
    (model / "additional_chat_templates").mkdir()
    (model / "additional_chat_templates" / "tool_use.jinja").write_text("{{ raise_exception('no tools today') }}")
    (model / "chat_template.jinja").write_text(TEMPLATE)
    with_tools = GOOD[0] | {"tools": [{"type": "function", "function": {"name": "add", "parameters": {}}}]}
    rows(data, *GOOD, with_tools)
    several = llmlab("validate", data, "--recipe", "mine.yaml", "--json")
    assert several.json["template"]["hash"] == ModelFiles(model).hash != template["hash"]
    assert [(problem["line"], "no tools today" in problem["reason"]) for problem in several.json["template"]["refusals"]] == [(4, True)]
    rows(data, *GOOD)
    odd.add("tokenizer.json")
    estimated = llmlab("validate", data, "--recipe", "mine.yaml")
    assert "lengths are estimated: tokenizer.json of a/model did not come (it answers 403)" in estimated.err
    assert "estimated at 4 bytes a token, template and tools included" in " ".join(estimated.out.split())
    odd.add("tokenizer_config.json")
    gated = llmlab("validate", data, "--recipe", "mine.yaml")
    assert gated.code == 0
    assert "the chat template of a/model was not tried on the data: it answers 403; give its folder with --tokenizer" in gated.err
    llmlab.environment = {"HF_HUB_OFFLINE": "1"}
    assert "was not tried on the data: HF_HUB_OFFLINE is set" in llmlab("validate", data, "--recipe", "mine.yaml").err
    shutil.rmtree(model)
