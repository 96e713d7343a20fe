"""The verifier `database-state`: replay, comparison, required outputs, hostile completions."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collegium import Completion, Error, Score, Task
from collegium.errors import ConfigError, DataError
from collegium_verifier_tools.database import Database
from collegium_verifier_tools.environment import BUILT_IN, Environment, Tool, perform, resolve
from collegium_verifier_tools.outputs import unsaid
from collegium_verifier_tools.parsing import NotCalls
from collegium_verifier_tools.retail import RETAIL
from collegium_verifier_tools.state_verifier import DatabaseStateVerifier
from collegium_verifier_tools.trajectory import call_of, read_trajectory

ADDRESS = {"address1": "1 Oak", "address2": "", "city": "Rome", "state": "NY", "country": "USA", "zip": "10001"}
LAMP = {"name": "Lamp", "product_id": "p1", "item_id": "i1", "price": 10.0, "options": {"colour": "red"}}


def order(order_id: str, status: str, method: str = "card_1") -> dict[str, Any]:
    paid = {"transaction_type": "payment", "amount": 20.0, "payment_method_id": method}
    items = [copy.deepcopy(LAMP), copy.deepcopy(LAMP)]
    return {"order_id": order_id, "user_id": "ann", "status": status, "items": items, "address": ADDRESS,
            "payment_history": [paid]}  # fmt: skip


SHOP: dict[str, Any] = {
    "users": {"ann": {
        "name": {"first_name": "Ann", "last_name": "Lee"}, "email": "ann@example.com", "address": dict(ADDRESS),
        "payment_methods": {"card_1": {"source": "credit_card"}, "gift_1": {"source": "gift_card", "balance": 5.0},
                            "gift_2": {"source": "gift_card", "balance": 50.0}}}},
    "orders": {"#1": order("#1", "pending"), "#2": order("#2", "delivered"), "#3": order("#3", "pending", "gift_1")},
    "products": {"p1": {"name": "Lamp", "variants": {
        "i1": {"item_id": "i1", "available": True, "price": 10.0, "options": {"colour": "red"}},
        "i2": {"item_id": "i2", "available": True, "price": 13.3, "options": {"colour": "blue"}},
        "i3": {"item_id": "i3", "available": False, "price": 1.0, "options": {"colour": "grey"}},
        "i4": {"item_id": "i4", "available": True, "price": 30.0, "options": {"colour": "gold"}}}}},
}  # fmt: skip
START = copy.deepcopy(SHOP)


def act(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "kwargs": arguments}


CANCEL = act("cancel_pending_order", order_id="#1", reason="no longer needed")
LOOK = act("get_order_details", order_id="#1")
SAY = {"role": "assistant", "content": "It costs $1,234.50."}


def judge(steps: Any, actions: Any, outputs: Any = (), **options: Any) -> Any:
    text = steps if isinstance(steps, str) else json.dumps(steps)
    task = Task("t", "", data={"actions": actions, "outputs": list(outputs), "database": SHOP})
    return DatabaseStateVerifier(options).verify(Completion(text), task)


def value(*args: Any, **options: Any) -> float:
    verdict = judge(*args, **options)
    assert isinstance(verdict, Score), verdict
    return verdict.value


def after(*calls: dict[str, Any]) -> tuple[Database, list[str]]:
    """Return the database after calls, and their failures."""
    database = Database(SHOP)
    reasons = [perform(call_of(call), RETAIL, database) for call in calls]
    return database, [reason for reason in reasons if reason]


@pytest.mark.parametrize(
    "steps",
    [
        [CANCEL],
        [LOOK, CANCEL, LOOK],
        {"actions": [CANCEL]},
        [{"name": "cancel_pending_order", "arguments": json.dumps(CANCEL["kwargs"])}],
        [{"role": "assistant", "content": None, "tool_calls": [
            {"function": {"name": CANCEL["name"], "arguments": json.dumps(CANCEL["kwargs"])}}]}],
        "<tool_call>" + json.dumps({"name": CANCEL["name"], "arguments": CANCEL["kwargs"]}) + "</tool_call> Done.",
        [act("cancel_pending_order", order_id="#1", reason="because"), CANCEL],  # a call that failed leaves no trace
        [CANCEL, CANCEL],
    ],
)  # fmt: skip
def test_a_trajectory_that_ends_in_the_golds_state_scores_one(steps: Any) -> None:
    assert value(steps, [CANCEL]) == 1.0
    assert SHOP == START  # the task's own database is never written


@pytest.mark.parametrize(
    "steps",
    [
        "", "[]", "{}", "Done, the order is cancelled.", [LOOK], [{"role": "assistant", "content": "cancelled"}],
        [{"role": "tool", "tool_calls": [{"function": {"name": CANCEL["name"], "arguments": CANCEL["kwargs"]}}]}],
        [act("cancel_pending_order", order_id="#1", reason="ordered by mistake")],
        [act("cancel_pending_order", order_id="#3", reason="no longer needed")],
        [CANCEL, act("cancel_pending_order", order_id="#3", reason="no longer needed")],
        [act("transfer_to_human_agents", summary=""), CANCEL],  # the episode ended before
        [act("cancel_pending_order", order_id=["#1"], reason="no longer needed")],
        [act("cancel_pending_order", order_id="#1", reason="no longer needed", force=True)],
        [CANCEL] * 200, [3], [None], "[" * 90_000, '{"a":' * 90_000, '[{"name": "a", "kwargs": {"x": NaN}}]',
        '[{"name": "a", "kwargs": {"x": 1e999}}]', '[{"name": "a", "kwargs": {"x": ' + "9" * 9000 + "}}]",
        '[{"name": "a", "name": "b"}]', "[" + "1," * 600_000 + "1]", "<tool_call>" * 999, "\ud800",
        [{"name": "a", "kwargs": {}, "arguments": {}}], [{"role": "assistant", "tool_calls": 3}],
    ],
    ids=range(27),
)  # fmt: skip
def test_a_trajectory_that_ends_elsewhere_or_is_none_scores_zero_and_says_why(steps: Any) -> None:
    verdict = judge(steps, [CANCEL])
    assert verdict.value == 0.0
    assert verdict.details["mismatch"]


def test_the_first_difference_is_named() -> None:
    wrong = act("cancel_pending_order", order_id="#1", reason="ordered by mistake")
    assert judge([wrong], [CANCEL]).details["mismatch"] == (
        "orders/#1.cancel_reason is 'ordered by mistake', expected 'no longer needed'"
    )
    assert judge([LOOK], [CANCEL]).details["mismatch"] == "orders/#1 was not changed"


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ({}, "a list `actions`"),
        ({"actions": [{"name": 3}]}, "malformed"),
        ({"actions": [act("cancel_pending_order", order_id="#9", reason="no longer needed")]}, "gold action fails"),
        ({"actions": [act("no_such_tool")]}, "no such tool"),
        ({"actions": [], "outputs": [3]}, "outputs"),
        ({"actions": [], "outputs": [""]}, "outputs"),
        ({"actions": [], "database": [1]}, "by table and key"),
        ({"actions": [], "database": None}, "no database"),
    ],
)
def test_a_task_that_cannot_be_judged_is_an_error_and_never_a_score(data: dict[str, Any], match: str) -> None:
    verdict = DatabaseStateVerifier().verify(Completion("[]"), Task("t", "", data={"database": SHOP} | data))
    assert isinstance(verdict, Error)
    assert match in verdict.reason


def test_a_gold_look_up_may_find_nothing() -> None:
    assert value([CANCEL], [act("find_user_id_by_email", email="nobody@example.com"), CANCEL]) == 1.0


def test_what_the_user_must_be_told_counts_only_in_the_assistants_own_words() -> None:
    told = [act("get_order_details", order_id="#1"), SAY]
    assert value(told, [], ["1234.50"]) == 1.0
    assert value([act("respond", content="1234.5")], [], ["1234.5"]) == 1.0
    assert value([{"role": "user", "content": "1234.50"}, LOOK], [], ["1234.50"]) == 0.0
    assert value([{"role": "tool", "content": "1234.50"}, LOOK], [], ["1234.50"]) == 0.0
    beside = {**SAY, "tool_calls": [{"function": {"name": "think", "arguments": {"thought": ""}}}]}
    assert value([beside], [], ["1234.50"]) == 0.0


@pytest.mark.parametrize(
    ("output", "said", "found"),
    [("10", "there are 10.", True), ("10", "in 2010", False), ("10", "$10.00", True), ("10", "10.5", False),
     ("481.5", "481.50", True), ("481.5", "481.55", False), ("54.04", "$54.04, please", True), ("4.04", "54.04", False),
     ("8276.23", "8,276.23", True), ("IL", "il 60621", True), ("64GB", "64gb", True)],
)  # fmt: skip
def test_a_number_must_stand_as_a_whole(output: str, said: str, found: bool) -> None:
    assert (unsaid([output], [said]) is None) == found


def test_cancelling_refunds_a_gift_card_at_once() -> None:
    database, failed = after(act("cancel_pending_order", order_id="#3", reason="no longer needed"))
    assert not failed
    assert database.find("users", "ann")["payment_methods"]["gift_1"]["balance"] == 25.0
    assert [entry["transaction_type"] for entry in database.find("orders", "#3")["payment_history"]] == [
        "payment",
        "refund",
    ]


def test_items_change_once_with_their_price_and_the_difference_paid() -> None:
    change = act("modify_pending_order_items", order_id="#1", item_ids=["i1", "i1"], new_item_ids=["i2", "i1"],
                 payment_method_id="gift_1")  # fmt: skip
    database, failed = after(change, change)
    assert failed == ["the order is pending (item modified), not pending"]
    found = database.find("orders", "#1")
    assert [item["item_id"] for item in found["items"]] == ["i2", "i1"]
    assert found["payment_history"][-1] == {"transaction_type": "payment", "amount": 3.3, "payment_method_id": "gift_1"}
    assert database.find("users", "ann")["payment_methods"]["gift_1"]["balance"] == 1.7


@pytest.mark.parametrize(
    ("old", "new", "method"),
    [(["i1"], ["i3"], "card_1"), (["i1"], ["i4"], "gift_1"), (["i1"] * 3, ["i2"] * 3, "card_1"), (["i1"], [], "card_1"),
     (["i9"], ["i2"], "card_1"), (["i1"], ["i2"], "nope")],
)  # fmt: skip
@pytest.mark.parametrize(
    ("tool", "order_id"), [("modify_pending_order_items", "#1"), ("exchange_delivered_order_items", "#2")]
)
def test_a_refused_change_of_items_leaves_no_trace(
    tool: str, order_id: str, old: list[str], new: list[str], method: str
) -> None:
    database, failed = after(act(tool, order_id=order_id, item_ids=old, new_item_ids=new, payment_method_id=method))
    assert len(failed) == 1
    assert database.changes() == {}


def test_payment_moves_from_one_method_to_another() -> None:
    database, failed = after(act("modify_pending_order_payment", order_id="#3", payment_method_id="gift_2"))
    methods = database.find("users", "ann")["payment_methods"]
    assert (failed, methods["gift_1"]["balance"], methods["gift_2"]["balance"]) == ([], 25.0, 30.0)
    assert after(act("modify_pending_order_payment", order_id="#1", payment_method_id="gift_1"))[1]  # too little on it
    assert after(act("modify_pending_order_payment", order_id="#1", payment_method_id="card_1"))[1]  # the present one


def test_a_return_goes_back_to_where_it_was_paid_or_to_a_gift_card() -> None:
    for method, refused in (("card_1", 0), ("gift_1", 0), ("nope", 1)):
        _, failed = after(act("return_delivered_order_items", order_id="#2", item_ids=["i1"], payment_method_id=method))
        assert len(failed) == refused


def test_addresses_change() -> None:
    new = ADDRESS | {"city": "Oslo"}
    database, failed = after(
        act("modify_pending_order_address", order_id="#1", **new), act("modify_user_address", user_id="ann", **new)
    )
    assert not failed
    assert database.find("orders", "#1")["address"] == database.find("users", "ann")["address"] == new


def test_look_ups_change_nothing() -> None:
    database, failed = after(
        LOOK, act("get_user_details", user_id="ann"), act("get_product_details", product_id="p1"),
        act("find_user_id_by_email", email="ANN@example.com"), act("list_all_product_types"),
        act("find_user_id_by_name_zip", first_name="ann", last_name="LEE", zip="10001"),
        act("calculate", expression="(2 + 3) * -4 / 5"), act("think", thought="hm"),
    )  # fmt: skip
    assert (failed, database.changes()) == ([], {})


@pytest.mark.parametrize(
    "text", ["2 ** 9999999", "__import__('os')", "1/0", "(" * 999, "9" * 2000, "1e308 * 1e308 +", "a"]
)
def test_calculate_takes_plain_arithmetic_only(text: str) -> None:
    assert len(after(act("calculate", expression=text))[1]) == 1


def test_recorded_failures_are_left_out_only_where_results_are_trusted() -> None:
    book = {"function": {"name": "send_certificate", "arguments": '{"user_id": "ann", "amount": 50.0}'}}
    gold = [act("send_certificate", user_id="ann", amount=50)]
    turn, error = {"role": "assistant", "tool_calls": [book]}, {"role": "tool", "content": "Error: no"}
    steps = [turn, error, turn, {"role": "tool", "content": "ok"}]
    assert value(steps, gold, environment="airline-writes", trust_results=True) == 1.0
    assert value(steps, gold, environment="airline-writes") == 0.0


def test_writing_calls_on_different_reservations_commute_and_a_second_one_counts() -> None:
    one, two = (act("cancel_reservation", reservation_id=name) for name in ("A", "B"))
    assert value([two, one], [one, two], environment="airline-writes") == 1.0
    assert value([one, one, two], [one, two], environment="airline-writes") == 0.0
    true = act("send_certificate", user_id="ann", amount=True)
    assert value([true], [act("send_certificate", user_id="ann", amount=1)], environment="airline-writes") == 0.0


class Fault(Exception):
    """An environment's own fault."""


