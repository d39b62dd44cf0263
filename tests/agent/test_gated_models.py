"""A model that the hub does not give: the message says whether it is gated, hidden or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from remote_agent import models

hub = pytest.importorskip("huggingface_hub")


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The message for what the hub's client raises, with or without a token."""
    from huggingface_hub import constants, errors

    monkeypatch.setenv("GPUSESS_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(models, "hub_within_reach", lambda: True)

    def ask(kind: str, token: str | None) -> str:
        error = getattr(errors, kind)

        def refuse(*_: Any, **__: Any) -> None:
            # The client's own errors want a response of its HTTP library: their bare form is enough here.
            raise error.__new__(error)

        monkeypatch.setattr(hub.HfApi, "model_info", refuse)
        monkeypatch.setattr(hub, "get_token", lambda: token)
        with pytest.raises(models.ModelUnavailable) as caught:
            models.resolve("org/name")
        return str(caught.value)

    return ask


def test_a_gated_model_needs_its_licence_and_a_token(refused: Any) -> None:
    said = refused("GatedRepoError", None)
    assert "it is gated: accept its licence on the hub" in said
    assert "`secrets: [HF_TOKEN]` in the spec; no token was given" in said
    assert "a token was given" in refused("GatedRepoError", "hf_x")
    assert "hf_x" not in refused("GatedRepoError", "hf_x")


def test_a_hidden_model_looks_like_none(refused: Any) -> None:
    assert "the hub knows no such model, or hides it (no token was given)" in refused(
        "RepositoryNotFoundError", None
    )
