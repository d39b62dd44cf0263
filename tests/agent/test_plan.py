"""The plan is a pure function, and a resumed run computes the batches of an undisturbed one."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from remote_agent import history
from remote_agent.plan import Item, Plan, answer_seed, batches, make_plan, remaining
from remote_agent.protocol import Order
from remote_agent.tasks.base import Sample
from remote_agent.tasks.word_problems import WordProblems

from .conftest import make_run


def sha(order: Order) -> str:
    task = WordProblems()
    return make_plan(order, task, task.load(order.task)).sha


def test_only_what_changes_the_meaning_changes_the_plan(tmp_path: Path) -> None:
    order = make_run(tmp_path / "r").order
    first = sha(order)
    faster = order.engine.model_copy(update={"batch_size": 64, "threads": 2, "pace": 1.0})
    assert sha(order.model_copy(update={"engine": faster, "run": "other"})) == first
    changed = [
        order.model_copy(update={"model_id": "another"}),
        order.model_copy(update={"generate": order.generate.model_copy(update={"max_tokens": 65})}),
        order.model_copy(update={"task": order.task.model_copy(update={"seed": 9})}),
        order.model_copy(update={"task": order.task.model_copy(update={"system": "Be brief."})}),
        order.model_copy(update={"engine": order.engine.model_copy(update={"dtype": "bfloat16"})}),
    ]
    assert len({first, *map(sha, changed)}) == 6


plans = st.lists(st.integers(1, 400), min_size=1, max_size=40)


@given(plans, st.integers(1, 7), st.data())
def test_batches_hold_what_remains_once(lengths: list[int], size: int, data: st.DataObject) -> None:
    items = tuple(Item(Sample(str(n), "q", "1"), 0) for n in range(len(lengths)))
    plan = Plan(items, "sha")
    keys = st.sets(st.sampled_from([item.key for item in items]))
    settled, suspects = data.draw(keys), dict.fromkeys(data.draw(keys), 1)
    cut = batches(plan, lengths, size, settled, suspects)
    assert sorted(i.key for b in cut for i in b) == sorted(i.key for i in remaining(plan, settled))
    assert all(1 <= len(b) <= size for b in cut)
    assert all(len(b) == 1 for b in cut if any(i.key in suspects for i in b))
    undisturbed = batches(plan, lengths, size, set(), set())
    spans = sorted((min(n), max(n)) for n in ([lengths[int(i.sample.id)] for i in b] for b in undisturbed))
    assert all(high <= low for (_, high), (low, _) in pairwise(spans))
    done = {i.key for b in undisturbed[: len(undisturbed) // 2] for i in b}
    assert batches(plan, lengths, size, done, set()) == undisturbed[len(undisturbed) // 2 :]


def test_batches_do_not_come_in_order_of_length() -> None:
    lengths = list(range(400))
    plan = Plan(tuple(Item(Sample(str(n), "q", "1"), 0) for n in lengths), "sha")
    firsts = [int(batch[0].sample.id) for batch in batches(plan, lengths, 4, set(), set())]
    assert firsts not in (sorted(firsts), sorted(firsts, reverse=True))
    assert 100 < sum(firsts[:50]) / 50 < 300


def test_seeds_are_each_answers_own() -> None:
    items = [Item(Sample(s, "q", "1"), c) for s in "ab" for c in (0, 1)]
    assert len({answer_seed(seed, item) for item in items for seed in (0, 1)}) == 8
    assert answer_seed(0, items[0]) == answer_seed(0, items[0])


def test_in_flight_is_what_the_last_attempt_had_begun_and_not_settled() -> None:
    begin = {"kind": "begin", "keys": [["a", 0], ["b", 0]]}
    settled = {"kind": "result", "sample": "a", "candidate": 0}
    opened = {"kind": "opened"}
    assert history.in_flight([opened, begin]) == [("a", 0), ("b", 0)]
    assert history.in_flight([opened, begin, settled]) == [("b", 0)]
    assert history.in_flight([opened, begin, opened]) == []
    assert history.in_flight([]) == []


def test_only_blamed_crashes_make_suspects() -> None:
    def crash(blamed: bool, *keys: str) -> dict[str, object]:
        return {"kind": "crash", "cause": "SIGSEGV", "blamed": blamed, "keys": [[k, 0] for k in keys]}

    records = [crash(True, "a", "b"), crash(False, "c"), crash(True, "a"), crash(True, "a")]
    assert history.suspects(records) == {("a", 0): 1, ("b", 0): 1}
    assert history.crashes_alone(records) == {("a", 0): ["SIGSEGV", "SIGSEGV"]}


def test_what_is_fed_adds_to_what_is_in_flight() -> None:
    def begin(more: bool, *keys: str) -> dict[str, object]:
        return {"kind": "begin", "keys": [[k, 0] for k in keys], "more": more}

    settled = {"kind": "result", "sample": "a", "candidate": 0}
    records = [{"kind": "opened"}, begin(False, "a", "b"), settled, begin(True, "c")]
    assert history.in_flight(records) == [("b", 0), ("c", 0)]
    assert history.in_flight([*records, begin(False, "b")]) == [("b", 0)]


def test_many_suspects_are_divided_before_each_is_alone() -> None:
    def crash(count: int) -> dict[str, object]:
        keys = [[str(n), 0] for n in range(count)]
        return {"kind": "crash", "cause": "SIGSEGV", "blamed": True, "keys": keys}

    assert set(history.suspects([crash(256)]).values()) == {16}
    sizes = history.suspects([crash(256), crash(16)])
    assert sorted(Counter(sizes.values()).items()) == [(1, 16), (16, 240)]
    items = tuple(Item(Sample(str(n), "q", "1"), 0) for n in range(300))
    cut = batches(Plan(items, "sha"), [1] * 300, 1, set(), sizes)
    assert Counter(map(len, cut)) == {1: 44 + 16, 16: 15}
    assert all(len({sizes.get(i.key) for i in batch}) == 1 for batch in cut)
