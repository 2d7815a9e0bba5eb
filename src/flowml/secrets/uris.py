"""The address of a place, such as a store, as it may be shown and written down."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import urlsplit

from flowml.secrets.addresses import mask_addresses
from flowml.secrets.masking import mask

_CONTAINERS = frozenset({"abfs", "abfss", "wasb", "wasbs"})  # what stands before their @ is part of the place


@lru_cache(maxsize=256)  # each task names the same few
def without_credentials(uri: str) -> str:
    """Return the URI without user and password, and without what is secret among its parameters.

    Example:
        >>> without_credentials("postgresql://ada:pw@db/shop#public.orders")
        'postgresql://db/shop#public.orders'
    """
    try:
        parts = urlsplit(mask_addresses(uri))
    except ValueError:
        return mask(uri)
    host = parts.netloc if parts.scheme in _CONTAINERS else parts.netloc.rpartition("@")[2]
    kept = [part for part in parts.query.split("&") if mask(f"?{part}") == f"?{part}"]
    changed = parts._replace(netloc=host, query="&".join(kept))
    return uri if changed == parts else changed.geturl()
