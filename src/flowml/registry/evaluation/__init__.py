"""How good two models are on the same rows: loaded, given the rows, measured, compared.

Words: `contenders` (the models), `predictions`, `metrics`, `bootstrap` (how sure a difference is), `judging` (rules).
"""
