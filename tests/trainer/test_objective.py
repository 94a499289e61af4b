"""What is optimised: the same whatever the packing and the batches, on every architecture, and each fast piece what torch's own gives."""

import warnings
from copy import deepcopy
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest

from llmlab import recipe as recipes
from tests.sampling import sampled
from tests.trainer import architectures, work as folders
from tests.trainer.conftest import Train

BATCHES = ((1, 8), (8, 1), (2, 4))
slow = partial(pytest.param, marks=pytest.mark.slow)
LENGTHS = (1, 7, 128, 129, 1030, 300)
"""Of documents: one token, and about the sizes at which the CPU's attention takes other ways; the last is rounded up beyond the row."""


@pytest.mark.parametrize(("method", "form"), [("lora", "messages"), slow("lora", "text"), slow("full", "messages")])
def test_packed_is_unpacked_is_each_alone(tmp_path: Path, model: Path, train: Train, method: str, form: str) -> None:
    """A batch of one that is not packed is each example by itself. Examples differ in length, so each token has to weigh the same.

    Of bare text, here in pieces, every token is trained but the first, which nothing predicts, least of all what lies before it in a row.
    """
    seen = {}
    for packing, (batch, accumulate) in product((True, False), BATCHES):
        recipe = {"packing": packing, "batch_size": batch, "accumulate": accumulate, "method": method}
        recipe |= {"max_steps": 6, "lora": {"rank": 4, "dropout": 0.0}}
        recipe |= {"max_length": 20, "too_long": "split"} if form == "text" else {}
        work = folders.make(tmp_path / f"{packing}-{batch}", model, count=20, form=form, recipe=recipe)
        code, log = train(work)
        assert code == 0, log
        assert f"packing: {'on, a packed row' if packing else 'off, asked for'}" in log
        seen[packing, batch] = folders.losses(work)
    assert len(seen) == 6
    alone = seen[False, 1]
    assert len(alone) == 6
    for each in seen.values():
        for one, two in zip(each, alone, strict=True):
            assert one == pytest.approx(two, rel=1e-5)


PACKED = {
    "llama": True, "qwen2": True, "qwen3": True, "mistral": True, "gemma3_text": True, "phi3": True, "granite": True, "qwen3_moe": True,
    "phimoe": True, "gemma3": True,
    "gemma2": "softcap", "gpt2": "dropout", "gpt_oss": "s_aux", "qwen3_next": "linear_attention", "llama4_text": "chunked_attention",
}  # fmt: skip
"""Each architecture: packed, or what is said of it when it is not."""
WHOLE_HEAD = ("granite", "gemma2")
"""Those whose logits are more than a matrix."""


def test_no_case_is_missing() -> None:
    assert len(PACKED) == 15


