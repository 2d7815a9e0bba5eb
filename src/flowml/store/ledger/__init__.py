"""The trail of a registered model: each decision about it, once, in order, as MLflow itself keeps it.

Words: `Decision` (what was decided, by whom, why), `Entry` (a decision at its place in the chain), `Ledger` (all of a
model's, to be read and added to), `moving` (aliases, whose moves are decisions), `order` (which move is the last),
`pending` (those that are not made yet).
"""

from flowml.store.ledger.entries import Decision, Entry, Kind, broken, this_user
from flowml.store.ledger.ledger import Ledger

__all__ = ["Decision", "Entry", "Kind", "Ledger", "broken", "this_user"]
