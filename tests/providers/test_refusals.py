"""Every refusal that RunPod, Vast.ai and EC2 are known for, in our words, each with a next step."""

from __future__ import annotations

from typing import Any

import pytest

from gpusess.errors import (
    AuthRefused,
    BadRequest,
    NoCapacity,
    ProviderError,
    ProviderFault,
    QuotaExceeded,
    RateLimited,
)
from gpusess.providers import aws_errors, runpod, vast_errors
from gpusess.providers.aws_errors import Duplicate, NotThere
from gpusess.providers.http import Refusal

RUNPOD: list[tuple[int, str, type[ProviderError]]] = [
    (400, "There are no instances currently available", NoCapacity),
    (400, "This machine does not have the resources to deploy your pod", NoCapacity),
    (400, "the combination could not be placed", NoCapacity),
    (400, "exactly one of gpu or cpu must be set", BadRequest),
    (401, "missing bearer token", AuthRefused),
    (402, "insufficient balance", QuotaExceeded),
    (403, "access denied", AuthRefused),
    (404, "resource not found", BadRequest),
    (409, "cannot start a pod that is RUNNING", BadRequest),
    (422, "Request validation failed.", BadRequest),
]


@pytest.mark.parametrize(("status", "detail", "ours"), RUNPOD)
def test_runpod(status: int, detail: str, ours: type[ProviderError]) -> None:
    body = {"title": "t", "status": status, "detail": detail, "errors": ["name: required"]}
    error = runpod._translate(Refusal(status, body, None))
    assert isinstance(error, ours)
    assert detail in str(error)
    assert "name: required" in str(error)
    assert error.hint


VAST: list[tuple[int, Any, type[ProviderError]]] = [
    (400, {"success": False, "error": "invalid_args", "msg": "m"}, BadRequest),
    (400, {"success": False, "error": "invalid_price", "msg": "m"}, BadRequest),
    (400, {"success": False, "error": "invalid_price", "msg": "m", "new_contract": 28000003}, ProviderFault),
    (400, {"success": False, "error": "insufficient_credit", "msg": "m"}, QuotaExceeded),
    (400, {"success": False, "msg": "Your account lacks credit"}, QuotaExceeded),
    (401, {"success": False, "error": "auth_error", "msg": "Invalid user key"}, AuthRefused),
    (404, {"error": "", "msg": "Invalid user key"}, AuthRefused),
    (
        403,
        {"success": False, "error": "invalid_args", "msg": "Hosts can only rent their own machines."},
        AuthRefused,
    ),
    (
        404,
        {"success": False, "error": "invalid_args", "msg": "error 404/3603: no_such_ask Instance type"},
        NoCapacity,
    ),
    (410, {"success": False, "error": "no_such_ask", "msg": "m"}, NoCapacity),
    (404, {"success": False, "error": "no_such_instance", "msg": "m"}, BadRequest),
    (404, "<html>not found</html>", ProviderFault),
    (429, {"detail": "API requests too frequent endpoint threshold=4.5"}, RateLimited),
    (429, "API requests too frequent: endpoint threshold=4.5", RateLimited),
    (429, {"error": "search_quota_exceeded", "msg": "m"}, QuotaExceeded),
    (200, {"success": False, "error": "invalid_args", "msg": "m"}, BadRequest),
]


@pytest.mark.parametrize(("status", "body", "ours"), VAST)
def test_vast(status: int, body: Any, ours: type[ProviderError]) -> None:
    error = vast_errors.translate(Refusal(status, body, None))
    assert isinstance(error, ours)
    assert error.hint


AWS: list[tuple[type[ProviderError], str]] = [
    *((NoCapacity, code) for code in (
        "InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientReservedInstanceCapacity",
        "SpotMaxPriceTooLow", "Unsupported",
    )),
    *((QuotaExceeded, code) for code in (
        "VcpuLimitExceeded", "InstanceLimitExceeded", "MaxSpotInstanceCountExceeded", "PendingVerification",
        "VolumeLimitExceeded", "SecurityGroupLimitExceeded",
    )),
    *((AuthRefused, code) for code in (
        "AuthFailure", "UnauthorizedOperation", "InvalidClientTokenId", "SignatureDoesNotMatch", "RequestExpired",
        "ExpiredToken", "OptInRequired", "AccessDeniedException", "UnrecognizedClientException", "Blocked",
    )),
    *((RateLimited, code) for code in ("RequestLimitExceeded", "Throttling", "ThrottlingException")),
    *((ProviderFault, code) for code in (
        "InternalError", "ServiceUnavailable", "Unavailable", "IdempotentParameterMismatch",
    )),
    *((NotThere, code) for code in ("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed")),
    *((Duplicate, code) for code in ("InvalidGroup.Duplicate", "InvalidPermission.Duplicate")),
    *((BadRequest, code) for code in (
        "InvalidParameterValue", "MissingParameter", "InvalidAMIID.NotFound", "VPCIdNotSpecified", "SomeNewCode",
    )),
]  # fmt: skip


@pytest.mark.parametrize("form", ["xml", "json"])
@pytest.mark.parametrize(("ours", "code"), AWS)
def test_aws(ours: type[ProviderError], code: str, form: str) -> None:
    """The code decides, whatever the status and the words say."""
    said = "no capacity, quota exceeded, unauthorized"
    xml = f"<Response><Errors><Error><Code>{code}</Code><Message>{said}</Message></Error></Errors></Response>"
    body: Any = xml if form == "xml" else {"__type": f"com.amazon.coral#{code}", "message": said}
    error = aws_errors.translate(Refusal(400, body, None))
    assert type(error) is ours
    assert code in str(error)
    assert error.hint or ours is Duplicate, "a duplicate is never shown"


def test_a_new_code_with_a_fault_status_is_a_fault() -> None:
    xml = "<Response><Errors><Error><Code>SomethingNew</Code><Message>m</Message></Error></Errors></Response>"
    assert type(aws_errors.translate(Refusal(503, xml, None))) is ProviderFault
