"""What all tests share: examples that hypothesis makes have no time limit, since a busy machine is no fault."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
