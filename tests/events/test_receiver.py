"""What the receiver of webhooks answers, in this process."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from mlflow import MlflowClient
from tests.events.test_signature import SECRET, signed

from flowml.events.webhooks.receiver import application

OF_NO_INTEREST = b'{"entity": "registered_model", "action": "created", "data": {}}'


@pytest.mark.parametrize(
    "body,answers",
    [
        pytest.param(OF_NO_INTEREST, ([200, 409], [409, 409]), id="taken"),
        pytest.param(b"[]", ([400, 409], [400, 409]), id="not taken"),
    ],
)
def test_of_two_copies_at_once_one_is_taken(body: bytes, answers: tuple[list[int], list[int]]) -> None:
    """The second is refused while the first is looked at; afterwards too, unless that came to nothing."""
    receiver = application(SECRET, MlflowClient("http://127.0.0.1:9"))  # it is not asked

    async def both(sender: httpx.AsyncClient) -> list[int]:
        headers = signed(body, at=time.time())
        copies = [sender.post("/", content=body, headers=headers) for _ in range(2)]
        return sorted(answer.status_code for answer in await asyncio.gather(*copies))

    async def twice() -> tuple[list[int], list[int]]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(receiver), base_url="http://receiver") as sender:
            return await both(sender), await both(sender)

    assert asyncio.run(twice()) == answers
