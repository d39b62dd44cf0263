"""On the CPU: weights laid out once as the matrix product reads them, instead of anew in each call.

Answers are drawn with few rows at a time, where laying out the weights costs as much as multiplying them. The
operators are those that torch's own compiler puts into frozen models. Where a torch lacks them, or they give
anything but the plain product, the model stays as it is.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

log = logging.getLogger("engine")

ROWS = 32
"""Rows that the layout is chosen for; other numbers work with it as well."""
TOLERANCE = 1e-3
"""Relative difference from the plain product that is still rounding."""


class PackedLinear(nn.Module):  # type: ignore[misc]  # torch is not typed here
    """A linear layer with its weight in the layout of the product. For inference only."""

    def __init__(self, plain: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = plain.in_features, plain.out_features
        self.packed = torch.ops.mkldnn._reorder_linear_weight(plain.weight.detach(), ROWS)
        self.bias = plain.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")
        return out


def pack_linears(model: Any) -> bool:
    """Put packed layers in the place of the model's linear ones. False, and nothing done, where that
    fails."""
    found = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear
    ]
    try:
        if not found or not _agrees(found[0][2]):
            return False
        for parent, name, plain in found:
            setattr(parent, name, PackedLinear(plain))
    except (RuntimeError, AttributeError, NotImplementedError) as exc:
        log.info("weights stay in their own layout: %s", str(exc).splitlines()[0])
        return False
    return True


def _agrees(plain: nn.Linear) -> bool:
    x = torch.linspace(-1, 1, 3 * plain.in_features, dtype=plain.weight.dtype).view(3, -1)
    with torch.inference_mode():
        packed, wanted = PackedLinear(plain)(x).float(), F.linear(x, plain.weight, plain.bias).float()
    return bool((packed - wanted).abs().max() <= TOLERANCE * wanted.abs().max().clamp(min=1.0))
