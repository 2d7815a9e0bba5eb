"""Flow runs in the terminal: a list of them, one as a tree, its pages, several side by side; and deleting them.

Words: `finding` (the run that is meant), `facts` (what is told of one), `tree`; `listing`, `show`, `compare`,
`browse` and `deleting` are commands.
"""
