"""The retail desk of tau-bench: its tools, after their published behaviour (sierra-research/tau-bench, retail tools).

Amounts are rounded to cents, and the items of one call are looked up before the first is replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from collegium_verifier_tools.arithmetic import value_of
from collegium_verifier_tools.database import Database
from collegium_verifier_tools.environment import Environment, Tool, ToolError

Record = dict[str, Any]
REASONS = ("no longer needed", "ordered by mistake")
ADDRESS = ("address1", "address2", "city", "state", "country", "zip")


def _get(database: Database, table: str, key: str) -> Record:
    found: Record | None = database.find(table, key)
    if found is None:
        raise ToolError(f"{table} has no {key[:80]!r}")
    return found


def _order(database: Database, order_id: str, status: str) -> Record:
    """Return an order to change, which must have a status."""
    found = _get(database, "orders", order_id)
    if found["status"] != status:
        raise ToolError(f"the order is {found['status']}, not {status}")
    order: Record = database.edit("orders", order_id)
    return order


def _method(database: Database, order: Mapping[str, Any], method_id: str) -> Record:
    methods = _get(database, "users", order["user_id"])["payment_methods"]
    if method_id not in methods:
        raise ToolError("the user has no such payment method")
    method: Record = methods[method_id]
    return method


def _can_pay(method: Mapping[str, Any], amount: float) -> None:
    if method["source"] == "gift_card" and method["balance"] < amount:
        raise ToolError("the gift card's balance is too small")


def _pay(database: Database, order: Mapping[str, Any], method_id: str, amount: float) -> None:
    """Take an amount from a gift card, or put it there if negative; other methods keep no balance."""
    if _method(database, order, method_id)["source"] != "gift_card":
        return
    method = database.edit("users", order["user_id"])["payment_methods"][method_id]
    method["balance"] = round(method["balance"] - amount, 2)


def _entry(kind: str, amount: float, method_id: str) -> Record:
    return {"transaction_type": kind, "amount": amount, "payment_method_id": method_id}


def _chosen(order: Mapping[str, Any], item_ids: Sequence[str]) -> list[Record]:
    """Return the order's items with these ids, each item once."""
    places: dict[str, list[Record]] = {}
    for item in order["items"]:
        places.setdefault(item["item_id"], []).append(item)
    for item_id, count in Counter(item_ids).items():
        if count > len(places.get(item_id, ())):
            raise ToolError(f"the order has no {item_id[:80]!r}, or not so many")
    return [places[item_id].pop(0) for item_id in item_ids]


def _replacements(database: Database, items: Sequence[Record], new_ids: Sequence[str]) -> tuple[list[Record], float]:
    """Return the variants that take the items' places, and what they cost more."""
    if len(items) != len(new_ids):
        raise ToolError("there must be one new item for each item")
    found = []
    for item, new_id in zip(items, new_ids, strict=True):
        variant = _get(database, "products", item["product_id"])["variants"].get(new_id)
        if variant is None or not variant["available"]:
            raise ToolError(f"the product has no available item {new_id[:80]!r}")
        found.append(variant)
    more = sum(new["price"] - old["price"] for new, old in zip(found, items, strict=True))
    return found, round(more, 2)


def _cancel(database: Database, order_id: str, reason: str) -> Record:
    order = _order(database, order_id, "pending")
    if reason not in REASONS:
        raise ToolError(f"the reason must be one of {REASONS}")
    paid = list(order["payment_history"])
    for payment in paid:
        order["payment_history"].append(_entry("refund", payment["amount"], payment["payment_method_id"]))
        _pay(database, order, payment["payment_method_id"], -payment["amount"])
    order |= {"status": "cancelled", "cancel_reason": reason}
    return order


def _modify_items(
    database: Database, order_id: str, item_ids: list[str], new_item_ids: list[str], payment_method_id: str
) -> Record:
    order = _order(database, order_id, "pending")
    items = _chosen(order, item_ids)
    variants, more = _replacements(database, items, new_item_ids)
    _can_pay(_method(database, order, payment_method_id), more)
    order["payment_history"].append(_entry("payment" if more > 0 else "refund", abs(more), payment_method_id))
    _pay(database, order, payment_method_id, more)
    for item, variant in zip(items, variants, strict=True):
        item |= {"item_id": variant["item_id"], "price": variant["price"], "options": dict(variant["options"])}
    order["status"] = "pending (item modified)"
    return order


