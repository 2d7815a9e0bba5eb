"""What was kept of a server's requests is read again, and measured: `flowml.served_requests`, `flowml.served_metrics`.

Words: `kept` (the rows of the Parquet files), a truth (what somebody said was right about an answer), `measured` (how
a version did).
"""
