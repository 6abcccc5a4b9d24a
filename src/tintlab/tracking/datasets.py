"""Describe the photographs of a training as MLflow datasets: DVC's hash and the content of each split."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tintlab.imaging.squares import open_squares, shard_files
from tintlab.system import paths
from tintlab.system.tables import read_table
from tintlab.tracking import lineage

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import DatasetInput

CONTEXTS = {"train": "train", "val": "validation", "test": "test"}
"""The names of the splits on MLflow's pages."""


def name_of(split: str) -> str:
    """The dataset's name in MLflow."""
    return f"photographs-{split}"


def describe_splits() -> list[dict[str, str]]:
    """The datasets of the present workspace, as `as_inputs` takes them; empty without photographs.

    Each digest is DVC's: for train and val that of the squares, for test that of the table of accepted
    photographs.
    """
    if not paths.ACCEPTED.exists():
        return []
    accepted = read_table(paths.ACCEPTED)
    found = []
    for split in CONTEXTS:
        shards = shard_files(split)
        # The list of shards stands for all of them.
        squares = shards[0] if len(shards) == 1 else paths.lab_shards(split)
        file = squares if squares.exists() else paths.ACCEPTED
        photos = accepted[accepted["split"] == split]
        shape = open_squares(split).shape if file is squares else None
        found.append(_describe(split, file, photos, shape))
    return found


def _describe(
    split: str, file: Path, photos: "pd.DataFrame", shape: tuple[int, ...] | None
) -> dict[str, str]:
    digest = lineage.dvc_hash(file)
    profile = {
        "photographs": len(photos),
        "squares": shape[0] if shape else None,
        "categories": {str(name): int(count) for name, count in photos["category"].value_counts().items()},
    }
    return {
        "name": name_of(split),
        "digest": digest,
        "source_type": "local",
        "source": json.dumps({"uri": file.as_posix(), "dvc_md5": digest}),
        "schema": json.dumps(_schema(shape)),
        "profile": json.dumps({name: value for name, value in profile.items() if value is not None}),
        "context": CONTEXTS[split],
    }


def _schema(shape: tuple[int, ...] | None) -> dict[str, Any]:
    """MLflow's spelling: packed L*a*b* squares, or photographs by name."""
    if shape is None:
        return {"mlflow_colspec": [{"type": "string", "name": "photo", "required": True}]}
    tensor = {"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, *shape[1:]]}}
    return {"mlflow_tensorspec": {"features": json.dumps([tensor]), "targets": None}}


def as_inputs(described: Sequence[Mapping[str, str]]) -> list["DatasetInput"]:
    """Convert the result of `describe_splits` to the inputs of an MLflow run."""
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    fields = ("name", "digest", "source_type", "source", "schema", "profile")
    return [
        DatasetInput(
            Dataset(*(one[field] for field in fields)), [InputTag(MLFLOW_DATASET_CONTEXT, one["context"])]
        )
        for one in described
    ]
