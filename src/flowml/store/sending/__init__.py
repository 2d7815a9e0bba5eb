"""A record's way to MLflow, in the background and in order.

Words: `enqueue` (a record in a form that waits), `Outgoing` (the queue of one run), `Writer` (the one thread of a
store), `Sender` (what one run has, step by step), `batches` (few calls), `creation` (runs, one by one or many in one
transaction).
"""
