"""The grader's side of the submission: calls go out, plain data comes back, and nothing that comes back is believed.

Objects of the submission's own classes come back as `Remote`: a number that equals nothing. Only where the *tests*
(trusted text) create the object by a class name do its attributes and methods answer; elsewhere an object with
obliging methods could pass for the text or list that the test expects.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from collegium_verifier_code.inside.channel import Closed, TooLarge, read_frame, write_frame
from collegium_verifier_code.inside.codec import Malformed, NotPlain, Packer, Unpacker

LOOP_ENDS = ("StopIteration", "StopAsyncIteration")
"""Never raised in a test: they would end its loop over calls as if all of them had been right."""


class SubmissionDied(BaseException):
    """The submission can answer no more; not an `Exception`, so that a test's ``except Exception`` does not hide it."""


class TestsUnsupported(BaseException):
    """The tests need something that cannot cross to the submission."""


class NotConfined(Exception):
    """The submission's process could not be stripped of its rights; nothing was run."""


class Session:
    """A conversation with one submission.

    Args:
        requests: Descriptor to write to.
        replies: Descriptor to read from.
        reply_limit: Largest reply, in bytes.
    """

    def __init__(self, requests: int, replies: int, reply_limit: int) -> None:
        self._requests, self._replies, self._limit = requests, replies, reply_limit
        self._exceptions: dict[str, type[Exception]] = {}
        self.cause = ""
        """Why the submission can answer no more; empty while it can."""

    def start(self) -> None:
        """Wait until the submission's process has given up its rights.

        Raises:
            NotConfined: If it could not.
        """
        try:
            read_frame(self._replies, self._limit)
        except Closed:
            raise NotConfined from None

    def load(self, source: str) -> None:
        """Have the text run as a module.

        Raises:
            SubmissionDied: If it does not compile, raises, or ends the process.
        """
        reply = self.exchange({"mode": "functions", "source": source})
        if "loaded" not in reply:
            self.die(str(reply.get("failed", "malformed reply"))[:300])

    def kinds(self, names: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Ask what each name is: callable, exception, value or missing."""
        kinds = self.exchange({"kinds": list(names)}).get("kinds")
        if not isinstance(kinds, dict) or not all(isinstance(kinds.get(name), dict) for name in names):
            self.die("malformed reply")
        return {name: kinds[name] for name in names}

    def call(self, target: dict[str, Any], args: Sequence[Any], kwargs: dict[str, Any], *, open_result: bool) -> Any:
        """Call something of the submission's.

        Args:
            open_result: Whether an object that comes back answers to its attributes.

        Raises:
            Exception: What the call raised, by its nearest built-in type.
            SubmissionDied: If it did not answer.
        """
        request = {
            "call": target,
            "args": self._pack(list(args)),
            "kwargs": {k: self._pack(v) for k, v in kwargs.items()},
        }
        reply = self.exchange(request)
        if "raise" in reply:
            raise self.exception(reply["raise"], str(reply.get("text", ""))[:300])
        if "value" not in reply:
            self.die(f"the result cannot be sent: {str(reply.get('unsendable', 'malformed reply'))[:300]}")
        if reply["value"] is None:  # otherwise a function could bend an argument that the test compares its result with
            self._apply_changes(args, reply.get("changed"))
        return self.unpack(reply["value"], open_result=open_result)

    def exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send one request and read its reply."""
        if self.cause:
            raise SubmissionDied(self.cause)
        try:
            write_frame(self._requests, request)
            reply = read_frame(self._replies, self._limit)
        except Closed:
            self.die("the process ended before it answered")
        except TooLarge as error:
            self.die(f"output limit: a reply of {error}")
        except (ValueError, RecursionError):
            self.die("malformed reply")
        if not isinstance(reply, dict):
            self.die("malformed reply")
        return reply

    def die(self, cause: str) -> NoReturn:
        """End the conversation."""
        self.cause = self.cause or cause
        raise SubmissionDied(self.cause)

    def unpack(self, data: Any, *, open_result: bool = False) -> Any:
        """Build a value from a reply."""

        def other(kind: str, content: Any) -> Any:
            if kind != "object" or type(content) is not int:
                raise Malformed(f"unknown type {kind!r}")
            return OpenRemote(self, content) if open_result else Remote(self, content)

        try:
            return Unpacker(other).unpack(data)
        except Malformed:
            self.die("malformed reply")

    def define_exception(self, name: str, names: Any) -> type[Exception]:
        """Make the test's stand-in for an exception class of the submission's."""
        base = type(self.exception(names, ""))
        self._exceptions[name] = type(name, (base,), {})
        return self._exceptions[name]

    def exception(self, names: Any, text: str) -> Exception:
        """Make the exception whose class comes first up the inheritance and is known here."""
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self.die("malformed reply")
        for name in names:
            if name in LOOP_ENDS:
                break
            kind = self._exceptions.get(name) or getattr(builtins, name, None)
            if isinstance(kind, type) and issubclass(kind, Exception):
                try:
                    return kind(text)
                except TypeError:  # a class that wants more than a text, such as UnicodeDecodeError: take its parent
                    continue
        return RuntimeError(text)

    def _pack(self, value: Any) -> Any:
        try:
            return Packer(_pack_reference).pack(value)
        except NotPlain as error:
            raise TestsUnsupported(f"tests use {error} as an argument, which is not supported") from None

    def _apply_changes(self, args: Sequence[Any], changed: Any) -> None:
        """Repeat on the test's own arguments what the call did to its copies."""
        if not isinstance(changed, dict):
            self.die("malformed reply")
        for index, argument in enumerate(args):
            if str(index) not in changed:
                continue
            value = self.unpack(changed[str(index)])
            if type(value) is not type(argument) or type(argument) not in (list, dict, set, bytearray):
                self.die("malformed reply")
            argument.clear()
            argument.extend(value) if isinstance(argument, list | bytearray) else argument.update(value)


class Function:
    """A name of the submission's that the tests call."""

    def __init__(self, session: Session, name: str, *, is_class: bool) -> None:
        self._session, self._name, self._is_class = session, name, is_class

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it in the submission's process."""
        return self._session.call({"name": self._name}, args, kwargs, open_result=self._is_class)


class Remote:
    """An object of the submission's: can be handed back to it, equals nothing but itself, has no attribute."""

    def __init__(self, session: Session, number: int) -> None:
        object.__setattr__(self, "_session", session)
        object.__setattr__(self, "_number", number)

    def __repr__(self) -> str:
        return "<object of the submission>"


class OpenRemote(Remote):
    """An object that the tests created by its class's name: attributes, methods, length and iteration answer."""

    def _ask(self, operation: str, *args: Any) -> Any:
        return self._session.call({"builtin": operation}, (self, *args), {}, open_result=True)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._ask("getattr", name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._ask("setattr", name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it: a bound method, mostly."""
        return self._session.call({"object": self._number}, args, kwargs, open_result=True)

    def __len__(self) -> int:
        return int(self._ask("len"))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._ask("list"))

    def __str__(self) -> str:
        return str(self._ask("str"))


def _pack_reference(value: Any) -> dict[str, Any]:
    if isinstance(value, Remote):
        return {"object": object.__getattribute__(value, "_number")}
    if isinstance(value, Function):
        return {"name": value._name}
    raise NotPlain(f"a value of type {type(value).__name__!r}")
