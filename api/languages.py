"""Which language a client reads: English, or Chinese where it is preferred."""

from __future__ import annotations


def prefers_chinese(accept_language: str) -> bool:
    """Whether `zh` outranks `en` in an `Accept-Language` header (RFC 9110, section 12.5.4)."""
    weights = {"zh": 0.0, "en": 0.0, "*": 0.0}
    for choice in accept_language.split(","):
        tag, _, parameters = choice.partition(";")
        primary = tag.strip().lower().partition("-")[0]
        if primary in weights:
            weights[primary] = max(weights[primary], _weight(parameters))
    return weights["zh"] > max(weights["en"], weights["*"])


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip().lower() != "q":
        return 1.0
    try:
        return min(1.0, max(0.0, float(value)))
    except ValueError:
        return 0.0
