"""The submission's process: gives up all rights, then runs the model's text and answers calls.

From the moment the text runs, nothing this process says is trusted. It holds no test: it was forked before the grader
read the item, and its pipes end at a grader that takes plain data only.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import random
import sys
import threading
import types
from dataclasses import dataclass
from typing import Any

from collegium_verifier_code.inside import kernel, root, seccomp
from collegium_verifier_code.inside.channel import Closed, read_frame, write_frame
from collegium_verifier_code.inside.codec import Malformed, NotPlain, Packer, Unpacker
from collegium_verifier_code.inside.limits import Limits

NAME = "submission"
REQUESTS, REPLIES = 3, 4
"""The descriptors of the pipes, after `confine`."""
BUILTINS = {"getattr": getattr, "setattr": setattr, "len": len, "list": list, "str": str}
"""What the grader may do to an object of the submission's besides calling it."""


@dataclass(frozen=True, slots=True)
class Pipes:
    """The submission's ends, as file descriptors."""

    requests: int
    replies: int
    stdin: int
    stdout: int
    stderr: int


def main(pipes: Pipes, limits: Limits, user: int | None) -> None:
    """Be the submission; never returns."""
    status = 1
    try:
        confine(pipes, limits, user)
        write_frame(REPLIES, {"confined": True})
        order = read_frame(REQUESTS)
        status = run_program(order["source"]) if order["mode"] == "program" else serve(order["source"])
    except Closed:
        status = 0
    finally:
        os._exit(status)


def confine(pipes: Pipes, limits: Limits, user: int | None) -> None:
    """Keep five file descriptors and no right.

    Args:
        user: The user id to become, or None where the sandbox has only one.
    """
    _keep_only(pipes)
    os.setsid()  # a signal to one's own process group passes the walls of a pid namespace: have a group of one's own
    os.chdir(root.SCRATCH)
    os.umask(0o077)
    limits.apply()
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    kernel.drop_capabilities()
    seccomp.install()
    random.seed(0)  # the same completion gets the same verdict


def _keep_only(pipes: Pipes) -> None:
    """Move the pipes to descriptors 0-4 and close all others."""
    wanted = (pipes.stdin, pipes.stdout, pipes.stderr, pipes.requests, pipes.replies)
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 64) for fd in wanted]
    for target, fd in enumerate(high):
        os.dup2(fd, target, inheritable=True)
    os.closerange(len(wanted), 4096)


def run_program(source: str) -> int:
    """Run the text as a program and return its exit status."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    sys.argv = ["program.py"]
    _open_standard_streams()
    status = 0
    try:
        exec(compile(source, "program.py", "exec"), module.__dict__)
    except SystemExit as stop:
        status = _exit_status(stop)
    except BaseException as error:
        print(_describe(error), file=sys.stderr)
        status = 1
    threading._shutdown()  # type: ignore[attr-defined] # what the interpreter does at its end: waits for threads
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _open_standard_streams() -> None:
    """Open the standard streams anew, on the descriptors that are now under them."""
    for fd, name, errors in (
        (0, "stdin", "surrogateescape"),
        (1, "stdout", "surrogateescape"),
        (2, "stderr", "replace"),
    ):
        stream = os.fdopen(fd, "r" if fd == 0 else "w", encoding="utf-8", errors=errors, closefd=False)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _exit_status(stop: SystemExit) -> int:
    if stop.code is None:
        return 0
    return stop.code & 0xFF if isinstance(stop.code, int) else 1


def serve(source: str) -> int:
    """Run the text as a module, then answer requests until the grader hangs up."""
    _silence()
    module = types.ModuleType(NAME)
    sys.modules[NAME] = module
    try:
        exec(compile(source, "submission.py", "exec"), module.__dict__)
    except BaseException as error:
        write_frame(REPLIES, {"failed": _describe(error)})
        return 1
    write_frame(REPLIES, {"loaded": True})
    server = Server(module.__dict__)
    while True:
        write_frame(REPLIES, server.answer(read_frame(REQUESTS)))


def _silence() -> None:
    """What a function prints is nobody's business."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    _open_standard_streams()


def _describe(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:300]
    except BaseException:  # an exception whose text raises
        return type(error).__name__


class Server:
    """Answer the grader's requests about one module."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names
        self.objects: list[Any] = []

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one request; what the submission's code raises is an answer too."""
        try:
            if "kinds" in request:
                return {"kinds": {name: self._kind(name) for name in request["kinds"]}}
            return self._call(request)
        except NotPlain as error:
            return {"unsendable": str(error)}
        except BaseException as error:
            names = [kind.__name__ for kind in type(error).__mro__]
            return {"raise": names, "text": _describe(error).partition(": ")[2]}

    def _kind(self, name: str) -> dict[str, Any]:
        if name not in self.names:
            return {"missing": True}
        value = self.names[name]
        if isinstance(value, type) and issubclass(value, BaseException):
            return {"exception": [kind.__name__ for kind in value.__mro__]}
        return {"callable": True} if callable(value) else {"value": self._pack(value)}

    def _call(self, request: dict[str, Any]) -> dict[str, Any]:
        unpack = Unpacker(self._known).unpack
        arguments = [unpack(item) for item in request["args"]]
        keywords = {name: unpack(item) for name, item in request["kwargs"].items()}
        value = unpack(request["call"])(*arguments, **keywords)
        changed: dict[str, Any] = {}
        for index, argument in enumerate(arguments):
            if type(argument) in (list, dict, set, bytearray):
                packed = self._pack(argument)
                if packed != request["args"][index]:
                    changed[str(index)] = packed
        return {"value": self._pack(value), "changed": changed}

    def _pack(self, value: Any) -> Any:
        return Packer(self._handle).pack(value)

    def _handle(self, value: Any) -> dict[str, Any]:
        """Keep an object here and send a number for it."""
        self.objects.append(value)
        return {"object": len(self.objects) - 1}

    def _known(self, kind: str, content: Any) -> Any:
        if kind == "object":
            return self.objects[content]
        if kind == "name":
            return self.names[content]
        if kind == "builtin":
            return BUILTINS[content]
        raise Malformed(f"unknown type {kind!r}")
