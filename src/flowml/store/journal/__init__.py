"""What waits for MLflow, on this machine's disk: it outlives the process and an MLflow that is away.

Words: `Journal` (the file of one process), `Entry` (a line of it), `Scratch` (files that wait), `stage` (copy them
aside), `waiting` (the journals that are there), `alone` (one sync at a time).
"""
