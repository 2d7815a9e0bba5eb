"""flowml sync: brings to MLflow what was kept back, for its process was offline or could not reach it.

Words: `sync_offline` (copies the offline store), `Synced` (its report), `choose_target` (where to), `waiting` (what
is there to be copied, told quickly).
"""
