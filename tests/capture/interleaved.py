"""Programs of generators that are consumed in any order, from anywhere, and who calls whom in them.

A program is a list of steps. Each is done by the body that is at work: the flow's, or that of the generator which was
resumed last and has not given a value since. So it is known without any context which body made a call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from flowml import flow, task

WHAT = ("call", "call", "make", "make async", "resume", "resume", "resume", "give", "give", "end", "close", "let go")


@dataclass(frozen=True)
class Step:
    """What is done, and with which of the generators that there are."""

    what: str
    which: int = 0


programs = st.lists(st.builds(Step, st.sampled_from(WHAT), st.integers(0, 3)), min_size=8, max_size=25)


@dataclass(eq=False)
class Made:
    """A generator task that was called."""

    gives: Any
    is_async: bool
    is_at_work: bool = False


class Program:
    """A program that is carried out in one flow.

    Attributes:
        under: The name of the body that made each call, by the name of the called run; None for what no body called.
    """

    def __init__(self, steps: list[Step]) -> None:
        self.under: dict[str, str | None] = {}
        self._steps = deque(steps)
        self._at_work: list[str] = []
        self._made: list[Made] = []
        self._called = 0
        self._task = task(task_run_name="{name}", persist_result=False)(self._begin)
        self._flow = flow(name="later", flow_run_name="{name}")(self._begin)
        self._generator = task(task_run_name="{name}")(self._body)
        self._async_generator = task(task_run_name="{name}")(self._async_body)

    async def carry_out(self) -> None:
        """Do all steps in a flow; then call what no body calls, and close the generators that are left."""

        @flow(name="whole", flow_run_name="whole")
        async def whole() -> None:
            self._begin("whole")
            self._at_work.append("whole")
            while self._steps:
                await self._work_async()
            self._at_work.pop()

        await whole()
        self._flow(self._name("later"))
        while self._made:
            await self._with_async(self._made.pop(), "close")
            self._task(self._name("alone"))

    def _name(self, kind: str) -> str:
        self._called += 1
        return f"{kind} {self._called}"

    def _begin(self, name: str) -> None:
        self.under[name] = self._at_work[-1] if self._at_work else None

    def _body(self, name: str) -> Iterator[int]:
        self._begin(name)
        self._at_work.append(name)
        try:
            while self._work():
                self._at_work.pop()
                try:
                    yield 1
                finally:
                    self._at_work.append(name)
        finally:
            self._task(self._name("last call"))  # also while it is closed
            self._at_work.pop()

    async def _async_body(self, name: str) -> AsyncIterator[int]:
        self._begin(name)
        self._at_work.append(name)
        while await self._work_async():
            self._at_work.pop()
            yield 1  # Prefect cannot close it: it ends here, some time after it was closed
            self._at_work.append(name)
        self._at_work.pop()

    def _work(self) -> bool:
        """Do steps until one says to give a value, or to end; return which."""
        doing = self._do()
        while True:
            try:
                next(doing)  # an async generator is left alone
            except StopIteration as done:
                return bool(done.value)

    async def _work_async(self) -> bool:
        doing = self._do()
        while True:
            try:
                made, what = next(doing)
            except StopIteration as done:
                return bool(done.value)
            await self._with_async(made, what)

    def _do(self) -> Generator[tuple[Made, str], None, bool]:
        """Do steps, and give those that have to be awaited; return whether the body is to give a value."""
        while self._steps:
            step = self._steps.popleft()
            if step.what in {"give", "end"}:
                return step.what == "give"
            if step.what == "call":
                self._task(self._name("call"))
            elif step.what == "make":
                self._made.append(Made(self._generator(self._name("generator")), is_async=False))
            elif step.what == "make async":
                self._made.append(Made(self._async_generator(self._name("async generator")), is_async=True))
            elif self._made and not self._made[step.which % len(self._made)].is_at_work:
                made = self._made[step.which % len(self._made)]
                if made.is_async:
                    yield made, step.what
                else:
                    self._with(made, step.what)
                del made
        return False

    def _with(self, made: Made, what: str) -> None:
        if what == "resume":
            made.is_at_work = True
            next(made.gives, None)
            made.is_at_work = False
        elif what == "close":
            made.gives.close()
        else:
            self._made.remove(made)  # and nobody holds it any more when this returns

    async def _with_async(self, made: Made, what: str) -> None:
        if not made.is_async:
            self._with(made, what)
        elif what == "resume":
            made.is_at_work = True
            await anext(made.gives, None)
            made.is_at_work = False
        else:
            with suppress(AttributeError):  # Prefect's, at the end of each
                await made.gives.aclose()
