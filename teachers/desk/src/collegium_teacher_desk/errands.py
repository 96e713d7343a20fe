"""The errands of each tool, drawn at random; what the tool would say is worked out here, independently of it."""

from __future__ import annotations

import random
from collections.abc import Callable

from collegium_teacher_desk.errand import Errand

FIELDS = {"zip": 5, "fee": 4, "age": 2}
"""Fields of a customer, and their digits."""


def calculation(rng: random.Random) -> Errand:
    """Draw a product and a sum, such as ``47*86+12?``: two calls."""
    left, right = sorted((rng.randrange(12, 100), rng.randrange(12, 100)), reverse=True)
    more, product = rng.randrange(11, 100), left * right
    calls = (f"calc {left}*{right}", f"calc {product}+{more}")
    return Errand(f"{left}*{right}+{more}? ", calls, (str(product), str(product + more)), str(product))


def lookup(rng: random.Random) -> Errand:
    """Draw an order whose customer's field is asked for, such as ``o417 zip?``: the order names the customer."""
    order, customer = (str(rng.randrange(100, 1000)) for _ in range(2))
    wanted = rng.choice(list(FIELDS))
    record = {name: _number(rng, digits) for name, digits in FIELDS.items()}
    database = {"o": {order: {"u": customer}}, "u": {customer: record}}
    calls = (f"get o {order} u", f"get u {customer} {wanted}")
    return Errand(f"o{order} {wanted}? ", calls, (customer, record[wanted]), customer, {"database": database})


def program(rng: random.Random) -> Errand:
    """Draw something to do with a number's digits, such as ``sort 4831?``: one call."""
    number = _number(rng, rng.randrange(4, 6))
    code, value = rng.choice([
        (f'sort {number}|run "".join(sorted("{number}"))', "".join(sorted(number))),
        (f'flip {number}|run "{number}"[::-1]', number[::-1]),
        (f'sum {number}|run sum(map(int,"{number}"))', str(sum(map(int, number)))),
    ])  # fmt: skip
    if value == number:  # nothing to do: copying the question would be right
        return program(rng)
    question, _, call = code.partition("|")
    return Errand(f"{question}? ", (call,), (value,), number)


DRAWS: dict[str, Callable[[random.Random], Errand]] = {
    "calculator": calculation, "database": lookup, "python": program,
}  # fmt: skip
"""Tool to what draws its errands."""


def _number(rng: random.Random, digits: int) -> str:
    """Draw a number without a zero, so that its digits in any order are as many."""
    return "".join(rng.choice("123456789") for _ in range(digits))
