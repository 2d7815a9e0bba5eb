"""A record's way from its queue to MLflow, in the background and in order.

Words: `Writer` (the one thread of a store), `SendPass` (once through all runs), `Sender` (what one run has, step by
step), `FlowEnds` (what flows tell at their ends), `batches` (few calls), `creation` (runs, one by one or many in one
transaction).
"""
