"""Vast.ai's refusals in our words. Their form varies: a code and words, words alone, or plain text."""

from __future__ import annotations

from typing import Any

from gpusess.errors import (
    AuthRefused,
    BadRequest,
    NoCapacity,
    ProviderError,
    ProviderFault,
    QuotaExceeded,
    RateLimited,
)
from gpusess.providers.http import Refusal, one_line

CONSOLE = "https://cloud.vast.ai"


class NotThere(BadRequest):
    """404 in Vast's own form."""


def agreed(answer: Any) -> Any:
    """The answer. Raises what its refusal means where Vast says no with status 200."""
    if isinstance(answer, dict) and answer.get("success") is False:
        raise translate(Refusal(200, answer, None)) or ProviderFault("vast said no without a reason", "")
    return answer


def translate(refusal: Refusal) -> ProviderError | None:
    """What `Api` asks for."""
    body = refusal.body if isinstance(refusal.body, dict) else {}
    error = str(body.get("error") or "")
    said = one_line(body.get("msg") or body.get("detail") or error) if body else refusal.text
    if body.get("new_contract"):
        return ProviderFault(
            f"Vast refused ({said}) and made instance {one_line(body['new_contract'])} all the same",
            "it is looked for and ended",
        )
    if error == "search_quota_exceeded":
        return QuotaExceeded(
            f"Vast: {said}", "the day's searches are used up; they start anew at midnight UTC"
        )
    if refusal.status == 429:
        return RateLimited(f"Vast: {said}", "wait a minute; other programs share the account's limit")
    if not body:
        return (
            ProviderFault("Vast answered 404 in a form that is not its own", "try again")
            if refusal.status == 404
            else None
        )
    if error == "auth_error" or "invalid user key" in said.lower() or refusal.status == 401:
        return AuthRefused(f"Vast refused the key: {said}", f"make a new one at {CONSOLE}/manage-keys/")
    if "credit" in error.lower() or "credit" in said.lower():
        return QuotaExceeded(f"Vast: {said}", f"add credit at {CONSOLE}/billing/")
    if "no_such_ask" in f"{error} {said}" or refusal.status == 410:
        return NoCapacity(f"Vast: {said}", "somebody else has taken it: take another offer")
    if error == "invalid_price":
        return BadRequest(f"Vast: {said}", "raise `bid` in resources.options, or rent on demand")
    if refusal.status == 403:
        return AuthRefused(f"Vast: {said}", "the key may lack rights; see docs/providers/vast.md")
    if refusal.status == 404:
        return NotThere(f"Vast: {said}", "`gpusess instances` lists what is there")
    if refusal.status < 500:
        return BadRequest(f"Vast refused: {said}", "see docs/providers/vast.md")
    return None
