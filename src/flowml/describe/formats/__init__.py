"""Values as files, in the format that the ending of a file's name says.

Words: `tabular` (tables and arrays), `nests` (lists, mappings and what has named fields).
"""
