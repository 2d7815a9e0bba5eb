"""Registered models answer requests, by whichever version has the alias: `flowml serve-model`.

Words: `application` (what answers), `Served` (one version that does), `following` (keeps both on the alias), `files`
and `environments` (what a version needs on this machine), `own_process` (a version whose packages differ from those
here), `Slot` (who answers, and who is tried beside), `said` (lines that all workers would say), `threads` (in which
versions predict), `monitoring` (what is kept and told of requests).
"""