def _modify_payment(database: Database, order_id: str, payment_method_id: str) -> Record:
    order = _order(database, order_id, "pending")
    method = _method(database, order, payment_method_id)
    paid = order["payment_history"]
    if len(paid) != 1 or paid[0]["transaction_type"] != "payment":
        raise ToolError("the order must have exactly one payment")
    old, amount = paid[0]["payment_method_id"], paid[0]["amount"]
    if old == payment_method_id:
        raise ToolError("the payment method is the present one")
    _can_pay(method, amount)
    order["payment_history"] += [_entry("payment", amount, payment_method_id), _entry("refund", amount, old)]
    _pay(database, order, payment_method_id, amount)
    _pay(database, order, old, -amount)
    return order


def _modify_order_address(database: Database, order_id: str, **address: str) -> Record:
    order = _order(database, order_id, "pending")
    order["address"] = address
    return order


def _modify_user_address(database: Database, user_id: str, **address: str) -> Record:
    _get(database, "users", user_id)
    user: Record = database.edit("users", user_id)
    user["address"] = address
    return user


def _exchange(
    database: Database, order_id: str, item_ids: list[str], new_item_ids: list[str], payment_method_id: str
) -> Record:
    order = _order(database, order_id, "delivered")
    _, more = _replacements(database, _chosen(order, item_ids), new_item_ids)
    _can_pay(_method(database, order, payment_method_id), more)
    order |= {
        "status": "exchange requested",
        "exchange_items": sorted(item_ids),
        "exchange_new_items": sorted(new_item_ids),
        "exchange_payment_method_id": payment_method_id,
        "exchange_price_difference": more,
    }
    return order


def _return(database: Database, order_id: str, item_ids: list[str], payment_method_id: str) -> Record:
    order = _order(database, order_id, "delivered")
    method = _method(database, order, payment_method_id)
    if method["source"] != "gift_card" and payment_method_id != order["payment_history"][0]["payment_method_id"]:
        raise ToolError("the refund goes to the original payment method or to a gift card")
    _chosen(order, item_ids)
    order |= {
        "status": "return requested",
        "return_items": sorted(item_ids),
        "return_payment_method_id": payment_method_id,
    }
    return order


def _find_by_email(database: Database, email: str) -> str:
    found = (key for key, user in database.records("users") if user["email"].lower() == email.lower())
    return _first(found)


def _find_by_name(database: Database, first_name: str, last_name: str, **place: str) -> str:
    wanted = (first_name.lower(), last_name.lower(), place["zip"])
    return _first(key for key, user in database.records("users") if _identity(user) == wanted)


def _identity(user: Mapping[str, Any]) -> tuple[str, str, str]:
    name = user["name"]
    return name["first_name"].lower(), name["last_name"].lower(), user["address"]["zip"]


def _first(found: Any) -> str:
    if (key := next(iter(found), None)) is None:
        raise ToolError("no such user")
    return str(key)


def _calculate(_database: Database, expression: str) -> str:
    try:
        return f"{value_of(expression):.2f}"
    except ValueError as error:
        raise ToolError(str(error)) from error


def _product_types(database: Database) -> dict[str, str]:
    return {product["name"]: key for key, product in database.records("products")}


def _nothing(_database: Database, **_said: str) -> str:
    return ""


def _details(table: str, argument: str) -> Tool:
    return Tool(lambda database, **given: _get(database, table, given[argument]), {argument: str}, writes=False)


_ITEMS: dict[str, type] = {"order_id": str, "item_ids": list, "payment_method_id": str}
_LINES: dict[str, type] = dict.fromkeys(ADDRESS, str)

RETAIL = Environment({
    "cancel_pending_order": Tool(_cancel, {"order_id": str, "reason": str}),
    "modify_pending_order_address": Tool(_modify_order_address, {"order_id": str} | _LINES),
    "modify_pending_order_items": Tool(_modify_items, _ITEMS | {"new_item_ids": list}),
    "modify_pending_order_payment": Tool(_modify_payment, {"order_id": str, "payment_method_id": str}),
    "modify_user_address": Tool(_modify_user_address, {"user_id": str} | _LINES),
    "exchange_delivered_order_items": Tool(_exchange, _ITEMS | {"new_item_ids": list}),
    "return_delivered_order_items": Tool(_return, _ITEMS),
    "find_user_id_by_email": Tool(_find_by_email, {"email": str}, writes=False),
    "find_user_id_by_name_zip": Tool(_find_by_name, {"first_name": str, "last_name": str, "zip": str}, writes=False),
    "get_order_details": _details("orders", "order_id"),
    "get_product_details": _details("products", "product_id"),
    "get_user_details": _details("users", "user_id"),
    "list_all_product_types": Tool(_product_types, {}, writes=False),
    "calculate": Tool(_calculate, {"expression": str}, writes=False),
    "think": Tool(_nothing, {"thought": str}, writes=False),
    "transfer_to_human_agents": Tool(_nothing, {"summary": str}, writes=False, terminates=True),
})  # fmt: skip
"""Users, orders and products; tables `users`, `orders`, `products`."""
