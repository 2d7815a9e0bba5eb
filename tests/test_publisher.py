"""Work in the background, in its order."""

from __future__ import annotations

from threading import Event

from flowml.background import Publisher


def test_what_was_put_off_comes_after_the_rest() -> None:
    """While somebody waits, all is done: first what is urgent, then what was put off; a failure stops nothing."""
    begun, go_on, done = Event(), Event(), list[str]()

    def hold() -> None:
        begun.set()
        go_on.wait(20)

    def fail() -> None:
        msg = "refused"
        raise RuntimeError(msg)

    publisher = Publisher(idle=lambda: None)
    publisher.add(hold)
    assert begun.wait(20)
    for number in range(3):
        publisher.add(lambda number=number: done.append(f"link {number}"), later=True)  # type: ignore[misc]
    publisher.add(fail)
    publisher.add(lambda: done.append("summary"))
    with publisher.publishing_now():
        go_on.set()
        assert publisher.wait(20) == 0
    assert done == ["summary", "link 0", "link 1", "link 2"]
