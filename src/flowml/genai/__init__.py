"""Evaluation of what language models answer, within a budget: one run for each, which can be compared and gated on.

Words: `evaluate` (a task: scores on rows), `Evaluation` (what came of it), `Budget` (what judges may ask and cost),
`traces` (what they tell together).
"""
