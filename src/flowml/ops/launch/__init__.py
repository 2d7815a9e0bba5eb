"""``flowml run``: a flow out of a file, its parameters out of words, a view of it while it runs, its summary.

Words: `loading` (file to flow), `calls` (those that a file makes itself), `parameters` (words to values), `start`,
`live` (the view), `summary`; for other programs `outcome` (what they are told) and `stopping` (how they end it).
"""
