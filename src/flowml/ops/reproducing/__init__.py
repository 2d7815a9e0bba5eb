"""A flow run again as it was, and compared; or written as a project of MLflow, which others run.

Words: `recorded` (what a run keeps of how it was made), `worktree`, `submodules` and `environment` (its code and
packages, built anew), `replay` (the program that runs the flow in them), `compare`, `causes`, `report`; `mlproject`.
"""
