"""What waits to be sent, in memory and on the disk.

Words: `enqueue` (a record in a form that waits), `Outgoing` (the queue of one run), `journaled` (the same, as the
journal has it), `Reader` (reads it back), `Backlog` (runs that memory has no room for), `Delay` (how long a flow may
wait).
"""
