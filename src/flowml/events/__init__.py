"""Events: what flowml tells Prefect, and the triggers that start deployments on it.

Words: `triggers` (declared beside a flow), `vocabulary` (what events are called), `reporting` (makes events of what
MLflow got), `thresholds` and `judging` (a finished run against what triggers ask for), `emitting` (hands events to
Prefect), `Notify` (who is told, declared beside a flow).
"""
