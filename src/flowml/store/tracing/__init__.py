"""MLflow's traces: the spans of tracked calls, which MLflow's own functions see and add to.

Words: `OwnSpan` (a call's span while it works), `Home` (the trace as this process has it), `ids_of` (which span a call
has), `send_spans`, `send_trace`, and `end_left_open` (of runs whose process is gone). flowml makes its spans itself and
sends them as it sends all records, by the journal: the trace begins before it is known which store it goes to, and no
span is lost with its process.
"""

from flowml.store.tracing.home import Home
from flowml.store.tracing.live import OwnSpan, ids_of, is_on
from flowml.store.tracing.sent import end_left_open, send_spans, send_trace

__all__ = ["Home", "OwnSpan", "end_left_open", "ids_of", "is_on", "send_spans", "send_trace"]
