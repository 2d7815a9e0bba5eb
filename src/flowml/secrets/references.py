"""What stands in the place of a secret and is none: a variable's name, a placeholder, code that reads one, a type."""

from __future__ import annotations

import re

_SHOWN = frozenset({"none", "null", "nil", "true", "false", "yes", "no", "", "()", "[]", "{}", "undefined"})
_PLACEHOLDER = re.compile(
    r"""<[|/\w .\-]{1,60}> | \[(?:[A-Z_]{2,20}|(?i:redacted|hidden|masked|filtered|secret|token))\]
      | \$[A-Z_][A-Z0-9_]{0,100} | \$\{[A-Za-z_][^{}\n]{0,100}\} | \$?\{\{[^{}\n]{1,200}\}\} | %[A-Z_]{2,60}%
      | %(?:\(\w{1,60}\))?[srd] | env:[A-Za-z_]\w{0,100} | op://[\w./\- ]{1,200} | [*•]{1,100} | \.{3} | …""",
    re.VERBOSE,
)
_LONGEST = 300  # characters of a placeholder
_FIRST = frozenset("<[$%{eo*•.…")  # of a placeholder
_NUMBERS = re.compile(r"[\[({][\s\d.,eE+\-_]{1,2000}[\])}]")
_TYPE = re.compile(
    r"""&?(?:'\w{1,20}\s)?(?:[A-Za-z_]\w{0,40}\.){0,4}(?:str|String|string|bytes|bool|int|float|dict|list|tuple|Any|object
      |Secret|SecretStr|SecretBytes|Optional|Union|Annotated|Literal|Path|None)(?:\[[^\]\n]{0,200}\]{1,5})?(?=[\s,;)=|:"'\\]|\Z)""",
    re.VERBOSE,
)
# What stands before a bracket or at the end of a chain of names: code, unless it holds text of its own.
_CALL = re.compile(r"(?:await\s)?(?P<called>(?:[A-Za-z_]{1,60}\.){0,8}[A-Za-z_]{1,60})(?P<open>[\[(])")
_READS = re.compile(
    r"get|load|read|fetch|find|env|input|ask|lookup|secret|config|settings|option|args|param", re.IGNORECASE
)
_CHAIN = re.compile(
    r"""(?:self|cls|os|settings|config|cfg|conf|args|opts|options|params|kwargs|request|context|ctx|secrets|env|environ
      |credentials|var|local|module|data|process|st|dbutils)\.[A-Za-z_][\w.]{0,200}(?=[\s,;)\]}"'\\]|\Z)""",
    re.VERBOSE,
)
_BRACKETED = re.compile(r"[^()\[\]\n\"']{0,200}[\])]")
_QUOTED = re.compile(r"[^()\[\]\n]{0,200}[\])]")


def is_reference(value: str) -> bool:
    """Tell whether a whole value is no secret: nothing, a flag, a variable's name, a placeholder."""
    if len(value) > _LONGEST:
        return False
    return value.lower() in _SHOWN or (value[0] in _FIRST and _PLACEHOLDER.fullmatch(value) is not None)


def are_numbers(value: str) -> bool:
    """Tell whether a text in brackets holds numbers alone."""
    return _NUMBERS.fullmatch(value) is not None


def code_end(text: str, position: int, name: str, *, typed: bool) -> int:
    """Return where the code ends that stands where a secret's value would, or the position where there is none.

    Args:
        text: The whole text.
        position: Where a value begins.
        name: What it is assigned to.
        typed: Whether it may be an annotation.
    """
    if text[position : position + 1] in _FIRST and (placeholder := _PLACEHOLDER.match(text, position)):
        following = text[placeholder.end() : placeholder.end() + 1]
        return placeholder.end() if not following or not (following.isalnum() or following in "!@#%_") else position
    if typed and (annotation := _TYPE.match(text, position)):
        return annotation.end()
    if chain := _CHAIN.match(text, position):
        return chain.end()
    if call := _CALL.match(text, position):
        reads = call["open"] == "[" or _READS.search(call["called"])
        closed = (_QUOTED if reads else _BRACKETED).match(text, call.end())
        return closed.end() if closed else position
    own = name.strip("_-")
    for same in (own, f"{{{own}}}", f"${own}") if own else ():
        end = position + len(same)
        if text.startswith(same, position) and not text[end : end + 1].strip(" ,;)]}\"'\\\n"):
            return end
    return position
