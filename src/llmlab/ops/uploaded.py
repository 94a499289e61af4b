"""The datasets and models that the user has uploaded, by the manifest that each upload ends with."""

import difflib

from llmlab import contract
from llmlab.aws import documents
from llmlab.aws.session import Aws
from llmlab.contract import MANIFEST, Manifest
from llmlab.errors import LabError, UsageError
from llmlab.recipe import LAB_MODEL


def dataset(aws: Aws, name: str) -> Manifest:
    """The manifest of a dataset; of the only one when no name is given.

    Raises:
        UsageError: the dataset does not exist, or there are several.
    """
    bucket = aws.names.data_bucket
    if name:
        manifest = documents.read(aws, Manifest, bucket, contract.dataset_prefix(name) + MANIFEST)
        if manifest:
            return manifest
    names = documents.datasets(aws)
    if not names:
        raise UsageError(
            "no dataset has been uploaded yet" if not name else f"there is no dataset {name}, and no other one", "llmlab upload data/"
        )
    if name:
        near = difflib.get_close_matches(name, names, n=1) or names[:1]
        raise UsageError(f"there is no dataset {name}; there are: {', '.join(names)}", f"llmlab launch --data {near[0]}")
    if len(names) > 1:
        raise UsageError(f"there are several datasets, name one: {', '.join(names)}", f"llmlab launch --data {names[0]}")
    manifest = documents.read(aws, Manifest, bucket, contract.dataset_prefix(names[0]) + MANIFEST)
    if manifest is None:
        raise UsageError(f"the upload of dataset {names[0]} was not finished", f"llmlab upload data/ --name {names[0]}")
    return manifest


def dataset_if_any(aws: Aws, name: str) -> Manifest | None:
    """As `dataset`, but None where there is none at all, or several and none was named: an estimate does without."""
    if not name and len(documents.datasets(aws)) != 1:
        return None
    return dataset(aws, name)


def lacking(aws: Aws, name: str | None) -> LabError | None:
    """As `model`, but the error is returned instead of raised: an estimate goes on without the model."""
    try:
        model(aws, name)
    except UsageError as error:
        return error
    return None


def model(aws: Aws, name: str | None) -> Manifest | None:
    """The manifest of an uploaded model, None for a model of Hugging Face.

    Raises:
        UsageError: nothing of that name has been uploaded.
    """
    if name is None:
        return None
    bucket = aws.names.data_bucket
    manifest = documents.read(aws, Manifest, bucket, contract.model_prefix(name) + MANIFEST)
    if manifest is None:
        names = documents.names_under(aws, bucket, contract.MODELS)
        others = f"; there are: {', '.join(LAB_MODEL + other for other in names)}" if names else ""
        raise UsageError(f"the model {LAB_MODEL}{name} has not been uploaded{others}", f"llmlab upload {name}/ --model {name}")
    return manifest
