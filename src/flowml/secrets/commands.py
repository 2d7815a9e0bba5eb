"""Secrets in command lines that stand behind an option of one letter: ``curl -u ada:...``, ``sshpass -p ...``."""

from __future__ import annotations

import re

from flowml.secrets.forms import MASK

SIGNS = (" -u", " -a", " -p", "--user", "--auth")
"""One of these is in each such command."""

_MOST = 200  # characters of a command before the option
_BEHIND = rf"[^\n|;]{{0,{_MOST}}}?\s"
_SECRET = re.compile(
    rf"""(?P<head>(?<!\S)(?:-u|-a|--user|--auth|--proxy-user)[ =]["']?[^\s:"'/]{{1,64}}:)(?![\d/])
        (?P<secret>[^\s"']{{1,200}})
      | (?P<head2>\bmysql\w{{0,10}}\b{_BEHIND}-p)(?P<secret2>[^\s\-]\S{{0,200}})
      | (?P<head3>\b(?:sshpass|redis-cli|(?:docker|podman|helm|az|oc)\s(?:registry\s)?login|twine\supload)\b
        {_BEHIND}-[pa]\s)
        (?P<secret3>"[^"\n]{{1,200}}"|'[^'\n]{{1,200}}'|[^\s\-"']\S{{0,200}})""",
    re.VERBOSE,
)


def mask_commands(text: str) -> str:
    """Take out the passwords of commands."""
    return _SECRET.sub(_masked, text)


def _masked(found: re.Match[str]) -> str:
    head = found["head"] or found["head2"] or found["head3"]
    secret = found["secret"] or found["secret2"] or found["secret3"]
    quote = secret[0] if secret[0] in "\"'" else ""
    return found[0] if secret.startswith("$") else f"{head}{quote}{MASK}{quote}"
