"""What the describers of tables share, whatever library a table is of.

Words: `dataset_parts` (sample, digest and schema of one), `by_column` (describes a table column by column, so that an
odd one costs nothing of the others), `columns` and `cells` (of pandas), `distribution` (percentiles).
"""
