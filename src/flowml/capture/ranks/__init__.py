"""Processes that a task starts, and that log to its run: the ranks of a training, or any child.

Words: `child_environment` (what a child is told), `distributed` (a child joins), `Place` (which rank it is).
"""
