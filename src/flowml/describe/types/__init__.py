"""One describer for each family of types: what a value of it is, as records.

Words: each module is a family, and its `register_all` tells the dispatch which types it describes.
"""
