"""Registered models answer beyond one machine: `flowml serve-model --engine ray`, `flowml serve-model --export kserve`.

Words: `Cluster` (the Ray that is joined or started), `Fleet` (what the command has deployed there), `Replica` (one of
the processes that answer), `Role` (what a version is served as: the one that answers, canary, shadow), `kserve` (a
version as an InferenceService of Kubernetes).
"""
