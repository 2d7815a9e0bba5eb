"""What the tokens of a model cost: by the user's own prices, else by the list that comes with MLflow."""

from __future__ import annotations

import fnmatch
import logging
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from flowml import settings
from flowml.errors import SettingsError
from flowml.patches.mlflow import LISTED_PRICES, LISTED_PRICES_OF
from flowml.store.usage.sums import Tokens

_MILLION = 1_000_000
_FILE = TypeAdapter(dict[str, settings.Price])


def cost_of(model: str, provider: str | None, tokens: Tokens, told: Decimal | None = None) -> Decimal | None:
    """Return what tokens cost, in US dollars.

    Args:
        model: The model's name.
        provider: Who runs it, as MLflow's span says.
        tokens: The tokens.
        told: What the span says that they cost.

    Returns:
        The cost, by the user's own price, else as the span says, else by MLflow's list; None if there is no price.
    """
    if (own := _own(model)) is not None:
        return _sum(tokens, own.input, own.output, own.cached, own.written) / _MILLION
    if told is not None:
        return told
    listed = _listed(model, provider)
    if not listed or "input_cost_per_token" not in listed:
        return None
    keys = ("input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost")
    each, answered, cached, written = (_exact(listed.get(key)) for key in (*keys, "cache_creation_input_token_cost"))
    return _sum(tokens, each or Decimal(0), answered or Decimal(0), cached, written)


def _own(model: str) -> settings.Price | None:
    """Return the user's price: by the very name, else by the longest pattern that fits."""
    prices: Mapping[str, settings.Price] = _prices()
    if model in prices:
        return prices[model]
    patterns = sorted((name for name in prices if "*" in name), key=len, reverse=True)
    return next((prices[name] for name in patterns if fnmatch.fnmatchcase(model, name)), None)


def _prices() -> Mapping[str, settings.Price]:
    """Return the user's prices by the model's name: those of the file, and over them those of the settings.

    A file that cannot be read is told once; what has no other price is unknown then, and no token is lost.
    """
    said = settings.current()
    if said.prices_file is None:
        return said.prices
    path = said.prices_file.expanduser()
    path = path if path.is_absolute() else settings.project_folder() / path
    try:
        return {**_prices_in(path, path.stat().st_mtime_ns if path.is_file() else 0), **said.prices}
    except SettingsError as error:
        _say_once(str(error))
        return said.prices


@lru_cache(maxsize=64)
def _say_once(text: str) -> None:
    logging.getLogger("prefect.flowml").warning("flowml: %s Costs are unknown without it.", text)


@lru_cache(maxsize=4)
def _prices_in(path: Path, changed: int) -> Mapping[str, settings.Price]:  # noqa: ARG001 - a file that changed is read again
    try:
        return _FILE.validate_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        said = _first(error) if isinstance(error, ValidationError) else str(error)
        msg = (
            f"The prices in {path} (prices_file, or FLOWML_PRICES_FILE) cannot be read: {said}. It is JSON such as "
            '{"gpt-4o-mini": {"input": 0.15, "output": 0.6, "cached": 0.075}}, in US dollars for a million tokens.'
        )
        raise SettingsError(msg, setting="prices_file", value=str(path)) from None


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"


def _listed(model: str, provider: str | None) -> Mapping[str, Any] | None:
    """Look in the list that is installed with MLflow: nothing is asked of the network."""
    if provider:
        of_provider = LISTED_PRICES_OF.get()
        found: Mapping[str, Any] | None = (
            of_provider(provider.lower()).get(model.split("/", 1)[-1]) if of_provider else None
        )
        if found:
            return found
    of_all = LISTED_PRICES.get()
    return of_all(model) if of_all else None


def _sum(tokens: Tokens, each: Decimal, answered: Decimal, cached: Decimal | None, written: Decimal | None) -> Decimal:
    plain = max(tokens.input - tokens.cached - tokens.written, 0)
    return (
        plain * each
        + tokens.cached * (each if cached is None else cached)
        + tokens.written * (each if written is None else written)
        + tokens.output * answered
    )


def _exact(price: object) -> Decimal | None:
    """Return a price as it is written, not as a float has it."""
    return None if price is None else Decimal(repr(price))
