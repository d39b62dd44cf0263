"""`gpusess complete`: let one model or several answer a prompt, side by side, as the text grows.

The models are loaded by the agent's own engines, in a process beside this one or on a session's instance.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click

from gpusess.analysis.text import clean, clean_block
from gpusess.cli.complete import session_names
from gpusess.cli.side_by_side import Column, Live, fits
from gpusess.errors import ConfigError, GpusessError, SessionError
from remote_agent.registry import ENGINES


@click.command("complete")
@click.argument("models", nargs=-1, metavar="MODEL...")
@click.option(
    "-p", "--prompt", help="The prompt; `-` reads it from stdin. Without it you are asked, again and again."
)
@click.option("--system", help="A system prompt. Default: the chat template's own.")
@click.option("--raw", is_flag=True, help="The prompt is plain text to go on from: no chat template.")
@click.option("--temperature", type=click.FloatRange(0), default=0.0, show_default=True, help="0: greedy.")
@click.option(
    "--top-k", type=click.IntRange(0), default=0, help="Draw from that many likeliest tokens; 0: all."
)
@click.option(
    "--top-p",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    help="Draw from the likeliest tokens that have this probability together.",
)
@click.option("--seed", "seeds", type=int, multiple=True, help="One answer a seed; may be given again.")
@click.option("--max-tokens", type=click.IntRange(1), default=256, show_default=True)
@click.option("--stop", multiple=True, help="A text that ends the answer; may be given again.")
@click.option(
    "--engine",
    type=click.Choice(sorted(set(ENGINES) - {"recorded"})),
    default="transformers",
    show_default=True,
)
@click.option("--dtype", type=click.Choice(["auto", "float32", "bfloat16", "float16"]), default="auto")
@click.option("--base-url", help="For the engine openai: where the endpoint is.")
@click.option("--api-key", help="For the engine openai: the NAME of the secret that holds the key.")
@click.option("--session", shell_complete=session_names, help="Compute on this session's instance.")
@click.option("--python", help="The Python that has the engine's packages. Default: this one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object an answer.")
def command(
    models: tuple[str, ...],
    prompt: str | None,
    session: str | None,
    python: str | None,
    as_json: bool,
    **settings: Any,
) -> int:
    """Let each MODEL answer a prompt: hub ids, or folders with a model or a checkpoint.

    Several models, or several seeds, stand side by side. With --session the folders are those on the
    instance, and without MODEL the models of its runs are asked. Nothing is recorded.
    """
    where = _on_session(session) if session else _here(python, settings["engine"])
    names = list(models) or (_models_of(session) if session else [])
    if not names:
        raise click.UsageError("name a model: a hub id, or a folder")
    asked = _asked(names, settings, here=session is None)
    with _started(where) as agent:
        if prompt is not None:
            text = sys.stdin.read() if prompt == "-" else prompt
            return _ask(agent, {**asked, "prompt": text}, as_json)
        status = 0
        while text := _read_line():
            status = _ask(agent, {**asked, "prompt": text}, as_json)
        return status


# --- where to compute ----------------------------------------------------------------------------------


def _here(python: str | None, engine: str) -> list[str]:
    """The command line of the agent on this machine. Raises ConfigError where its packages are missing."""
    needed = {"transformers": "torch", "vllm": "vllm", "openai": "httpx"}[engine]
    if python is None and importlib.util.find_spec(needed) is None:
        raise ConfigError(
            f"this Python has no {needed}, which the engine {engine} needs",
            "pip install 'gpusess[agent]', name another Python by --python, or an instance by --session",
        )
    return [python or sys.executable, "-m", "remote_agent", "complete"]


def _on_session(session: str) -> list[str]:
    """The command line that starts the agent on a session's instance. Raises SessionError."""
    from gpusess.remote.agent import ROOT
    from gpusess.remote.package import build
    from gpusess.sessions.intents import DriverIntents
    from gpusess.sessions.start import open_store

    store = open_store()
    row = store.find(session)
    argv = None if row.ended is not None else DriverIntents(store).ssh_argv(row.id)
    python = row.options.get("python")
    if argv is None or not python:
        raise SessionError(
            f"{row.name} has no instance that is ready (it is {row.state})", "`gpusess status` lists them"
        )
    agents = f"{ROOT}/agents"
    wanted = shlex.quote(f"{agents}/{build().file_name}")
    # After an upgrade here the instance may still have the build that it was set up with.
    find = f"a={wanted}; test -f $a || a=$(ls -t {agents}/*.pyz | head -n 1)"
    return [*argv, f"{find}; exec {shlex.quote(str(python))} $a complete"]


def _models_of(session: str) -> list[str]:
    """The models of a session's runs that have a name on the instance; a folder that was sent has none."""
    from gpusess.sessions.context import open_context
    from gpusess.sessions.start import open_store

    store = open_store()
    spec = open_context(store, store.find(session).id).spec
    names = [run.remote_model or run.model for run in spec.runs if run.local_model(spec.base) is None]
    return list(dict.fromkeys(names))


