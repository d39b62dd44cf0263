"""The tables of keys in docs/cockpit.md, made from gpusess/tui/keys.py; run it to print them.

tests/examples/test_docs.py fails where the page is behind.
"""

from __future__ import annotations

from gpusess.tui.keys import SECTIONS, TABLE, Key, shown


def tables() -> str:
    """One Markdown table a context that has keys of its own, with a heading."""
    found = {title: [k for k in TABLE if k.where == where] for where, title in SECTIONS.items()}
    return "\n".join(_table(title, keys) for title, keys in found.items() if keys)


def _table(title: str, keys: list[Key]) -> str:
    rows = [f"| {_keys(k)} | {k.description or k.label} | `{k.id}` |" for k in keys]
    return "\n".join(
        [f"### {title}", "", "| keys | what it does | action id |", "| --- | --- | --- |", *rows, ""]
    )


def _keys(key: Key) -> str:
    return " ".join(f"`{name}`" for name in shown(key.keys, every=True).split())


if __name__ == "__main__":
    print(tables(), end="")
