"""The plan: which results make a run complete, and in which batches they are computed.

A pure function of the order and the data. Batches are cut from the whole plan before what is settled is
taken out, so that a resumed run computes the very batches that an undisturbed one would have.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from remote_agent.protocol import Order
from remote_agent.tasks.base import Example, LoadedTask, Sample, Task, method_of, template_of

Pair = tuple[str, int]
"""(sample id, candidate)."""


@dataclass(frozen=True, slots=True)
class Item:
    """One result to come."""

    sample: Sample
    candidate: int

    @property
    def key(self) -> Pair:
        return self.sample.id, self.candidate


@dataclass(frozen=True, slots=True)
class Plan:
    """All results of a run. `sha` is equal when and only when the results mean the same."""

    items: tuple[Item, ...]
    sha: str

    @property
    def categories(self) -> dict[str, int]:
        return dict(Counter(item.sample.category for item in self.items if item.sample.category))


def make_plan(order: Order, task: Task, loaded: LoadedTask) -> Plan:
    """Every candidate of every sample, candidate by candidate."""
    candidates = range(order.generate.candidates)
    items = tuple(Item(sample, c) for c in candidates for sample in loaded.samples)
    return Plan(items, _sha(order, task, loaded))


def remaining(plan: Plan, settled: Collection[Pair]) -> list[Item]:
    """What is not settled yet, in the plan's order."""
    return [item for item in plan.items if item.key not in settled]


def batches(
    plan: Plan,
    lengths: Sequence[int],
    size: int,
    settled: Collection[Pair],
    suspects: Mapping[Pair, int],
) -> list[list[Item]]:
    """What remains, in batches of at most `size`; suspects last, as many at once as it says of them.

    lengths: tokens of each item's prompt, in the plan's order. Similar lengths share a batch, which saves
    padding. The batches come in an order of chance (the plan's own, so the same on every attempt): long
    prompts tend to be hard ones, and in order of length the accuracy so far would mislead until the end.
    """
    by_length = sorted(range(len(plan.items)), key=lambda i: (-lengths[i], i))
    items = [plan.items[i] for i in by_length]
    whole = [items[at : at + size] for at in range(0, len(items), size)]
    random.Random(plan.sha).shuffle(whole)
    left = [[item for item in batch if item.key not in settled] for batch in whole]
    together = [[item for item in batch if item.key not in suspects] for batch in left]
    apart = [item for batch in left for item in batch if item.key in suspects]
    return [batch for batch in together if batch] + _groups(apart, suspects)


def _groups(items: Sequence[Item], sizes: Mapping[Pair, int]) -> list[list[Item]]:
    groups: list[list[Item]] = []
    for item in sorted(items, key=lambda item: -sizes[item.key]):  # stable: the order within a size stays
        size = sizes[item.key]
        if groups and len(groups[-1]) < size and sizes[groups[-1][0].key] == size:
            groups[-1].append(item)
        else:
            groups.append([item])
    return groups


def answer_seed(seed: int, item: Item) -> int:
    """The seed of one answer (63 bits): its own, whatever shares its batch."""
    text = json.dumps([seed, item.sample.id, item.candidate])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


def _sha(order: Order, task: Task, loaded: LoadedTask) -> str:
    """A hash of all that decides what the results mean; batch size, threads and paths do not."""
    spec, format = order.task, task.answer_format(order.task)
    meaning = {
        "task": [task.name, format.instruction, format.rules, spec.system],
        "asked": [method_of(task, spec), template_of(task, spec), spec.style, spec.thought],
        "answers": [task.stops(spec), spec.thinking],
        "own": None if spec.own is None else spec.own.model_dump(mode="json"),
        "samples": [
            [s.id, s.question, s.gold, s.category, s.choices, s.data, list(map(_shown, s.examples))]
            for s in loaded.samples
        ],
        "model": [order.model_id, order.revision, order.engine.name, order.engine.dtype],
        "generate": order.generate.model_dump(mode="json"),
    }
    text = json.dumps(meaning, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _shown(example: Example) -> list[object]:
    return [example.question, example.answer, example.choices]
