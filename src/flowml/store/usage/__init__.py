"""What language models were asked, and what it cost: counted from the spans of MLflow's traces.

Words: `Usage` (tokens and cost, by model), `Spent` (what one call has used, as it comes in), `prices` (of a token).
"""
