"""Lineage: what each call read and made, told to a catalogue by the OpenLineage standard, beside the task's path.

Words: `calls` (one call, as its session tells of it), `known` (which name a table or model has already), `naming`
(addresses to the standard's names), `revisions` (which version of a file or source it was), `event` (what is known of
a call becomes an event of the standard), `sending` (events wait, and are sent by a thread of their own).
"""

from flowml.lineage.calls import NO_LINEAGE, CallLineage, begin, ended_elsewhere
from flowml.lineage.sending import load, settle

__all__ = ["NO_LINEAGE", "CallLineage", "begin", "ended_elsewhere", "load", "settle"]
