"""What must never be shown: secrets known by their name, or by what they look like.

Words: `mask` (takes secrets out of a text), `is_secret_name` (a name that says its value is one), `is_secret_path` (one
of parts with dots), `is_secret_number`, `is_reference` (what only stands for a secret), `mask_addresses` (passwords in
addresses). `words.py` holds what names are known by, `forms.py` the keys of services, `uris.py` shows where a place is.
"""

from __future__ import annotations

from flowml.secrets.addresses import mask_addresses
from flowml.secrets.forms import MASK
from flowml.secrets.masking import is_secret, mask, mask_known
from flowml.secrets.names import is_secret_name, is_secret_number, is_secret_path
from flowml.secrets.references import is_reference

__all__ = [
    "MASK",
    "is_reference",
    "is_secret",
    "is_secret_name",
    "is_secret_number",
    "is_secret_path",
    "mask",
    "mask_addresses",
    "mask_known",
]
