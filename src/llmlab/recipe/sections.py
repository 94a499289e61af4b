"""The fields of a recipe that have fields of their own."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from llmlab.rewards.choice import Reward


class Lora(BaseModel):
    """The adapter: `alpha / rank` scales what it adds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(16, ge=1, le=512, description="inner size of the adapter's two matrices")
    alpha: float = Field(32, gt=0, description="scale of the adapter, divided by the rank")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the adapter's inputs dropped in training")
    targets: Literal["all-linear"] | tuple[str, ...] = Field("all-linear", description="module names the adapter is put on, or all-linear")
    target_parameters: tuple[str, ...] = Field(
        (),
        description="parameters beside the targets, by the ends of their names, such as mlp.experts.down_proj: experts in one tensor",
    )
    modules_to_save: tuple[str, ...] = Field(
        (),
        description="modules trained whole beside the adapter and saved with it, such as embed_tokens and lm_head for tokens not yet met",
    )
    rslora: bool = Field(False, description="scale by alpha / sqrt(rank) instead of alpha / rank (arXiv 2312.03732)")
    dora: bool = Field(False, description="learn the weights' magnitude beside their direction (arXiv 2402.09353); slower")


class Dpo(BaseModel):
    """Direct preference optimisation (arXiv 2305.18290): the chosen answer made likelier than the rejected one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    beta: float = Field(0.1, gt=0, le=10, description="how strongly the model is held to what it said before")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="share of preferences taken to be the wrong way round")


class Kto(BaseModel):
    """Kahneman-Tversky optimisation (arXiv 2402.01306): good answers made likelier than the model's usual ones, bad ones less likely."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    beta: float = Field(0.1, gt=0, le=10, description="how strongly the model is held to what it said before")
    desirable_weight: float = Field(1.0, gt=0, le=100, description="weight of the answers labelled good")
    undesirable_weight: float = Field(
        1.0, gt=0, le=100, description="weight of those labelled bad; where one kind is rarer, weigh it up to 1 to 1.33 of the other"
    )


class Grpo(BaseModel):
    """Group relative policy optimisation (arXiv 2402.03300): of several completions of a prompt, those of a higher reward made likelier."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    num_generations: int = Field(
        8, ge=2, le=512, description="completions of each prompt that are compared with each other; divides a step"
    )
    max_completion_length: int = Field(256, ge=1, le=131_072, description="tokens of the longest completion; it ends there")
    temperature: float = Field(1.0, gt=0, le=10, description="of sampling: completions that are all alike teach nothing")
    beta: float = Field(0.0, ge=0, le=10, description="how strongly the model is held to what it said before; 0 is not at all")
    rewards: tuple[Reward, ...] = Field(
        (),
        max_length=16,
        description=(
            "what a completion is worth, as a sum: exact_match, similarity, {regex: P}, {json_schema: S}, {length: {shortest, longest}}, "
            "{file: reward.py} beside the recipe; each may have a weight"
        ),
    )
    reward_seconds: float = Field(10.0, gt=0, le=3600, description="seconds in which the rewards of one prompt's completions must be there")
    reward_memory_gib: float = Field(4.0, ge=0.5, le=1024, description="GiB of address space that the process of the rewards may have")


class Evaluation(BaseModel):
    """Held-out examples, chosen by a hash of each, so that added data moves none of them; and prompts the model answers meanwhile."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share: float = Field(0.0, ge=0, le=0.5, description="share of the examples held out; 0 holds out none")
    most_examples: int = Field(500, ge=1, le=1_000_000, description="held-out examples that an evaluation reads at most")
    steps: int | None = Field(None, ge=1, description="optimizer steps between evaluations, besides one at each epoch's end")
    patience: int | None = Field(None, ge=1, description="evaluations without a better loss after which training ends early")
    prompts: tuple[str, ...] = Field((), max_length=16, description="answered at the start, at each evaluation and at the end")
    prompt_tokens: int = Field(64, ge=1, le=4096, description="tokens of each such answer")


SECTIONS: dict[str, type[BaseModel]] = {"lora": Lora, "dpo": Dpo, "kto": Kto, "grpo": Grpo, "evaluation": Evaluation}
"""Fields that have fields of their own."""
