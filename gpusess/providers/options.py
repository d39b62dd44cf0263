"""A provider's own part of a spec (`resources.options`) as its model, with errors in the spec's words."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from gpusess.errors import SpecError

M = TypeVar("M", bound=BaseModel)


def checked_options(provider: str, model: type[M], options: dict[str, Any] | None) -> M:
    """Raises SpecError that names the option and what is allowed."""
    try:
        return model.model_validate(options or {})
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        name = ".".join(map(str, first["loc"]))
        allowed = f"allowed: {', '.join(sorted(model.model_fields))}; see docs/providers/{provider}.md"
        if first["type"] == "extra_forbidden":
            raise SpecError(f"the provider '{provider}' has no option {name}", allowed) from None
        raise SpecError(f"resources.options: {name}: {first['msg']}", allowed) from None
