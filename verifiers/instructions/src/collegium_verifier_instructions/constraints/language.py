"""The response's language, found by the optional package `langdetect`."""

from __future__ import annotations

import threading

from collegium_verifier_instructions.registry import Unavailable, constraint

_LOCK = threading.Lock()


@constraint("language:response_language")
def response_language(text: str, language: str) -> bool:
    """The response is in the language of this ISO 639-1 code."""
    return detect(text) == language


def detect(text: str) -> str | None:
    """Return the language's code; None if the text has nothing to tell it by.

    Raises:
        Unavailable: If `langdetect` is not installed.
    """
    try:
        from langdetect import DetectorFactory, LangDetectException
        from langdetect import detect as detect_language
    except ImportError:
        raise Unavailable("needs langdetect: pip install 'collegium-verifier-instructions[language]'") from None
    with _LOCK:  # it loads its profiles into globals on first use
        DetectorFactory.seed = 0  # else the same text may get another verdict the next time
        try:
            return str(detect_language(text))
        except LangDetectException:
            return None
