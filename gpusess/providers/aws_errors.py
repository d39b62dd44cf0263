"""AWS's error codes in our words. The code decides; the message is only shown."""

from __future__ import annotations

import re

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

_CAPACITY = {
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientReservedInstanceCapacity",
    "InsufficientCapacity",
    "InsufficientFreeAddressesInSubnet",
    "SpotMaxPriceTooLow",
    "Unsupported",
}
"""`Unsupported`: the zone does not have this type."""
_QUOTA = {
    "VcpuLimitExceeded",
    "InstanceLimitExceeded",
    "MaxSpotInstanceCountExceeded",
    "SpotInstanceCountExceeded",
    "VolumeLimitExceeded",
    "SecurityGroupLimitExceeded",
    "VpcLimitExceeded",
    "ResourceLimitExceeded",
    "PendingVerification",
}
_AUTH = {
    "AuthFailure",
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
    "IncompleteSignature",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "OptInRequired",
    "Blocked",
}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_RATE = {
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "EC2ThrottledException",
}
_FAULT = {
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "InternalErrorException",
    "ServerInternal",
    "Unavailable",
    "ServiceUnavailable",
    "IdempotentParameterMismatch",
}
"""`IdempotentParameterMismatch`: a launch of that name was sent before, so there may be an instance."""
_CODE = re.compile(r"<Code>\s*([A-Za-z0-9_.-]{1,80})\s*</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")


class NotThere(BadRequest):
    """The instance is unknown."""


class Duplicate(BadRequest):
    """Something of that name is there already."""


def translate(refusal: Refusal) -> ProviderError | None:
    """What `Api` asks for. None where the answer is not AWS's own: the status decides then."""
    code, said = _code(refusal)
    if not code:
        return None if refusal.status == 429 else _by_nothing(refusal)
    text = f"AWS: {code}: {said}"
    if code in _CAPACITY:
        return NoCapacity(text, "take another type or region, or wait for capacity with --wait")
    if code in _QUOTA:
        return QuotaExceeded(
            text, "ask for more at https://console.aws.amazon.com/servicequotas/home/services/ec2/quotas"
        )
    if code in _EXPIRED:
        return AuthRefused(text, "renew temporary keys (`aws sso login`), and look at this machine's clock")
    if code in _AUTH:
        return AuthRefused(text, "docs/providers/aws.md has the rights that the key needs")
    if code in _RATE:
        return RateLimited(text, "wait a minute; other programs share the account's limit")
    if code.startswith("InvalidInstanceID."):
        return NotThere(text, "`gpusess instances` lists what is there")
    if code.endswith(".Duplicate"):
        return Duplicate(text, "")
    if code in _FAULT or refusal.status >= 500:
        return ProviderFault(text, "try again; https://health.aws.amazon.com may say more")
    return BadRequest(text, "see docs/providers/aws.md")


def _by_nothing(refusal: Refusal) -> ProviderError | None:
    if 400 <= refusal.status < 500:
        return ProviderFault(
            f"aws answered {refusal.status} in a form that is not its own",
            "something on the way may have answered",
        )
    return None


def _code(refusal: Refusal) -> tuple[str, str]:
    """The code and the message, of XML or of JSON; empty where there is none."""
    body = refusal.body
    if isinstance(body, dict):
        code = str(body.get("__type") or "").rpartition("#")[2].partition(":")[0]
        return one_line(code), one_line(body.get("message") or body.get("Message") or "")
    code_found = _CODE.search(body) if isinstance(body, str) else None
    if code_found is None:
        return "", ""
    message = _MESSAGE.search(body)
    return code_found[1], one_line(message[1]) if message else ""
