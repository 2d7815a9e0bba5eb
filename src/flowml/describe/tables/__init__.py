"""What the describers of tables share, whatever library a table is of.

Words: `datasets` (sample, digest and schema of one), `content` (column by column, so that an odd one costs nothing of
the others), `columns` and `cells` (of pandas), `distribution` (percentiles).
"""
