"""Functions of every kind, as tasks and as flows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import copy_context
from typing import Any

import pytest
from tests.capture.drop_in.conftest import Compare
from tests.capture.drop_in.sides import Side, error_of, plain


def of_sync_functions(side: Side) -> Any:
    """Call, submit and map."""

    @side.task
    def add(x: int, y: int = 1) -> int:
        return x + y

    @side.flow
    def pipeline(start: int) -> dict[str, Any]:
        return {
            "called": add(start),
            "state": plain(add(start, return_state=True)),
            "submitted": add.submit(start).result(),
            "mapped": add.map([1, 2], y=3).result(),
        }

    return pipeline(1), pipeline(start=2, return_state=True)


async def of_async_functions(side: Side) -> Any:
    """Await, gather, submit and map."""

    @side.task
    async def add(x: int, y: int = 1) -> int:
        await asyncio.sleep(0)
        return x + y

    @side.flow
    async def pipeline(start: int) -> dict[str, Any]:
        return {
            "awaited": await add(start),
            "gathered": await asyncio.gather(add(1), add(2)),
            "submitted": add.submit(start).result(),
            "mapped": add.map([1, 2], y=3).result(),
        }

    return await pipeline(1)


def of_generators(side: Side) -> Any:
    """Iterate, send, throw and close."""

    @side.task
    def echoing(number: int) -> Iterator[Any]:
        given = None
        for value in range(number):
            given = yield value, given
        return "end"

    @side.flow
    def streaming(number: int) -> Iterator[Any]:
        yield from echoing(number)

    @side.flow
    def talking() -> list[Any]:
        first = echoing(3)
        heard = [next(first), first.send("hello"), plain(error_of(lambda: first.throw(KeyError("oh"))))]
        second = echoing(2)
        heard.append(next(second))
        second.close()
        return [*heard, *echoing.submit(2).result()]

    return list(streaming(2)), talking()


async def of_async_generators(side: Side) -> Any:
    """Iterate, send and close, asynchronously."""

    @side.task
    async def echoing(number: int) -> AsyncIterator[Any]:
        given = None
        for value in range(number):
            given = yield value, given

    @side.flow
    async def streaming(number: int) -> AsyncIterator[Any]:
        async for value in echoing(number):
            yield value

    @side.flow
    async def talking() -> list[Any]:
        stream = echoing(3)
        heard = [await anext(stream), await stream.asend("hello")]
        await stream.aclose()
        return heard

    return [value async for value in streaming(2)], await talking()


def of_failing_generators(side: Side) -> Any:
    """Fail in the middle."""

    @side.task
    def breaking() -> Iterator[int]:
        yield 1
        raise ValueError("in the middle")

    @side.flow
    def pipeline() -> list[int]:
        return list(breaking())

    return pipeline(return_state=True)


def of_generators_in_step(side: Side) -> Any:
    """Two generators in step, in and out of a flow, and what is called meanwhile, afterwards and later."""

    @side.task
    def numbers(number: int) -> Iterator[int]:
        yield from range(number)

    @side.task
    def add(x: int, y: int) -> int:
        return x + y

    @side.flow
    def pipeline() -> list[int]:
        return [*(add(x, y) for x, y in zip(numbers(1), numbers(2), strict=False)), add(1, 2)]

    @side.flow
    def generating(number: int) -> Iterator[int]:
        yield from range(number)

    def program() -> Any:
        given = [pipeline(), pipeline(return_state=True), add(1, 2)]
        return [*given, [add(x, y) for x, y in zip(generating(1), generating(2), strict=False)], pipeline()]

    return copy_context().run(program)  # Prefect leaves its contexts set there


def of_methods(side: Side) -> Any:
    """Methods of each kind, as tasks and as flows, on the class and on an object."""

    class Model:
        factor = 2

        @side.task
        def instance(self, number: int) -> int:
            return number * self.factor

        @side.task
        @classmethod
        def of_class(cls, number: int) -> int:
            return number * cls.factor

        @side.task
        @staticmethod
        def static(number: int) -> int:
            return number * 3

        @side.flow
        def pipeline(self, number: int) -> list[int]:
            submitted = self.instance.submit(number).result()
            return [self.instance(number), submitted, self.of_class(number), Model.static(number)]

        @side.flow
        @classmethod
        def class_pipeline(cls, number: int) -> int:
            return cls.of_class(number)

        @side.flow
        @staticmethod
        def static_pipeline(number: int) -> int:
            return number

    class Child(Model):
        factor = 5

    return Child().pipeline(1), Child.class_pipeline(2), Model.static_pipeline(3)


def of_callable_objects(side: Side) -> Any:
    """An object with ``__call__`` and a lambda, in and out of a flow."""

    class Adder:
        def __call__(self, number: int) -> int:
            return number + 1

    add, double = side.task(Adder()), side.task(lambda number: 2 * number, name="double")

    @side.flow
    def pipeline() -> tuple[int, int]:
        return add(1), double(2)

    return pipeline(), add(5), (add.name, double.name)


def of_tasks_alone(side: Side) -> Any:
    """A task in no flow; a task in a task; one that calls itself."""

    @side.task
    def countdown(number: int) -> int:
        return countdown(number - 1) if number else 0

    return countdown(2), countdown(0, return_state=True), countdown.fn(1)


@pytest.mark.parametrize(
    "scenario",
    [
        of_sync_functions,
        of_async_functions,
        of_generators,
        of_async_generators,
        of_generators_in_step,
        pytest.param(of_failing_generators, marks=pytest.mark.slow),
        of_methods,
        pytest.param(of_callable_objects, marks=pytest.mark.slow),
        of_tasks_alone,
    ],
    ids=lambda scenario: scenario.__name__,
)
def test_each_kind_of_function_works_as_in_prefect(scenario: Callable[[Side], Any], compare: Compare) -> None:
    """Sync, async, generator, async generator, method and object: all is seen as without flowml."""
    compare(scenario, ordered=scenario not in {of_sync_functions, of_async_functions})
