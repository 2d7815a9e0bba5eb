"""`flowml sync`: brings to MLflow what waits on this machine, for its process was offline or could not reach it.

Words: `journals.sync` (sends what journals hold), `sync_offline` (copies the offline store), `Synced` (its report),
`choose_target` (where to), `waiting` (what is there to be copied, told quickly).
"""
