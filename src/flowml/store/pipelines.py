"""Keeps MLflow from asking the Hugging Face hub while it saves a transformers pipeline."""

from __future__ import annotations

import copy
from typing import Any


def without_hub(pipeline: Any) -> tuple[Any, dict[str, str] | None]:
    """Give a pipeline that MLflow saves without asking the hub, and the metadata that say where its network is from.

    By the network's name MLflow asks the hub for a model card and a license, and tries again for minutes if the hub
    cannot be reached: too long for the user's task. The copy shares all but the name with the original.

    Args:
        pipeline: The pipeline, which stays as it is.
    """
    network: Any = getattr(pipeline, "model", None)
    name = getattr(network, "name_or_path", None)
    if not name or type(network).__module__.partition(".")[0] == "peft":  # of these MLflow saves only a reference
        return pipeline, None
    pipeline, network = copy.copy(pipeline), copy.copy(network)
    network.name_or_path = ""
    pipeline.model = network
    return pipeline, {"source_model_name": name}
