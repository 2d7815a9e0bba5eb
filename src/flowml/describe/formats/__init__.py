"""Values as files, in the format that the ending of a file's name says.

Words: `tabular` (tables and arrays), `nests` (the parts of lists, mappings and what has
named fields), `nest_files` (all of them as one file).
"""
