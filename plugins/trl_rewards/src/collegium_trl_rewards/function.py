"""One reward function: loaded, checked, called, and what it returned turned into numbers, None or an error."""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from collegium import ConfigError, Error
from collegium_trl_rewards.config import WeightedFunction
from collegium_trl_rewards.locate import distribution_of

Reward: TypeAlias = float | Error | None


class RewardFunction:
    """A function that a recipe names.

    Args:
        named: Its path, weight and factory arguments.

    Raises:
        ConfigError: If it cannot be imported, is not callable, or takes no further keyword arguments.
    """

    def __init__(self, named: WeightedFunction) -> None:
        self.name = named.function
        self.weight = named.weight
        self.owner = distribution_of(named.module)
        self.call: Callable[..., Any] = self._made(self._imported(named), named.arguments)
        self.is_async = _is_async(self.call)
        self._check_signature()

    def rewards(self, returned: object, count: int) -> list[Reward]:
        """Return one reward per sample; what is no finite number and not None is an error, as is a wrong length."""
        if isinstance(returned, (str, bytes, Mapping)) or not hasattr(returned, "__iter__"):
            return [self.error(f"returned a {type(returned).__name__}, expected a list of {count} rewards")] * count
        values = list(returned)
        if len(values) != count:
            return [self.error(f"returned {len(values)} rewards for {count} completions")] * count
        return [self._reward(value) for value in values]

    def failed(self, cause: BaseException, count: int) -> list[Reward]:
        """Return what a call that raised is worth: an error for each sample, since it saw them all."""
        return [self.error(f"raised {type(cause).__name__}: {cause}")] * count

    def error(self, what: str) -> Error:
        """Return an error that names the function and its distribution."""
        return Error(f"{self.owner}: {self.name} {what}")

    def _reward(self, value: Any) -> Reward:
        if value is None:
            return None
        try:
            number = float(value) if hasattr(value, "__float__") else math.nan
        except (TypeError, ValueError, OverflowError, RuntimeError):  # an array of several numbers, a huge integer
            number = math.nan
        return number if math.isfinite(number) else self.error(f"returned {reprlib.repr(value)}, expected a number")

    def _imported(self, named: WeightedFunction) -> Any:
        module, _, attribute = named.function.partition(":")
        try:
            return functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
        except Exception as error:
            raise self._refusal(f"cannot be imported: {type(error).__name__}: {error}", "check the path") from error

    def _made(self, found: Any, arguments: Mapping[str, Any] | None) -> Callable[..., Any]:
        if not callable(found):
            raise self._refusal(f"is a {type(found).__name__}, expected a function", "name a function")
        if arguments is None:
            return found  # type: ignore[no-any-return]  # checked above
        try:
            made = found(**arguments)
        except Exception as error:
            raise self._refusal(f"made no function: {type(error).__name__}: {error}", "check arguments") from error
        if not callable(made):
            raise self._refusal(f"made a {type(made).__name__}, expected a function", "leave arguments out")
        return made  # type: ignore[no-any-return]  # checked above

    def _check_signature(self) -> None:
        if isinstance(self.call, type):
            raise self._refusal("is a class, expected a function", "give arguments, so that an object is made of it")
        try:
            parameters = inspect.signature(self.call).parameters.values()
        except (TypeError, ValueError):  # written in C, it does not say
            return
        if not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
            raise self._refusal("takes no **kwargs: it would fail on a column it does not know", "add **kwargs to it")

    def _refusal(self, what: str, fix: str) -> ConfigError:
        return ConfigError(f"reward function {self.name!r} {what}", fix=fix, owner=self.owner)


def _is_async(function: Callable[..., Any]) -> bool:
    """Say whether a call returns a coroutine: a function, a partial of one, or an object whose `__call__` is one."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