@contextlib.contextmanager
def _started(argv: list[str]) -> Iterator[_Agent]:
    """The agent's process, ended with the block. What it logs is shown only if it dies."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    env = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTHONPATH": path}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                encoding="utf-8", errors="replace", env=env,
            )  # fmt: skip
        except FileNotFoundError:
            raise ConfigError(
                f"there is no program {argv[0]} here", "correct --python, or install ssh"
            ) from None
        try:
            yield _Agent(process, log)
        finally:
            process.kill()
            process.communicate()


class _Agent:
    """The agent's process, asked one prompt at a time."""

    def __init__(self, process: subprocess.Popen[str], log: IO[str]) -> None:
        self._process, self._log = process, log

    def ask(self, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """What the agent says about one prompt. Raises GpusessError where it dies."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            event: dict[str, Any] = json.loads(line)
            if event["event"] == "end":
                return
            yield event
        self._log.seek(0)
        said = self._log.read().strip().splitlines()
        last = clean(said[-1]) if said else "it said nothing"
        raise GpusessError(f"the agent ended: {last}", "is the model too large for the machine's memory?")


# --- asking --------------------------------------------------------------------------------------------


def _asked(models: list[str], settings: dict[str, Any], here: bool) -> dict[str, Any]:
    """What the agent is sent with each prompt; the key of an endpoint goes over stdin as well."""
    from gpusess.secrets import resolve_secrets

    key = settings["api_key"]
    secrets = (
        {name: value.get_secret_value() for name, value in resolve_secrets([key]).items()} if key else {}
    )
    if here:
        models = [str(Path(m).expanduser().resolve()) if Path(m).expanduser().is_dir() else m for m in models]
    engine = {
        "name": settings["engine"],
        "dtype": settings["dtype"],
        "base_url": settings["base_url"],
        "api_key": key,
    }
    generate = {name: settings[name] for name in ("max_tokens", "temperature", "top_k", "top_p")}
    return {
        **{name: settings[name] for name in ("system", "raw", "stop")},
        "models": models,
        "seeds": list(settings["seeds"]) or [0],
        "engine": engine,
        "generate": generate,
        "env": secrets,
    }


def _ask(agent: _Agent, asked: dict[str, Any], as_json: bool) -> int:
    """Send one prompt and show its answers; 1 where a model could not answer."""
    columns = [
        [Column(_head(model, seed, len(asked["seeds"]) > 1)) for seed in asked["seeds"]]
        for model in asked["models"]
    ]
    show = _Json(asked) if as_json else _shown([column for row in columns for column in row])
    failed = False
    for event in agent.ask(asked):
        failed |= event["event"] == "error"
        if event["event"] == "error" and event.get("model") is None:
            raise ConfigError(f"the agent refuses this: {clean(event['message'])}")
        show.take(event, columns)
    show.end()
    return int(failed)


def _read_line() -> str:
    """The next prompt from the terminal or a pipe; empty at its end."""
    if sys.stdin.isatty():
        try:
            return str(click.prompt("prompt", prompt_suffix="> ", err=True))
        except click.Abort:
            return ""
    return sys.stdin.readline().strip()


def _head(model: str, seed: int, several: bool) -> str:
    name = clean(model.rstrip("/").rpartition("/")[2] if model.startswith("/") else model, 60)
    return f"{name} · seed {seed}" if several else name


def _foot(event: dict[str, Any]) -> str:
    pace = event["tokens_out"] / event["seconds"] if event["seconds"] else 0.0
    cut = ", cut off" if event["finish"] == "length" else ""
    return f"({event['tokens_out']} tokens{cut}, {pace:.0f} tok/s)"


# --- showing -------------------------------------------------------------------------------------------


class _Json:
    """One JSON object an answer."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self._asked = asked

    def take(self, event: dict[str, Any], _columns: list[list[Column]]) -> None:
        if event["event"] not in ("done", "error"):
            return
        row = {"model": self._asked["models"][event.pop("model")], **event}
        if "answer" in row:
            row["seed"] = self._asked["seeds"][row.pop("answer")]
        del row["event"]
        click.echo(json.dumps(row, ensure_ascii=False))

    def end(self) -> None:
        """All is printed."""


class _Text:
    """Columns that grow, on a terminal that has room for them; else one whole answer after another."""

    def __init__(self, columns: list[Column], live: Live | None) -> None:
        self._all = columns
        self._live = live

    def take(self, event: dict[str, Any], columns: list[list[Column]]) -> None:
        row = columns[event["model"]]
        column = row[event.get("answer", 0)]
        if event["event"] == "loading":
            column.text = "…"
        elif event["event"] == "text":
            column.text = clean_block(event["text"])
        elif event["event"] == "done":
            column.text, column.foot = clean_block(event["text"]), _foot(event)
        else:
            for each in row:
                each.text, each.foot = clean_block(event["message"]), "(no answer)"
        if self._live is not None:
            self._live.draw(self._all)
        elif event["event"] in ("done", "error"):
            click.echo(f"{column.head}\n{column.text}\n{column.foot}\n")

    def end(self) -> None:
        if self._live is not None:
            self._live.end(self._all)


def _shown(columns: list[Column]) -> _Text:
    size = shutil.get_terminal_size()
    live = sys.stdout.isatty() and fits(len(columns), size.columns)
    return _Text(columns, Live(size.columns, size.lines) if live else None)
