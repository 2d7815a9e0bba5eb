"""What the user's code does with plain ``mlflow.*``: where it goes, and what flowml need not log again.

Words: `active` (which runs plain calls see), `fluent` (MLflow's functions, taken over), `observed` (what they log),
`PlainCalls` (what they see of a call's run), `ByHand` and `Logged` (what was done by hand), `autologging` (on for one
task).
"""
