"""What can go wrong, in the user's language.

Every error that reaches a user is a `GpusessError`: what failed and where (the message), and what to do
next (the hint). A traceback goes to a log.

    GpusessError
    ├── SpecError            the YAML spec
    ├── ConfigError          settings, secrets
    ├── ProviderError        a cloud's API
    │   ├── NoCapacity
    │   ├── QuotaExceeded
    │   ├── AuthRefused
    │   ├── BadRequest
    │   ├── RateLimited
    │   └── ProviderFault    the provider's own trouble: try again
    ├── RemoteError          the instance
    │   ├── HostKeyMismatch  another machine answers: nothing was sent
    │   ├── Unreachable      no SSH answer (yet)
    │   └── CommandFailed
    ├── SyncError            code, checkpoints, results
    └── SessionError         unknown, busy, in the wrong state
"""

from __future__ import annotations


class GpusessError(Exception):
    """An error with a next step. `str()` is one line for a user."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SpecError(GpusessError):
    exit_code = 2


class ConfigError(GpusessError):
    exit_code = 2


class ProviderError(GpusessError):
    exit_code = 3


class NoCapacity(ProviderError):
    pass


class QuotaExceeded(ProviderError):
    pass


class AuthRefused(ProviderError):
    pass


class BadRequest(ProviderError):
    pass


class RateLimited(ProviderError):
    pass


class ProviderFault(ProviderError):
    pass


class RemoteError(GpusessError):
    exit_code = 4


class HostKeyMismatch(RemoteError):
    pass


class Unreachable(RemoteError):
    pass


class CommandFailed(RemoteError):
    pass


class SyncError(GpusessError):
    exit_code = 5


class SessionError(GpusessError):
    exit_code = 6
