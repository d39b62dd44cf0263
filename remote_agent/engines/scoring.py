"""Log-likelihoods of continuations by a transformers model, each context computed once for all its choices.

Requests are packed into one row of tokens, `context e1 e2 e3 | context e1 …`. A block mask lets a token see
its own context and its own continuation only, and position ids let each continuation begin where its context
ends. So no token is computed twice and none is padding. The vocabulary's logits are computed only where a
continuation's token is predicted. A model whose attention takes no such mask gets padded rows instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from remote_agent.engines.base import Score
from remote_agent.engines.memory import Fitting
from remote_agent.engines.pairs import Encoded

CPU_BUDGET, GPU_BUDGET = 384, 4096
"""Tokens in one row. The mask's cost grows with the square; below 256 the weights are read too often."""


@dataclass(frozen=True, slots=True)
class Row:
    """Requests in one row of tokens. Tensors are of length N, the row's tokens.

    owner: the request that a token belongs to; branch: 0 for its context, else the continuation's number
    from 1; `reads`: for each continuation in turn, the places whose logits predict its tokens.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    owner: torch.Tensor
    branch: torch.Tensor
    reads: list[list[int]]
    targets: list[list[int]]

    def mask(self) -> torch.Tensor:
        """Who sees whom: N×N, true where the query (first) may see the key (second)."""
        same = self.owner[:, None] == self.owner[None, :]
        branch = (self.branch[None, :] == 0) | (self.branch[:, None] == self.branch[None, :])
        return (same & branch).tril()


def pack(requests: Sequence[Encoded]) -> Row:
    """One row of the requests, in order."""
    ids: list[int] = []
    positions: list[int] = []
    owner: list[int] = []
    branch: list[int] = []
    reads: list[list[int]] = []

    def put(tokens: Sequence[int], start: int, request: int, number: int) -> int:
        at = len(ids)
        ids.extend(tokens)
        positions.extend(range(start, start + len(tokens)))
        owner.extend([request] * len(tokens))
        branch.extend([number] * len(tokens))
        return at

    for number, request in enumerate(requests):
        length = len(request.context)
        last = put(request.context, 0, number, 0) + length - 1
        for choice, tokens in enumerate(request.continuations, 1):
            at = put(tokens[:-1], length, number, choice)
            reads.append([last, *range(at, at + len(tokens) - 1)])
    targets = [tokens for request in requests for tokens in request.continuations]
    places = (torch.tensor(owner), torch.tensor(branch))
    return Row(torch.tensor(ids), torch.tensor(positions), *places, reads, targets)


def rows_within(requests: Sequence[Encoded], budget: int) -> list[list[int]]:
    """Indices of requests that share a row of at most `budget` tokens; a longer request is alone.

    The longest go first, each into the first row that has room.
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(requests)), key=lambda i: (-requests[i].tokens, i)):
        need = requests[index].tokens
        at = next((r for r, left in enumerate(room) if left >= need), None)
        if at is None:
            rows.append([])
            room.append(budget)
            at = len(rows) - 1
        rows[at].append(index)
        room[at] -= need
    return rows


class Scorer:
    """Scores with one model. `packed` is false for a model that does not take masks and positions."""

    def __init__(self, model: Any, fitting: Fitting, packed: bool, pad: int) -> None:
        self._model = model
        self._fitting = fitting
        self._packed = packed
        self._pad = pad
        self._budget = GPU_BUDGET if model.device.type == "cuda" else CPU_BUDGET

    def score(self, requests: Sequence[Encoded]) -> list[list[Score]]:
        """One score a continuation, in order. Raises RuntimeError where one request does not fit."""
        found: dict[int, list[Score]] = {}
        for indices in rows_within(requests, self._budget):
            row = self._fitting.run([requests[i] for i in indices], self._row)
            found.update(zip(indices, row, strict=True))
        return [found[i] for i in range(len(requests))]

    def _row(self, requests: Sequence[Encoded]) -> list[list[Score]]:
        if not self._packed:
            return [_plain(self._model, request, self._pad) for request in requests]
        scores = iter(_packed(self._model, requests))
        return [[next(scores) for _ in request.continuations] for request in requests]


def _packed(model: Any, requests: Sequence[Encoded]) -> list[Score]:
    """Scores of all continuations of the requests, in order, from one row."""
    row = pack(requests)
    kept = sorted({place for places in row.reads for place in places})
    device = model.device
    with torch.inference_mode():
        logits = model(
            input_ids=row.ids[None].to(device),
            position_ids=row.positions[None].to(device),
            attention_mask=row.mask()[None, None].to(device),
            logits_to_keep=torch.tensor(kept, device=device),
            use_cache=False,
        ).logits[0]
        where = {place: at for at, place in enumerate(kept)}
        reads = [[where[place] for place in places] for places in row.reads]
        return _read(logits, reads, row.targets)


def _plain(model: Any, request: Encoded, pad: int) -> list[Score]:
    """Scores of one request, one padded row a continuation, each with the context before it."""
    rows = [request.context + tokens[:-1] for tokens in request.continuations]
    width = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    first = len(request.context) - 1
    with torch.inference_mode():
        logits = model(
            input_ids=ids.to(model.device), attention_mask=mask.to(model.device), use_cache=False
        ).logits[:, first:]
        parts = [
            _read(logits[at], [list(range(len(tokens)))], [tokens])
            for at, tokens in enumerate(request.continuations)
        ]
    return [score for part in parts for score in part]


def _read(logits: torch.Tensor, reads: list[list[int]], targets: list[list[int]]) -> list[Score]:
    """Scores out of logits (places × vocabulary). `log_softmax` and nothing finer: its rounding is the
    peers'."""
    logprobs = F.log_softmax(logits.float(), dim=-1)
    best = logprobs.argmax(dim=-1).tolist()
    places = torch.tensor([place for part in reads for place in part], device=logits.device)
    tokens = torch.tensor([token for part in targets for token in part], device=logits.device)
    picked = logprobs[places, tokens]
    scores, at = [], 0
    for part, wanted in zip(reads, targets, strict=True):
        total = float(picked[at : at + len(wanted)].sum())
        scores.append(Score(total, len(wanted), [best[place] for place in part] == wanted))
        at += len(wanted)
    return scores
