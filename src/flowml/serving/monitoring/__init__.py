"""What a server's requests were, and how right its answers: kept and told as they pass, read and measured afterwards.

Words: `recording` (some requests become Parquet files), `reporting` (MLflow is told what each version did), `kept` (the
files are read again), a truth (what somebody said was right about an answer), `measured` (how a version did),
`tables` (requests as rows), drift (`table_drift`: how far rows are from earlier ones).
"""
