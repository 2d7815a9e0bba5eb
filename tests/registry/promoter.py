"""A process that promotes again and again, as fast as it can; it says what came of each try."""

from __future__ import annotations

import json
import random
import sys

from flowml.errors import RegistryError
from flowml.registry import moves
from flowml.store.backend.connection import connect
from flowml.store.ledger import Decision


def main(model: str, name: str, count: int, versions: int) -> None:
    """Promote a version by chance, where the champion is still the one that was seen."""
    client, chance = connect().client, random.Random(name)
    for number in range(count):
        seen = client.get_registered_model(model).aliases.get("champion")
        version = chance.choice([each for each in range(1, versions + 1) if str(each) != str(seen)])
        wish = Decision(kind="move", version=str(version), alias="champion", who=name, why=f"{name} {number}")
        try:
            done = moves.promote(client, model, wish, expect=str(seen) if seen is not None else None)
        except RegistryError as error:
            sys.stdout.write(json.dumps({"why": wish.why, "refused": str(error)}) + "\n")
        else:
            sys.stdout.write(json.dumps({"why": wish.why, "before": done.before, "version": done.version}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
