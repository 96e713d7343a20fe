"""A process that lists a distribution's components, or checks one: what a plugin does there cannot end the command.

``python -m collegium.testing.conformance.worker`` reads a request from standard input and prints JSON lines.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collegium.plugins.registry import Registry
from collegium.testing.conformance.check import checks_for
from collegium.testing.conformance.subject import Subject
from collegium.testing.conformance.trace import END


def components(distribution: str) -> Iterator[dict[str, Any]]:
    """Yield how each entry point of a distribution loaded, with its components."""
    for record in Registry.discover().records:
        if record.distribution == distribution:
            yield {
                "module": record.module,
                "modules": record.modules,
                "status": record.status,
                "cause": record.cause,
                "components": [[kind, f"{record.distribution}/{each.name}"] for kind, each in record.components],
            }


def check_one(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the name of each check before it runs, and its result after."""
    cases = Path(request["cases"]) if request["cases"] else None
    subject = Subject(request["kind"], request["id"], request["options"], cases)
    for each in checks_for(subject.kind):
        yield {"running": each.name}
        yield dataclasses.asdict(each.run(subject))
    subject.close()


def main() -> None:
    """Answer one request; what the plugin prints goes to standard error."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    for row in check_one(request) if "kind" in request else components(request["distribution"]):
        answer.write(json.dumps(row) + "\n")
        answer.flush()
    answer.write(json.dumps(END) + "\n")
    answer.close()
    sys.stderr.flush()
    os._exit(0)  # threads that hang, and what a plugin registered for the end, must not keep the command waiting


if __name__ == "__main__":
    main()