def _break(_database: Database) -> None:
    raise Fault


OTHER = Environment({"break": Tool(_break, {})})


def test_an_environment_of_another_package_is_named_by_module_and_attribute() -> None:
    assert isinstance(resolve("collegium_verifier_tools.retail:RETAIL"), Environment)
    assert all(isinstance(resolve(name), Environment) for name in BUILT_IN)
    for wrong in ("nope", "no_such_module:X", "collegium_verifier_tools.retail:NOPE", "json:loads"):
        with pytest.raises(ConfigError):
            DatabaseStateVerifier({"environment": wrong})


def test_an_environments_own_fault_is_raised_and_makes_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = DatabaseStateVerifier()
    monkeypatch.setattr(verifier, "_environment", OTHER)
    with pytest.raises(Fault):
        verifier.verify(Completion('[{"name": "break"}]'), Task("t", "", data={"actions": [], "database": SHOP}))


def test_the_database_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "shop.jsonl"
    rows = [{"table": t, "key": k, "record": r} for t, records in SHOP.items() for k, r in records.items()]
    file.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    verifier = DatabaseStateVerifier({"database": str(file)})
    verdict = verifier.verify(Completion(json.dumps([CANCEL])), Task("t", "", data={"actions": [CANCEL]}))
    assert isinstance(verdict, Score)
    assert verdict.value == 1.0
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"table": 3}', "utf-8")
    with pytest.raises(DataError, match=r"broken\.jsonl:1"):
        DatabaseStateVerifier({"database": str(broken)})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([
        "name", "kwargs", "arguments", "role", "content", "tool_calls", "function", "order_id", "item_ids", "reason",
    ]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.text(st.characters(exclude_categories=[])) | JSON.map(json.dumps))
