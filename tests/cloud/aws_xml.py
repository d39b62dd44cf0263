"""EC2's Query API as text: parameters with dots and numbers in, XML with `item`s out. No behaviour."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"


def nested(fields: dict[str, str]) -> dict[str, Any]:
    """`Filter.1.Value.1=x` → `{"Filter": [{"Value": ["x"]}]}`. Numbers must begin at 1 and have no gaps."""
    tree: dict[str, Any] = {}
    for name, value in fields.items():
        *path, last = name.split(".")
        here = tree
        for part in path:
            here = here.setdefault(part, {})
            if not isinstance(here, dict):
                raise ValueError(f"{name}: {part} is a value already")
        here[last] = value
    return {name: _lists(value) for name, value in tree.items()}


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(key.isdigit() for key in value):
        order = sorted(value, key=int)
        if order != [str(n + 1) for n in range(len(order))]:
            raise ValueError(f"a list that is numbered {', '.join(order)}")
        return [_lists(value[key]) for key in order]
    return {key: _lists(one) for key, one in value.items()}


def answer(action: str, fields: dict[str, Any]) -> str:
    inside = "".join(_xml(name, value) for name, value in {"requestId": "sim-request", **fields}.items())
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{action}Response xmlns="{NAMESPACE}">{inside}</{action}Response>'


def error(code: str, message: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error>'
        f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
        "</Error></Errors><RequestID>sim-request</RequestID></Response>"
    )


def _xml(name: str, value: Any) -> str:
    if isinstance(value, list):
        inside = "".join(_xml("item", one) for one in value)
    elif isinstance(value, dict):
        inside = "".join(_xml(key, one) for key, one in value.items() if one is not None)
    elif isinstance(value, bool):
        inside = "true" if value else "false"
    else:
        inside = escape(str(value))
    return f"<{name}>{inside}</{name}>" if inside else f"<{name}/>"
