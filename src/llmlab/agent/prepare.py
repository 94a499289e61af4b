"""Prepares a training: makes data and model what the spec says, file by file, and downloads the newest whole checkpoint.

The host has downloaded what the buckets held; the spec says which versions this run is about. What differs is fetched again by its
version, what is too much is removed, so that an `upload` after the launch changes nothing.
"""

import shutil
from dataclasses import replace
from pathlib import Path

from llmlab import contract
from llmlab.agent.job import Job, Say, each, is_as
from llmlab.agent.s3_store import ObjectMissing, Store
from llmlab.contract import Attempt, Complete, DataFile, LogStream, Manifest, Spec
from llmlab.files import replace_text
from llmlab.lifecycle import create_fleet

PATIENCE_SECONDS = 900.0
"""How long S3 may not answer before the run is given up, where nothing has been trained yet."""


class PrepareError(Exception):
    """The run cannot start here; says which file of what is wrong."""


def prepare(job: Job, data: Store, outputs: Store, say: Say) -> int:
    """Check data and model, download the newest checkpoint; returns its step, 0 without one.

    Raises:
        PrepareError: a file of the data or the model is not to be had as the spec says.
        StoreError: S3 does not answer.
    """
    fit_batch(job, outputs, say)
    check(job.spec.data, contract.dataset_prefix(job.spec.data.name), Path(job.folder.data), data, say)
    if job.spec.model is not None:
        check(job.spec.model, contract.model_prefix(job.spec.model.name), Path(job.folder.model), data, say)
    bring_output(job, outputs)
    return bring_checkpoint(job, outputs, say)


def fit_batch(job: Job, outputs: Store, say: Say) -> None:
    """After memory ran out, give the trainer a recipe with a smaller batch and as many examples a step; its log says so too.

    From the spec in S3, so that an agent that is started again does not do it twice.
    """
    attempt = contract.load(Attempt, outputs.read(job.keys.attempt(job.attempt)) or b"")
    if attempt.shrink == 1:
        return
    spec = contract.load(Spec, outputs.read(job.keys.spec) or b"")
    replace_text(Path(job.folder.spec), contract.dump(replace(spec, recipe=contract.shrunk(spec.recipe, attempt.shrink))))
    small, original = contract.batch_words(spec.recipe, attempt.shrink), contract.batch_words(spec.recipe, 1)
    words = f"{small} instead of {original}, because memory ran out before: the same step"
    say(words)
    with Path(job.folder.logs, f"{LogStream.TRAINING}.log").open("a", encoding="utf-8") as log:
        log.write(words + "\n")


def tell_gpus(job: Job, attempt: Attempt, instance_type: str) -> None:
    """Tell the trainer how many GPUs this machine must show: as the attempt says, else as the spec says of the type."""
    replace_text(Path(job.folder.gpus), f"{attempt.gpus or create_fleet.gpus_of(job.spec.pools, instance_type)}\n")


def check(manifest: Manifest, prefix: str, folder: Path, store: Store, say: Say) -> None:
    """Make `folder` exactly what the manifest says."""
    wanted = {file.path for file in manifest.files}
    for path in [path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).as_posix() not in wanted]:
        path.unlink()
    fetched = sum(each(lambda file: _mend(file, prefix, folder, store), manifest.files))
    (folder / contract.MANIFEST).write_text(contract.dump(manifest), encoding="utf-8")
    size = sum(file.size for file in manifest.files)
    say(f"{manifest.name}: {len(manifest.files)} files, {size / 1e6:.1f} MB checked, {fetched} fetched again")


def _mend(file: DataFile, prefix: str, folder: Path, store: Store) -> bool:
    path = folder / file.path
    if is_as(path, file):
        return False
    try:
        store.fetch(prefix + file.path, file.version, path)
    except ObjectMissing as error:  # S3 that does not answer is another matter: nothing is known of the file, then
        raise PrepareError(f"{file.path} is not what was uploaded, and {error}") from error
    if not is_as(path, file):
        raise PrepareError(f"{file.path} is not what was uploaded: its SHA-256 is another")
    return True


def bring_output(job: Job, outputs: Store) -> None:
    """Download what earlier attempts put into the output folder, so that the metrics of the whole run stay in one file."""
    if job.attempt == 1:
        return
    here = Path(job.folder.output)
    prefix = job.keys.output
    each(lambda key: outputs.fetch(key, "", here / key.removeprefix(prefix)), outputs.keys(prefix))


def bring_checkpoint(job: Job, outputs: Store, say: Say) -> int:
    """Download the newest checkpoint that is whole, an older one where the newest is damaged; returns its step, 0 without one."""
    prefix = job.keys.checkpoints
    names = {key.removeprefix(prefix).split("/")[0] for key in outputs.keys(prefix) if key.endswith(f"/{contract.COMPLETE}")}
    steps = sorted((step for step in map(contract.parse_checkpoint_name, names) if step is not None), reverse=True)
    for step in steps:
        try:
            _bring(job, outputs, step)
        except (PrepareError, contract.ContractError) as error:
            say(f"checkpoint {step} is damaged, taking an older one: {error}")
            continue
        say(f"checkpoint {step} is here")
        return step
    say("no checkpoint, starting at step 0")
    return 0


def _bring(job: Job, outputs: Store, step: int) -> None:
    """Download a checkpoint into a folder of another name first: one that has its name is whole."""
    final = Path(job.folder.checkpoints) / contract.checkpoint_name(step)
    if (final / contract.COMPLETE).exists():
        return
    text = outputs.read(job.keys.checkpoint(step) + contract.COMPLETE) or b""
    complete = contract.load(Complete, text)
    part = final.with_name(f"part-{step}")
    shutil.rmtree(part, ignore_errors=True)
    each(lambda file: _mend(file, job.keys.checkpoint(step), part, outputs), complete.files)
    part.mkdir(parents=True, exist_ok=True)
    (part / contract.COMPLETE).write_bytes(text)
    shutil.rmtree(final, ignore_errors=True)
    part.rename(final)
