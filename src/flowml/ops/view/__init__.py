"""Flow runs in the terminal: a list of them, one as a tree, its pages, several side by side."""
