"""A flow that asks for an approval, served by a process of its own."""

from __future__ import annotations

from pathlib import Path

from prefect import serve
from pydantic import Field, field_validator

import flowml
from flowml import ReleaseForm, flow, task


class Ticketed(ReleaseForm):
    """A form that asks for a ticket, which Prefect's server cannot check."""

    ticket: str = Field(title="Ticket")

    @field_validator("ticket")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if not value.startswith("REL-"):
            msg = "is no ticket of ours"
            raise ValueError(msg)
        return value


@task
def report(outcome: str, who: str) -> str:
    """Say how it ended."""
    return f"{outcome} by {who}"


@flow
def releases(version: int, folder: Path, timeout: float | None = None, form: str = "ReleaseForm") -> str:
    """Ask for an approval, twice in the code, which is once for the person."""
    with (folder / "began").open("a") as file:
        file.write("x")
    asked = {"ReleaseForm": ReleaseForm, "Ticketed": Ticketed}[form]
    decision = flowml.approve("churn", version, form=asked, timeout=timeout, why="It is better on recall.")
    again = flowml.approve("churn", version, form=asked)
    assert again == decision
    report(decision.outcome, decision.who)
    return decision.outcome


if __name__ == "__main__":
    serve(releases.to_deployment("asks"))
