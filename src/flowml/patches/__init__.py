"""Every private name of another library that flowml reads, replaces or wraps: why, and what is lost without it.

Words: `PrivateName` (one name); `prefect`, `mlflow`, `others` (the names by library); `in_place` (has a function do
something else and stay the same object); `wrapped` (wraps methods); `in_source` (looks for a name without importing).
A contract test asks each admitted version.
"""
