"""Hostile submissions, for seeing on a machine of one's own that none gets anywhere.

``python -m collegium_verifier_code.selftest`` judges them all.
"""

from __future__ import annotations

import textwrap

from collegium_verifier_code.selftest.escapes import ESCAPES, TEMPLATE
from collegium_verifier_code.selftest.exhaustions import EXHAUSTIONS, PROGRAMS
from collegium_verifier_code.selftest.forgeries import FORGERIES

ADD_ONE = {"tests": ["assert f(2) == 3", "assert f(10) == 11"]}
"""The task that hostile functions are judged by."""
SUM = {"io": [{"stdin": "1 2\n", "stdout": "3\n"}]}
"""The task that hostile programs are judged by."""
SYNTAX_ERRORS = {
    "long compile", "deep source", "null bytes", "not utf-8", "lone surrogate", "source of surrogates",
    "nested comprehension", "nested functions", "huge literal", "many nested f-strings", "long chain of attributes",
}  # fmt: skip
"""Attacks on the compiler: not meant to compile. All others do, or they would attack nothing."""


def escape(body: str) -> str:
    """Put an attempt's body into a submission that answers rightly if the attempt succeeds."""
    return TEMPLATE.format(body=textwrap.indent(body, "    "))


def functions() -> dict[str, str]:
    """All hostile submissions that are judged by `ADD_ONE`, named ``family/attack``."""
    return {
        **{f"escape/{name}": escape(body) for name, body in ESCAPES.items()},
        **{f"exhaustion/{name}": code for name, code in EXHAUSTIONS.items()},
        **{f"forgery/{name}": code for name, code in FORGERIES.items()},
    }


def programs() -> dict[str, str]:
    """All hostile submissions that are judged by `SUM`."""
    return {f"program/{name}": code for name, code in PROGRAMS.items()}
