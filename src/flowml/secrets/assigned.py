"""Secrets that are known by the name before them: ``password=...``, ``"api_key": "..."``, ``--token ...``."""

from __future__ import annotations

import re

from flowml.secrets.forms import MASK
from flowml.secrets.named import Named, Names
from flowml.secrets.names import is_secret_name, is_secret_number
from flowml.secrets.references import are_numbers, code_end, is_reference
from flowml.secrets.said import is_argument, is_told
from flowml.secrets.values import find_value

_AFTER_TYPE = re.compile(r"(?:\s?\|\s?[\w.\[\]]{1,50}){0,5}\]{0,5}\s{0,3}=(?!=)\s{0,3}")
_NUMBER = re.compile(r"[+-]?\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?%?")
_ENDS = frozenset({"", ";", ",", ")", "]", "}", "\n"})  # of an empty value
_PARAMETER_ENDS = _ENDS | {"&"}


def mask_assigned(text: str) -> str:
    """Take out what is assigned to a secret's name, keeping its quotes."""
    kept: list[str] = []
    names = Names(text)
    done = position = 0
    while found := names.after(position):
        position, sign = found.between.end(), found.sign
        ends = _PARAMETER_ENDS if sign == "=" else _ENDS
        while text[position : position + 1] not in ends:
            start = position
            begin, end, position, is_shown = _value(text, start, found)
            value = text[begin:end].strip()
            is_number = begin == start and (_NUMBER.fullmatch(value.rstrip(".")) or are_numbers(value))
            is_measure = is_number and not found.is_parameter and not is_secret_number(found.name)
            if not (is_shown or is_measure or value.startswith(MASK)):
                kept += [text[done:begin], MASK]
                done = end
            typed = _AFTER_TYPE.match(text, position) if sign == ":" else None
            if typed is None:
                break
            position = typed.end()
    return "".join([*kept, text[done:]])


def _value(text: str, start: int, found: Named) -> tuple[int, int, int, bool]:
    """Find a value, where to go on, and whether it is to be shown."""
    kind, name, sign = found.kind, found.name, found.sign
    if sign and (code := code_end(text, start, name, typed=sign == ":")) > start:
        return start, code, code, True
    begin, end, position = find_value(text, start, ">" if kind == "tag" else sign or "=")
    value = text[begin:end].strip()
    is_shown = is_reference(value)
    if kind == "pair":
        is_last = text[position : position + 1] == ")" or found.is_option
        is_shown = is_shown or is_secret_name(value) or not is_last
        position = start if is_shown else position  # a secret may be named in it
    elif kind == "tag":
        is_shown = is_shown or value.lower() in name.lower()
    elif kind == "argument":
        is_shown = is_shown or not is_argument(value, name)
    elif kind == "said":
        has_verb = bool(found.between[0].strip())
        is_shown = is_shown or not is_told(value, name, is_quoted=begin > start, has_verb=has_verb)
        position = start if is_shown else position
    return begin, end, position, is_shown
