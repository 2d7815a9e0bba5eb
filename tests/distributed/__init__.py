"""Processes that a task starts, and that log to its run."""
