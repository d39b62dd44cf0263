"""The docs say what is so: commands, options, links, tables and messages are held against the program."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from gpusess.cli import COMMANDS, cli
from gpusess.errors import GpusessError, SpecError
from gpusess.sessions.states import ALLOWED, State
from gpusess.spec import load_spec
from gpusess.spec.models import Spec
from remote_agent import protocol

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
SHOWN = [name for name, (_, line) in COMMANDS.items() if line]

_COMMAND = re.compile(r"(?:^\$ (?:\.venv/bin/)?|`)(gpusess(?: [^`\n]*)?)", re.MULTILINE)


def page_ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands(page: Path) -> Iterator[list[str]]:
    for match in _COMMAND.finditer(page.read_text()):
        words = shlex.split(re.split(r" [|&>] ?", match[1])[0].replace("…", "x"))[1:]
        if words and re.fullmatch(r"[a-z-]+", words[0]):
            yield words


def command_of(name: str) -> click.Command:
    found = cli.get_command(click.Context(cli), name)  # type: ignore[attr-defined]
    assert found is not None, f"no command {name}"
    return found


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_commands_and_options_exist(page: Path) -> None:
    for words in commands(page):
        if words[0] == "COMMAND" or words[0].startswith("-"):
            continue
        command = command_of(words[0])
        known = {"-h", "--help"} | {o for p in command.params for o in p.opts}
        own = words[1:3] if words[0] == "ssh" else words[1:]  # the rest is the remote command's
        used = {word.partition("=")[0] for word in own if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", word)}
        assert used <= known, f"{page.name}: {' '.join(words)}"


def test_the_command_page_has_every_command_and_every_option() -> None:
    text = (ROOT / "docs/cli.md").read_text()
    for name in SHOWN:
        assert f"\n## gpusess {name}\n" in text
        section = text.split(f"\n## gpusess {name}\n")[1].split("\n## ")[0]
        for param in command_of(name).params:
            for option in (o for o in param.opts if o.startswith("--")):
                assert option in section or f"`{param.opts[0]}`" in section, f"{name} {option}"


@pytest.mark.parametrize("name", SHOWN)
def test_every_command_has_help(name: str) -> None:
    done = CliRunner().invoke(cli, [name, "--help"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("Usage: ")


def slug(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_internal_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)]+)\)", prose):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name}: {target}"
        if anchor:
            headings = {slug(h) for h in re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE)}
            assert anchor in headings, f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_no_page_shows_a_machine_or_a_blank(page: Path) -> None:
    text = page.read_text()
    assert not re.search(r"(?<![\w.])/(tmp|root|home|work)/|@@", text)


def test_key_tables_are_current() -> None:
    module_spec = importlib.util.spec_from_file_location("keys_table", ROOT / "docs/keys_table.py")
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    assert module.tables().strip() in (ROOT / "docs/cockpit.md").read_text(), "run docs/keys_table.py"


def test_state_table_is_current() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    table = {}
    for state in State:
        (row,) = re.findall(rf"^\| `{state}` \| (.+) \|$", text, re.MULTILINE)
        table[state] = frozenset(re.findall(r"`(\w+)`", row))
    assert table == {state: frozenset(map(str, after)) for state, after in ALLOWED.items()}


def keys_of(model: Any, prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield prefix + (field.alias or name)


def test_spec_page_has_every_key() -> None:
    text = (ROOT / "docs/spec.md").read_text()
    fields = Spec.model_fields
    expected = [
        *keys_of(fields["resources"].annotation, "resources."),
        *keys_of(protocol.TaskSpec, "runs[].task."),
    ]
    expected += [
        *keys_of(protocol.EngineSpec, "runs[].engine."),
        *keys_of(protocol.GenerateSpec, "runs[].generate."),
    ]
    expected += [f"{s}.{k}" for s in ("sync", "setup") for k in fields[s].annotation.model_fields]  # type: ignore[union-attr]
    for key in expected:
        assert f"`{key}`" in text, key
    for name in fields:
        assert re.search(rf"\b{name}\b", text), name


def test_spec_page_has_the_defaults_of_the_wire() -> None:
    text = (ROOT / "docs/spec.md").read_text()
    for prefix, model in (
        ("engine", protocol.EngineSpec),
        ("generate", protocol.GenerateSpec),
        ("task", protocol.TaskSpec),
    ):
        for name, field in model.model_fields.items():
            row = re.search(rf"^\| `runs\[\]\.{prefix}\.{name}` \| [^|]*\| ([^|]*) \|", text, re.MULTILINE)
            assert row, name
            if field.is_required():
                assert row[1] == "needed"
            else:
                assert row[1] == ("none" if field.default is None else f"`{field.default}`"), name


def test_spec_page_prints_what_the_program_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs/spec.md").read_text()
    (spec,) = re.findall(r"<!-- test: bad.yaml -->\n```yaml\n(.*?)```", text, re.DOTALL)
    (printed,) = re.findall(r"<!-- test: bad.yaml prints -->\n```text\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text(spec)
    with pytest.raises(SpecError) as caught:
        load_spec(Path("bad.yaml"))
    assert caught.value.message == printed.strip()


def test_exit_statuses_are_those_of_the_errors() -> None:
    text = (ROOT / "docs/cli.md").read_text().split("## Exit status")[1].split("\n## ")[0]
    shown = set(map(int, re.findall(r"^\| (\d+) \|", text, re.MULTILINE)))
    used = {kind.exit_code for kind in [GpusessError, *GpusessError.__subclasses__()]}
    assert shown == used | {0, 130}


def test_the_specs_in_the_pages_are_the_examples() -> None:
    (shown,) = re.findall(r"```yaml\n(name: gsm8k\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    example = (ROOT / "examples/gsm8k.yaml").read_text()
    assert shown in example
