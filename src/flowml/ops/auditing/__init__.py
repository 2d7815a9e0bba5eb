"""``flowml audit``: where a version comes from and who let it pass, link by link.

Words: `chain` (the links: data, code, run, gate, approval, moves), `checks` (whether the decisions are as they were
written), `page` (one HTML file that prints well), `report` (what the command says).
"""