def test_any_text_gets_a_score(text: str) -> None:
    assert value(text, [CANCEL]) == 0.0


@settings(max_examples=200)
@given(st.sampled_from(sorted(RETAIL.tools)), st.data())
def test_any_arguments_of_a_tool_fail_or_succeed_and_never_raise(name: str, data: st.DataObject) -> None:
    known = {str: st.sampled_from(["#1", "#2", "#3", "i1", "i2", "ann", "gift_1", "p1", "1+1"]) | st.text(max_size=3)}
    known[list] = st.lists(known[str], max_size=3)
    kwargs = {key: data.draw(known[kind] | JSON) for key, kind in (RETAIL.tools[name].arguments or {}).items()}
    assert value(json.dumps([act(name, **kwargs)]), [], []) in (0.0, 1.0)
    assert SHOP == START


@pytest.mark.parametrize("text", ["", "hello", "[", "[3]", "{}", "<tool_call>", '<tool_call>{"name": 3}</tool_call>'])
def test_what_is_no_trajectory_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(NotCalls, match=r"\w+ \w+"):
        read_trajectory(text)


def test_the_environment_of_the_readme_works() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    scope: dict[str, Any] = {}
    exec(readme.partition("```python\n")[2].partition("```")[0], scope)  # our own text
    database = Database(SHOP)
    calls = [{"name": "rename", "kwargs": {"user_id": user, "name": "Bo"}} for user in ("ann", "nobody")]
    assert [perform(call_of(call), scope["DESK"], database) for call in calls] == [None, "no such user"]
    assert database.changes() == {("users", "ann"): START["users"]["ann"] | {"name": "Bo"}}
