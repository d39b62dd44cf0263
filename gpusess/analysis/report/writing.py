"""Blocks → Markdown, and blocks → one HTML page that needs nothing else: no network, no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from gpusess.analysis.report.blocks import Block, Bullets, Heading, Paragraph, Plot, Table
from gpusess.analysis.text import clean

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --dim: #60646c; --line: #d9dce0; --back: #ffffff;
  --warn: #ad5700; --s0: #0072b2; --s1: #d55e00; --s2: #009e73; --s3: #cc79a7; --s4: #b8860b; --s5: #56b4e9; }
@media (prefers-color-scheme: dark) { :root { --ink: #edeef0; --dim: #a0a4ab; --line: #3a3f45;
  --back: #15181b; --warn: #ffb86b; --s0: #56b4e9; --s1: #ff9a56; --s2: #3fd1a0; --s3: #e8a3cb; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back);
  max-width: 900px; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; margin: 1.6em 0 .5em; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25em .8em .25em 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; min-width: 3em; }
th { color: var(--dim); font-weight: 600; }
ul.warn li { color: var(--warn); }
figure { margin: 1em 0; } figcaption { color: var(--dim); font-size: 13px; }
svg { width: 100%; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg .axis, svg .value { fill: var(--dim); } svg .tick { stroke: var(--line); }
svg .zero { stroke: var(--dim); stroke-dasharray: 4 3; }
svg .band { stroke-width: 3; } svg .curve { fill: none; stroke-width: 2; } svg .area { opacity: .18; }
""" + "".join(
    f"svg .s{i} {{ stroke: var(--s{i}); }} svg .dot.s{i}, svg .area.s{i} {{ fill: var(--s{i}); }} "
    f"svg .area.s{i} {{ stroke: none; }}\n"
    for i in range(6)
)

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def html(title: str, blocks: Iterable[Block]) -> str:
    """One page. Every text of a run is made harmless and escaped."""
    body = "\n".join(map(_html, blocks))
    return _PAGE.format(title=_text(title), style=_STYLE, body=body)


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{_text(block.text)}</h{block.level}>"
    if isinstance(block, Paragraph):
        return f"<p>{_text(block.text)}</p>"
    if isinstance(block, Bullets):
        items = "".join(f"<li>{_text(item)}</li>" for item in block.items)
        return f"<ul{' class=warn' if block.alarming else ''}>{items}</ul>"
    if isinstance(block, Table):
        head = "".join(f"<th>{_text(cell)}</th>" for cell in block.head)
        rows = "".join(f"<tr>{''.join(f'<td>{_text(c)}</td>' for c in row)}</tr>" for row in block.rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<figure>{block.svg}<figcaption>{_text(block.caption)}</figcaption></figure>"


def _text(text: str) -> str:
    return escape(clean(text))


def markdown(blocks: Iterable[Block]) -> str:
    """The same without the drawings, whose numbers stand in the tables."""
    return "\n".join(
        part for block in blocks for part in (_markdown(block), "") if not isinstance(block, Plot)
    )


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {_plain(block.text)}"
    if isinstance(block, Paragraph):
        return _plain(block.text)
    if isinstance(block, Bullets):
        return "\n".join(f"- {_plain(item)}" for item in block.items)
    if isinstance(block, Table):
        return "\n".join([_row(block.head), "| --- " * len(block.head) + "|", *map(_row, block.rows)])
    return ""


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(_plain, cells))} |"


def _plain(text: str) -> str:
    """Nothing of a run's text may be taken for markup: a model's name or an answer may hold anything."""
    line = clean(text)
    for char in "\\`*_[]<>#|":
        line = line.replace(char, f"\\{char}")
    return line