@pytest.mark.parametrize("kind", sampled(PACKED, "llama", "qwen3", "gemma2", "gpt2"))
def test_each_architecture_packs_exactly_or_not_at_all(tmp_path: Path, train: Train, kind: str) -> None:
    changed = {"final_logit_softcapping": 2.0} if kind == "gemma2" else {}
    folder = architectures.make(tmp_path / "model", kind, **changed)
    assert set(PACKED) == set(architectures.CONFIGS)
    seen = []
    for packing in ("auto", False):
        recipe = {"packing": packing, "max_steps": 3, "lora": {"rank": 4, "dropout": 0.0}}
        work = folders.make(tmp_path / f"{packing}", folder, count=12, recipe=recipe)
        code, log = train(work)
        assert code == 0, log
        said = next(line for line in log.splitlines() if line.startswith("packing: "))
        if packing == "auto" and PACKED[kind] is True:
            assert said.startswith("packing: on, ")
        elif packing == "auto":
            assert said.startswith("packing: off, the model's attention is not ours: ")
            assert PACKED[kind] in said
        assert f"loss head: {'whole' if kind in WHOLE_HEAD else 'in chunks'}" in log
        seen.append(folders.losses(work))
    for packed, alone in zip(*seen, strict=True):
        assert packed == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize("kind", ["llama", "mistral", "gemma3_text"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_no_document_sees_another(tmp_path: Path, kind: str, dtype: str) -> None:
    """Bit for bit: one is changed, and the others' losses stay."""
    import torch

    from llmlab.trainer.model.collate import packed_row

    objective = objective_of(architectures.make(tmp_path, kind), dtype)
    assert objective.packed
    documents = [document(length, seed) for seed, length in enumerate((9, 40, 23))]
    with torch.no_grad():
        for changed in range(3):
            others = [document(len(one[0]), 7 + at) if at == changed else one for at, one in enumerate(documents)]
            rows = [packed_row(documents, 3), packed_row(others, 3)]
            before, after = (objective.token_losses(objective.causal, row)[0] for row in rows)
            kept = rows[0].sequence_ids != changed
            assert torch.equal(before[kept], after[kept])
            assert not torch.equal(before, after)


def document(length: int, seed: int) -> tuple[Any, Any]:
    """Ids and mask as the store gives them."""
    import numpy as np

    return np.random.default_rng(seed).integers(3, 500, length).astype(np.uint32), np.ones(length, bool)


def objective_of(folder: Path, dtype: str) -> Any:
    from transformers import AutoModelForCausalLM

    from llmlab.trainer.device import Device
    from llmlab.trainer.model import objective

    class Some:
        """Enough of the token store for what is tried before training."""

        width = 1

        def __len__(self) -> int:
            return 3

        def sequence(self, number: int) -> tuple[Any, Any]:
            return document(30 + number, number)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoModelForCausalLM.from_pretrained(folder).eval()
        tokens: Any = Some()
        return objective.choose(model, recipes.check({"model": "a/b"}), Device("cpu", dtype), tokens, lambda _text: None)


def test_what_was_fused_is_copied_whole() -> None:
    """The reference of a full preference training is a copy: it must not read the weights that are being trained."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from llmlab.trainer.model.fusing import fuse

    model = LlamaForCausalLM(LlamaConfig(vocab_size=50, **architectures.SIZE)).eval()
    ids = torch.arange(10)[None]
    with torch.no_grad():
        plain = model(ids).logits
        assert fuse(model, model, "cpu") == "5 norms, 2 gates, 2 rotations"
        assert (model(ids).logits - plain).abs().max() < 1e-5
        copy = deepcopy(model)
        for one in model.parameters():
            one.mul_(0.5)
        assert (copy(ids).logits - plain).abs().max() < 1e-5


@pytest.mark.filterwarnings("ignore")  # dynamo instantiates functions of autograd, and looks at the gradient of every tensor
def test_compiled_layers_give_what_plain_ones_give(tmp_path: Path) -> None:
    """Each layer of a model runs code that torch.compile met in another. Without a compiler: what dynamo makes of it is run as it is."""
    import torch

    from llmlab.trainer.model.collate import packed_row
    from llmlab.trainer.model.load import decoder

    objective = objective_of(architectures.make(tmp_path / "model", "llama"), "float32").train()
    rows = [packed_row([document(length, 0), document(2 * length, 1)], 2) for length in (20, 37)]
    plain = [objective(row).loss for row in rows]
    for layer in decoder(objective.causal).layers:
        layer.compile(dynamic=True, backend="eager")
    for row, loss in zip(rows, plain, strict=True):
        compiled = objective(row).loss
        assert float((compiled - loss).abs()) < 1e-4
        compiled.backward()
    torch._dynamo.reset()


# ------------------------------------------------------------ each piece against torch's own

PRECISION = {"float32": 2e-5, "bfloat16": 1e-2}
"""Norm of the difference over the norm, at most."""


def apart(one: Any, two: Any) -> float:
    one, two = one.detach().float(), two.detach().float()
    return float((one - two).norm() / two.norm().clamp_min(1e-12))


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("learns", [True, False], ids=["head learns", "head is frozen"])
def test_the_chunked_loss_is_cross_entropy(dtype: str, bias: bool, learns: bool) -> None:
    import torch

    from llmlab.trainer.model.loss import CHUNK, token_losses

    torch.manual_seed(1)
    count, kind = 2 * CHUNK + 76, getattr(torch, dtype)
    hidden = torch.randn(count, 16).to(kind).requires_grad_()
    head = torch.nn.Linear(16, 50, bias=bias).to(kind).requires_grad_(learns)
    targets, weight = torch.randint(0, 50, (count,)), torch.rand(count)
    (token_losses(hidden, head, targets)[0] * weight).sum().backward()
    exact = [one.detach().float().requires_grad_() for one in (hidden, *head.parameters())]
    logits = torch.nn.functional.linear(*exact)
    expected = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    (expected * weight).sum().backward()
    losses, hits = token_losses(hidden, head, targets)
    assert apart(losses, expected) < PRECISION[dtype]
    assert hits.sum().item() == pytest.approx((logits.argmax(-1) == targets).sum().item(), abs=0 if dtype == "float32" else 20)
    learned = [hidden, *(head.parameters() if learns else ())]
    assert len(learned) == 1 + learns * (1 + bias)
    for mine, its in zip(learned, exact, strict=False):
        assert mine.grad is not None
        assert apart(mine.grad, its.grad) < PRECISION[dtype]


@pytest.mark.parametrize("rows", [1, 96, 700])
def test_a_head_laid_out_gives_the_same_bits(rows: int) -> None:
    """Losses, hits and gradients; where the library cannot lay it out, it says so by returning False, and this has nothing to compare."""
    import torch

    from llmlab.trainer.model.loss import token_losses
    from llmlab.trainer.model.products import lay_out

    torch.manual_seed(6)
    head = torch.nn.Linear(64, 320, bias=False).bfloat16().requires_grad_(requires_grad=False)
    hidden, targets = torch.randn(rows, 64).bfloat16(), torch.randint(0, 320, (rows,))
    seen: list[tuple[Any, ...]] = []
    for _way in range(2):
        given = hidden.clone().requires_grad_()
        losses, hits = token_losses(given, head, targets)
        losses.sum().backward()
        seen.append((losses.detach(), hits, given.grad))
        if len(seen) == 1 and not lay_out(head, torch.bfloat16):
            pytest.skip("the matrix library lays nothing out on this processor")
    assert all(torch.equal(one, two) for one, two in zip(*seen, strict=True))
    assert not lay_out(torch.nn.Linear(64, 320).bfloat16(), torch.bfloat16), "one that learns must be read anew each time"
    assert not lay_out(head.float(), torch.float32)


@pytest.mark.parametrize("dtype", PRECISION)
@pytest.mark.parametrize("tiles", [True, False], ids=["torch's kernel forward", "products forward"])
@pytest.mark.parametrize("heads", [2, 4], ids=["a key for each head", "a key for two heads"])
def test_the_cpus_attention_is_torchs(dtype: str, heads: int, tiles: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and gradients; and those of a document that nothing is asked of are exactly nothing."""
    import torch

    from llmlab.trainer.model import attention_cpu
    from llmlab.trainer.model.attention_cpu import LONGEST, DocumentsAttention

    monkeypatch.setattr(attention_cpu, "has_amx", lambda: tiles)
    assert max(LENGTHS) > LONGEST
    assert len({-(-length // 32) for length in LENGTHS}) < len(LENGTHS), "some blocks are made together"
    torch.manual_seed(2)
    bounds = [0]
    for length in LENGTHS:
        bounds.append(bounds[-1] + length)
    shapes = (heads, 2, 2)
    given = [torch.randn(1, count, bounds[-1], 8).to(getattr(torch, dtype)).requires_grad_() for count in shapes]
    exact = [one.detach().float().requires_grad_() for one in given]
    above = torch.randn(1, bounds[-1], heads, 8)
    made = DocumentsAttention.apply(*given, tuple(bounds), 0.3)  # type: ignore[no-untyped-call]
    made.backward(above.to(made.dtype))
    expected = torch.cat([plain(*(one[:, :, start:end] for one in exact)) for start, end in pairwise(bounds)], 1)
    expected.backward(above)
    assert apart(made, expected) < PRECISION[dtype]
    for mine, its in zip(given, exact, strict=True):
        assert apart(mine.grad, its.grad) < PRECISION[dtype]
    for one in given:
        one.grad = None
    DocumentsAttention.apply(*given, tuple(bounds), 0.3)[:, bounds[3] : bounds[4]].sum().backward()  # type: ignore[no-untyped-call]
    for one in given:
        assert one.grad is not None
        assert not one.grad[:, :, : bounds[3]].any()
        assert not one.grad[:, :, bounds[4] :].any()
        assert one.grad[:, :, bounds[3] : bounds[4]].any()


def test_blocks_of_one_shape_are_made_at_once_within_bounds() -> None:
    from llmlab.trainer.model.attention_cpu import TOGETHER, _blocks

    lengths = [100] * 40 + [128, 300, 310]
    parts = [slice(1000 * at, 1000 * at + length) for at, length in enumerate(lengths)]
    each = 2 * 16
    made = list(_blocks(parts, each))
    assert all(len(alike) == 1 or each * (end - start) * end * len(alike) <= TOGETHER for start, end, alike in made)
    assert len(made) < sum(-(-length // 128) for length in lengths) / 2
    seen: dict[int, list[int]] = {}
    for start, _end, alike in made:
        for part in alike:
            seen.setdefault(part.start, []).append(start)
    assert [seen[part.start] for part in parts] == [[0]] * 41 + [[256, 128, 0]] * 2, "each once, the last first"


def plain(query: Any, key: Any, value: Any) -> Any:
    """Attention as it is written down, (1, tokens, heads, size)."""
    import torch

    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = (query @ key.transpose(-1, -2)) * 0.3
    hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return (scores.masked_fill(hidden, float("-inf")).softmax(-1) @ value).transpose(1, 2)


@pytest.mark.parametrize("dtype", PRECISION)
def test_fused_norms_and_gates_are_the_models_own(dtype: str) -> None:
    import torch
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    from llmlab.trainer.model.fused import RmsNorm, SiluGate

    torch.manual_seed(3)
    kind = getattr(torch, dtype)
    norm = LlamaRMSNorm(24, eps=1e-5).to(kind)
    norm.weight.data = (1 + 0.3 * torch.randn(24)).to(kind)
    x, up, above = (torch.randn(2, 9, 24).to(kind) for _ in range(3))

    def gradients(compute: Any, *inputs: Any) -> list[Any]:
        fresh = [one.detach().clone().requires_grad_() for one in inputs]
        made = compute(*fresh)
        made.backward(above)
        return [made, *(one.grad for one in fresh)]

    def its_norm(x: Any, weight: Any) -> Any:
        return torch.func.functional_call(norm, {"weight": weight}, (x,))

    pairs = [
        (lambda x, weight: RmsNorm.apply(x, weight, 1e-5), its_norm, (x, norm.weight)),  # type: ignore[no-untyped-call]
        (SiluGate.apply, lambda gate, up: torch.nn.functional.silu(gate) * up, (x, up)),
    ]
    seen = 0
    for ours, its, inputs in pairs:
        for mine, expected in zip(gradients(ours, *inputs), gradients(its, *inputs), strict=True):
            assert mine.dtype == expected.dtype
            assert apart(mine, expected) < PRECISION[dtype]
            seen += 1
    assert seen == 6


@pytest.mark.parametrize("probability", [0.05, 0.1, 0.5])
@pytest.mark.parametrize("dtype", PRECISION)
def test_dropout_keeps_its_share_and_scales_it(dtype: str, probability: float) -> None:
    import torch

    from llmlab.trainer.model.fused import Dropout

    torch.manual_seed(4)
    count = 200_001
    x = torch.ones(count, dtype=getattr(torch, dtype), requires_grad=True)
    drop = Dropout(probability)
    made = drop(x)
    made.sum().backward()
    kept = made != 0
    error = 5 * (probability * (1 - probability) / count) ** 0.5  # five standard deviations
    assert abs(float(kept.float().mean()) - (1 - probability)) < error
    assert torch.allclose(made[kept].float(), torch.tensor(1 / (1 - probability)), rtol=4e-3)
    assert x.grad is not None
    assert torch.equal(x.grad != 0, kept)
    pairs = float((kept[:-1] & kept[1:]).float().mean())
    assert abs(pairs - (1 - probability) ** 2) < 3 * error, "neighbours fall independently"
    assert torch.equal(drop.eval()(x), x)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("rows", [1, 411, 640, 1024])
def test_a_frozen_product_is_torchs(rows: int, bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole and in pieces, forward and back; a head, and one that learns, are left alone."""
    import torch

    from llmlab.trainer.model import products

    monkeypatch.setattr(products, "has_amx", lambda: True)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert (products._at_once(rows, 640, 512) < rows) == (rows > 1)
    torch.manual_seed(7)
    layer, learns, head = (torch.nn.Linear(640, 512, bias=bias).bfloat16() for _ in range(3))
    for one in (layer, head):
        one.requires_grad_(requires_grad=False)
    x, above = torch.randn(1, rows, 640).bfloat16(), torch.randn(1, rows, 512).bfloat16()

    def seen() -> list[Any]:
        given = x.clone().requires_grad_()
        made = layer(given)
        made.backward(above)
        with torch.no_grad():
            return [made, given.grad, layer(x), layer(x[0])]

    before = seen()
    assert products.fuse_products(torch.nn.Sequential(layer, learns, head), head) == 1
    assert all(mine.shape == its.shape and apart(mine, its) < 1e-2 for mine, its in zip(seen(), before, strict=True))
    assert torch.equal(layer.float()(x.float()), torch.nn.functional.linear(x.float(), layer.weight, layer.bias))


@pytest.mark.parametrize("width", [256, 512, 768, 1024, 4096])
def test_pieces_are_smaller_than_what_one_thread_makes_alone(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And are not made where they were not measured: of few rows or many, with one thread or four, without tiles."""
    import torch

    from llmlab.trainer.model import products

    monkeypatch.setattr(products, "has_amx", lambda: True)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    split = 0
    for inner in (width // 2, width, 2 * width, 4 * width):
        for rows in range(1, 3 * width, 37):
            size = products._at_once(rows, inner, width)
            split += size < rows
            assert size == rows or (size % 64 == 0 and size <= 0.8 * width <= rows <= 2 * width)
            for threads, tiles in ((1, True), (4, True), (2, False)):
                with monkeypatch.context() as patch:
                    patch.setattr(products, "has_amx", lambda tiles=tiles: tiles)
                    patch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
                    assert products._at_once(rows, inner, width) == rows
    assert (split > 0) == (512 <= width <= 1024)


@pytest.mark.parametrize("dropout", [0.0, 0.25])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
def test_an_adapted_product_is_pefts(bias: bool, dropout: float) -> None:
    """Values and gradients under autocast; switched off, the adapter does nothing; a second adapter is PEFT's business."""
    import torch
    from peft import LoraConfig, get_peft_model

    from llmlab.trainer.model.adapted import fuse_adapters
    from llmlab.trainer.model.fused import Dropout, draw_mask

    torch.manual_seed(5)
    base = torch.nn.Sequential(torch.nn.Linear(48, 40, bias=bias).bfloat16())
    model: Any = get_peft_model(base, LoraConfig(r=4, lora_alpha=12, lora_dropout=dropout, target_modules=["0"]))
    adapted = model.base_model.model[0]
    adapted.cast_input_dtype_enabled = False
    torch.nn.init.normal_(adapted.lora_B["default"].weight)
    if dropout:
        adapted.lora_dropout["default"] = Dropout(dropout)
    x, above = torch.randn(2, 9, 48).bfloat16(), torch.randn(2, 9, 40).bfloat16()

    def seen() -> list[Any]:
        model.zero_grad()
        given = x.clone().requires_grad_()
        torch.manual_seed(6)
        with torch.autocast("cpu", torch.bfloat16):
            made = adapted(given)
        made.backward(above)
        return [made, given.grad, adapted.lora_A["default"].weight.grad.clone(), adapted.lora_B["default"].weight.grad.clone()]

    before = seen()
    assert fuse_adapters(model) == 1
    assert adapted.forward is not type(adapted).forward
    after = seen()
    assert all(mine.dtype == its.dtype and apart(mine, its) < 1e-2 for mine, its in zip(after, before, strict=True))
    if dropout:
        torch.manual_seed(6)
        assert 0.1 < float((draw_mask(x, dropout) == 0).float().mean()) < 0.4
        assert apart(after[0], adapted.eval()(x)) > 0.05
    with model.disable_adapter():
        assert torch.equal(adapted(x), base[0].base_layer(x))
    model.add_adapter("second", LoraConfig(r=2, target_modules=["0"]))
    assert fuse_adapters(model) == 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_two_runs_are_one(tmp_path: Path, model: Path, train: Train, precision: str, method: str) -> None:
    seen = []
    for name in ("a", "b"):
        work = folders.make(tmp_path / name, model, recipe={"precision": precision, "method": method})
        code, log = train(work)
        assert code == 0, log
        seen.append((folders.losses(work), folders.weights(work)))
    assert seen[0] == seen[1]
    assert len(seen[0][0]) == 4
