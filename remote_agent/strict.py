"""The base of what a user's words become: orders and their parts."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A model that refuses unknown fields: a typing error must not pass for a setting."""

    model_config = ConfigDict(extra="forbid")
