"""All that MLflow gives in pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from mlflow.store.entities import PagedList

T = TypeVar("T")


def paged(ask: Callable[..., PagedList[T]]) -> Iterator[T]:
    """Go through all pages.

    Args:
        ask: Asks for a page; it is told with ``page_token=`` where the one before ended.
    """
    token: str | None = None
    while True:
        page = ask(page_token=token)
        yield from page
        token = page.token
        if not token:
            return
