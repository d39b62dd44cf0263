"""The page of the providers says what they say of themselves, and leads to a page for each."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from gpusess.providers import PROVIDERS

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_table_is_current() -> None:
    spec = importlib.util.spec_from_file_location("providers_table", DOCS / "providers_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (DOCS / "providers/README.md").read_text()
    assert module.table() in page, "run docs/providers_table.py"


def test_every_provider_has_a_page() -> None:
    page = (DOCS / "providers/README.md").read_text()
    links = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| \[[^]]+\]\(([^)#]+)", page, re.MULTILINE))
    assert set(links) == set(PROVIDERS)
    missing = [name for name, link in links.items() if not (DOCS / "providers" / link).exists()]
    assert missing == []
