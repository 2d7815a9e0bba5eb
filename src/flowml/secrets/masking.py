"""The one masker: takes secrets out of free text, in a time that grows with the text and no faster."""

from __future__ import annotations

from flowml.secrets.addresses import mask_addresses
from flowml.secrets.assigned import mask_assigned
from flowml.secrets.commands import SIGNS, mask_commands
from flowml.secrets.forms import MASK, mask_bearers, mask_forms
from flowml.secrets.named import STEM

_SHORTEST = 5  # characters of a text that can hold one
_LONGEST = 20_000  # characters of a text that can be one
_MOST_PASSES = 5  # over a text of at most that length


def mask(text: str) -> str:
    """Take the secrets out of free text: a message, a traceback, an address.

    The password of a URL, the value in ``password=...`` or ``"api_key": "..."``, keys of well-known forms and private
    keys become ``********``; all else stays.

    Args:
        text: Any text.

    Returns:
        The text without secrets.

    Example:
        >>> mask("postgresql://ada:lovelace@db/churn")
        'postgresql://ada:********@db/churn'
    """
    if len(text) < _SHORTEST:
        return text
    for _ in range(_MOST_PASSES):  # what is left may make an address with what stood apart: the next hand would see it
        before, text = text, _masked(text)
        if text == before or len(text) > _LONGEST:
            break
    return text


def _masked(text: str) -> str:
    text = mask_known(text)
    lower = text.lower()
    if "bearer" in lower or "basic" in lower:
        text = mask_bearers(text)
    if any(sign in text for sign in SIGNS):
        text = mask_commands(text)
    return mask_assigned(text) if STEM.search(lower) else text


def mask_known(text: str) -> str:
    """Take out only what is a secret by its own form: for HTML and the like, where ``name: value`` may be code."""
    return mask_addresses(mask_forms(text))


def is_secret(text: str) -> bool:
    """Tell whether a text is a secret as a whole."""
    return len(text) <= _LONGEST and mask(text) == MASK
