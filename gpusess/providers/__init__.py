"""The clouds behind one Protocol. A new one is one module and one line in `PROVIDERS`."""

from __future__ import annotations

import importlib
from typing import Any

from gpusess.errors import SpecError
from gpusess.providers.base import Provider

PROVIDERS: dict[str, str] = {
    "aws": "gpusess.providers.aws:AwsProvider",
    "lambda": "gpusess.providers.lambda_cloud:LambdaProvider",
    "local": "gpusess.providers.local:LocalProvider",
    "runpod": "gpusess.providers.runpod:RunpodProvider",
    "shadeform": "gpusess.providers.shadeform:ShadeformProvider",
    "ssh": "gpusess.providers.ssh:SshProvider",
    "vast": "gpusess.providers.vast:VastProvider",
}


def open_provider(name: str, options: dict[str, Any] | None = None) -> Provider:
    """The provider of that name. `options` are the spec's `resources.options`."""
    if name not in PROVIDERS:
        raise SpecError(f"unknown provider '{name}'", f"known: {', '.join(sorted(PROVIDERS))}")
    module, _, attribute = PROVIDERS[name].partition(":")
    provider: Provider = getattr(importlib.import_module(module), attribute)(options or {})
    return provider
