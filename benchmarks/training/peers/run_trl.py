"""TRL: what `trl sft` runs, with its parser, its defaults and its script; `settings` are more of its options."""

from job import LEARNING_RATE, LORA, Count, Job, losses_of, watch


def main() -> None:
    import torch
    from trl import SFTTrainer
    from trl.scripts.sft import main as sft, make_parser

    job = Job()
    count = Count()
    states: list[object] = []
    watch(SFTTrainer, count, states)
    options = {
        "model_name_or_path": job.model,
        "dataset_name": str(job.assets / "chat"),
        "output_dir": str(job.scratch / "out"),
        "use_peft": True,
        "lora_r": LORA["rank"],
        "lora_alpha": LORA["alpha"],
        "lora_dropout": LORA["dropout"],
        "lora_target_modules": LORA["targets"],
        "learning_rate": LEARNING_RATE,
        "num_train_epochs": job.epochs,
        "report_to": "none",
        "use_cpu": not torch.cuda.is_available(),
        **job.settings,
    }
    words: list[str] = []
    for name, value in options.items():
        words += [f"--{name}", *(map(str, value) if isinstance(value, list) else [str(value)])]
    sft(*make_parser().parse_args_and_config(words, fail_with_unknown_args=True))
    if torch.cuda.is_available():
        count.gpu_bytes = torch.cuda.max_memory_allocated()
    job.answer(count, losses_of(states[0]))


if __name__ == "__main__":
    main()
