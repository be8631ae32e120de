"""Saving and loading a fit: safetensors for the numbers, strict JSON for the rest, never code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mil.errors import CheckpointError, ExperimentError, HeadError
from mil.head import Head, build_head, settings_of
from mil.strict import build
from mil.tasks.read import read_task, task_table
from mil.train import Fit, FitSpec
from mil.training.spec import TrainSpec
from tiling.whole import write_whole

WEIGHTS, RECORD = "head.safetensors", "head.json"
PLAIN, TASKED = "oncoscope-head-1", "oncoscope-head-2"
"""Formats: of the plain verb `fit`, whose task is yes or no; and with the task written down."""
KEYS = {
    "format",
    "head",
    "in_dim",
    "out_dim",
    "settings",
    "encoder",
    "mpp",
    "spec",
    "metrics",
    "weights_sha256",
    "digest",
}
FORMATS: dict[str, tuple[set[str], type[FitSpec | TrainSpec]]] = {
    PLAIN: (KEYS, FitSpec),
    TASKED: (KEYS | {"task"}, TrainSpec),
}


def save_fit(fit: Fit, directory: Path) -> str:
    """Write `head.safetensors` and, last, `head.json`, which vouches for it.

    Args:
        fit: What to save.
        directory: Made if it is not there.

    Returns:
        The digest of the fit.
    """
    weights = save({name: value.contiguous() for name, value in fit.head.state_dict().items()})
    record = {
        "format": TASKED if fit.task else PLAIN,
        "head": fit.head_name,
        "in_dim": fit.head.in_dim,
        "out_dim": fit.head.out_dim,
        "settings": settings_of(fit.head),
        "encoder": fit.encoder,
        "mpp": list(fit.mpp),
        "spec": asdict(fit.spec),
        "metrics": fit.metrics,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "digest": fit.digest,
    } | ({"task": task_table(fit.task)} if fit.task else {})
    directory.mkdir(parents=True, exist_ok=True)
    write_whole(directory / WEIGHTS, weights)
    write_whole(directory / RECORD, (json.dumps(record, indent=1, sort_keys=True) + "\n").encode())
    return fit.digest


def load_fit(directory: Path) -> Fit:
    """Read a saved fit, believing nothing that its checksums do not confirm.

    Args:
        directory: As given to `save_fit`.

    Returns:
        The fit, its head in evaluation mode.

    Raises:
        CheckpointError: A file is missing or changed, a key is unknown or missing, or a tensor is of the wrong shape.
    """
    try:
        record, weights = json.loads((directory / RECORD).read_bytes()), (directory / WEIGHTS).read_bytes()
    except (OSError, ValueError) as error:
        raise CheckpointError("The saved head is missing or unreadable.") from error
    name = record.get("format") if isinstance(record, dict) else None
    if isinstance(record, dict) and name not in FORMATS:
        raise CheckpointError("The saved head is of a format that this version does not know.")
    _check_keys(record, FORMATS.get(str(name), (KEYS, FitSpec))[0])
    if hashlib.sha256(weights).hexdigest() != record["weights_sha256"]:
        raise CheckpointError("The weights of the saved head are not those its record vouches for.")
    fit = _rebuild(record, weights)
    if fit.digest != record["digest"]:
        raise CheckpointError("The record of the saved head was changed after it was written.")
    return fit


def _rebuild(record: Mapping[str, Any], weights: bytes) -> Fit:
    kind = FORMATS[record["format"]][1]
    _check_keys(record["spec"], {field.name for field in fields(kind)})
    try:
        head = build_head(record["head"], record["in_dim"], record["out_dim"], record["settings"])
        task = read_task(record["task"]) if "task" in record else None
        _load_weights(head, load(weights))
        mpp, metrics = tuple(float(zoom) for zoom in record["mpp"]), dict(record["metrics"])
        fit = Fit(record["head"], head, _spec(kind, record["spec"]), record["encoder"], mpp, metrics, task)
    except (HeadError, ExperimentError, SafetensorError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError("The saved head does not describe a head of ours.") from error
    if task is not None and task.outputs != head.out_dim:
        raise CheckpointError("The saved head has not as many logits as its task needs.")
    head.requires_grad_(requires_grad=False).eval()
    return fit


def _spec(kind: type[FitSpec | TrainSpec], table: Mapping[str, Any]) -> FitSpec | TrainSpec:
    if kind is TrainSpec:
        return build(TrainSpec, table, "The spec of the saved head")
    return FitSpec(**{**table, "settings": tuple((name, value) for name, value in table["settings"])})


def _load_weights(head: Head, tensors: Mapping[str, Tensor]) -> None:
    expected = {name: (value.shape, value.dtype) for name, value in head.state_dict().items()}
    if expected != {name: (value.shape, value.dtype) for name, value in tensors.items()}:
        raise CheckpointError(
            "The tensors of the saved head are not of the names, shapes and type that its settings ask for."
        )
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values()):
        raise CheckpointError("The saved head has weights that are not numbers.")
    head.load_state_dict(dict(tensors))


def _check_keys(record: object, wanted: set[str]) -> None:
    if not isinstance(record, dict):
        _refuse(["an object"])
    if wrong := sorted(wanted ^ set(record)):
        _refuse(wrong)


def _refuse(wrong: list[str]) -> NoReturn:
    raise CheckpointError(f"The record of the saved head has unknown or missing keys: {', '.join(wrong)}.")
