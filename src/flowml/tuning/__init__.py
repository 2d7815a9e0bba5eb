"""The search for good parameters: a flow of trials, which Optuna chooses.

Words: `space` (what is tried), `goals` (which metrics count), `trial` (one call of the task, with one choice), `study`
(all trials under one name, as Optuna's own storage has them, which is the truth), `claims` (whose trial it is).
"""
