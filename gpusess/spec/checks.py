"""What is checked over several fields, and on the disk.

These checks read the plain document, not the models, so that they speak also where another field is
wrong: a user sees everything at once.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath
from typing import Any

from gpusess.spec.document import Document, Loc, printable
from gpusess.spec.models import looks_secret
from remote_agent.registry import EXTRACTORS, FAMILIES, METHODS, STYLES


def check_fields(document: Document) -> None:
    """What two fields say about each other."""
    _unique_names(document)
    _push_targets(document)
    _secrets(document)
    _options(document)
    for index, _ in enumerate(document.items("runs")):
        _expectation(document, ("runs", index, "expect"))
        _rerankers(document, ("runs", index))
        _training(document, ("runs", index))
        _sweep(document, index)
        _task(document, ("runs", index, "task"))
        _endpoint(document, ("runs", index, "engine"))
    if document.at("setup", "python") and document.at("setup", "requirements"):
        text = "given together with `python`; allowed: only without it, for the environment that is made"
        document.add(("setup", "requirements"), text)


def check_files(document: Document, base: Path) -> None:
    """What is to be sent must be there, and be readable."""
    _exists(document, ("sync", "code"), base, folder=True)
    for index, _ in enumerate(document.items("sync", "push")):
        _exists(document, ("sync", "push", index, "from"), base, folder=None)
    for index, _ in enumerate(document.items("runs")):
        run: Loc = ("runs", index)
        _exists(document, (*run, "task", "path"), base, folder=None)
        _exists(document, (*run, "task", "examples"), base, folder=None)
        _exists(document, (*run, "engine", "path"), base, folder=False)
        _exists(document, (*run, "train", "data", "path"), base, folder=False)
        for place in ((*run, "model"), (*run, "base"), (*run, "sweep", "of")):
            value = document.at(*place)
            if isinstance(value, str) and value.startswith(("./", "../")):
                _exists(document, place, base, folder=True)


def _unique_names(document: Document) -> None:
    seen: dict[str, int] = {}
    for index, _ in enumerate(document.items("runs")):
        place: Loc = ("runs", index, "name")
        name = document.at(*place)
        if isinstance(name, str) and name in seen:
            text = f"found '{printable(name, 60)}' again (first in line {seen[name]}); allowed: a name once"
            document.add(place, text)
        elif isinstance(name, str):
            seen[name] = document.line(place)


def _push_targets(document: Document) -> None:
    seen: dict[PurePosixPath, int] = {}
    for index, _ in enumerate(document.items("sync", "push")):
        place: Loc = ("sync", "push", index, "to")
        value = document.at(*place)
        if not isinstance(value, str):
            continue
        target = PurePosixPath(value)
        for other, line in seen.items():
            if target == other or other in target.parents or target in other.parents:
                text = (
                    f"found '{printable(value, 60)}', which overlaps with line {line}; allowed: targets apart"
                )
                document.add(place, text)
                break
        seen.setdefault(target, document.line(place))


def _options(document: Document) -> None:
    """With several providers each has its own options, so that no setting reaches another cloud."""
    providers = document.items("resources", "provider")
    options = document.at("resources", "options")
    if len(providers) < 2 or not isinstance(options, dict):
        return
    for name, value in options.items():
        known = ", ".join(map(str, providers))
        if name not in providers:
            text = f"with several providers, options stand under their provider's name; allowed: {known}"
            document.add(("resources", "options", name), text)
        elif not isinstance(value, dict):
            document.add(("resources", "options", name), "allowed: a mapping of that provider's settings")


def _expectation(document: Document, place: Loc) -> None:
    value = document.at(*place)
    if isinstance(value, dict) and len({"value", "baseline"} & value.keys()) != 1:
        both = "both `value` and `baseline`" if "value" in value else "neither `value` nor `baseline`"
        document.add(place, f"found {both}; allowed: one of them")


def _rerankers(document: Document, run: Loc) -> None:
    """There must be something to choose from, and each reranker needs a name of its own."""
    found = document.at(*run, "rerank")
    items = found if isinstance(found, list) else [found] if found else []
    if items and document.at(*run, "generate", "candidates") in (None, 1):
        text = "given for one answer a sample; allowed: only with `generate.candidates` of 2 or more"
        document.add((*run, "rerank"), text)
    names = [item.get("name") if isinstance(item, dict) else item for item in items]
    for index, name in enumerate(names):
        if isinstance(name, str) and name in names[:index]:
            document.add(
                (*run, "rerank", index), f"found '{printable(name, 60)}' again; allowed: a name once"
            )


def _endpoint(document: Document, engine: Loc) -> None:
    """An endpoint needs an address, and its key is handed over only as a secret of the session."""
    if document.at(*engine, "name") == "openai" and document.at(*engine, "base_url") is None:
        document.add(engine, "the engine openai without `base_url`; allowed: with the endpoint's address")
    key = document.at(*engine, "api_key")
    secrets = document.at("secrets") or []
    listed = secrets if isinstance(secrets, list) else [secrets]
    if isinstance(key, str) and key not in listed:
        text = f"{len(key)} characters that are not under `secrets`"  # it may be the key itself: never shown
        document.add((*engine, "api_key"), f"found {text}; allowed: the name of one listed there")


def _training(document: Document, run: Loc) -> None:
    kind, train = document.at(*run, "kind"), document.at(*run, "train")
    if kind == "train" and train is None:
        document.add((*run, "kind"), "found 'train' without a section `train`; allowed: both together")
    if kind == "eval" and train is not None:
        document.add((*run, "kind"), "found 'eval' with a section `train`; allowed: `kind: train`, or none")
    if train is not None and document.at(*run, "engine", "name") not in (None, "transformers"):
        text = "a training is evaluated by the engine that holds its weights; allowed: transformers"
        document.add((*run, "engine", "name"), text)
    if isinstance(train, dict) and train.get("method") != "sft":
        _groups(document, run, train)

    if isinstance(train, dict) and train.get("export") in ("adapter", "both") and not train.get("lora"):
        text = f"found '{train['export']}' without `lora`; allowed: merged, where all weights are trained"
        document.add((*run, "train", "export"), text)
    quantised = document.at(*run, "train", "lora", "quantise") == "4bit"
    if quantised and train.get("export") in ("merged", "both"):
        text = "merging into weights of 4 bits rounds what was learned away; allowed: adapter, or none"
        document.add((*run, "train", "export"), text)


def _sweep(document: Document, index: int) -> None:
    """A sweep's checkpoints are a training's of this file, or lie at home; and it is an evaluation only."""
    run: Loc = ("runs", index)
    kind, sweep = document.at(*run, "kind"), document.at(*run, "sweep")
    if kind == "sweep" and sweep is None:
        document.add((*run, "kind"), "found 'sweep' without a section `sweep`; allowed: both together")
    if kind in ("eval", "train") and sweep is not None:
        document.add(
            (*run, "kind"), f"found '{kind}' with a section `sweep`; allowed: `kind: sweep`, or none"
        )
    if not isinstance(sweep, dict):
        return
    for key in ("train", "expect", "rerank"):
        if document.at(*run, key):
            document.add((*run, key), "given for a sweep; allowed: only for other runs")
    engine = document.at(*run, "engine", "name")
    if isinstance(engine, str) and engine not in ("transformers", "vllm"):
        text = f"found '{printable(engine, 60)}' for a sweep; allowed: transformers, vllm"
        document.add((*run, "engine", "name"), text)
    of = sweep.get("of")
    if not isinstance(of, str) or "/" in of:
        return
    before = [document.at("runs", n, "name") for n in range(index) if document.at("runs", n, "train")]
    if of not in before:
        known = ", ".join(map(str, before)) or "none"
        text = f"found '{printable(of, 60)}'; allowed: a training of this file that is done before ({known})"
        document.add((*run, "sweep", "of"), f"{text}, SESSION/RUN, or ./folder")


def _groups(document: Document, run: Loc, train: dict[str, Any]) -> None:
    """Reinforcement learning compares the answers to one prompt: a step holds whole groups of them."""
    numbers = {"batch_size": 8, "accumulate": 1, "processes": 1, "generations": 8}
    values = [train.get(name, default) for name, default in numbers.items()]
    if not all(isinstance(value, int) and value > 0 for value in values):
        return
    batch, accumulate, processes, generations = values
    if (answers := batch * accumulate * processes) % generations:
        text = (
            f"{generations} answers a prompt do not divide the {answers} of a step (batch_size × "
            "accumulate × processes); allowed: a divisor of it"
        )
        document.add((*run, "train", "generations" if "generations" in train else "method"), text)


def _task(document: Document, place: Loc) -> None:
    """What a task can do, and what the user's own one needs."""
    name = document.at(*place, "name")
    if not isinstance(name, str) or name not in METHODS:
        return
    for key, known in (("method", METHODS[name]), ("style", STYLES.get(name, ()))):
        value = document.at(*place, key)
        if key == "method" and value not in ("generate", "score"):
            continue  # the field's own check speaks
        if isinstance(value, str) and value not in (*known, "default"):
            allowed = ", ".join(known) or "default"
            text = f"found '{printable(value, 60)}', which the task {name} does not have; allowed: {allowed}"
            document.add((*place, key), text)
    _extractors(document, place, name)
    own = document.at(*place, "own")
    if name != "own" and own is not None:
        document.add((*place, "own"), f"given for the task {name}; allowed: only with `name: own`")
    for key in ("own", "path") if name == "own" else ():
        if document.at(*place, key) is None:
            document.add((*place, "name"), f"found 'own' without `{key}`; allowed: both together")
    if name == "continuation" and document.at(*place, "path") is None:
        document.add((*place, "name"), "found 'continuation' without `path`; allowed: both together")


def _extractors(document: Document, place: Loc, name: str) -> None:
    """A rule must read the kind of answer that the task has."""
    method = document.at(*place, "method")
    method = method if method in METHODS[name] else METHODS[name][0]
    family = FAMILIES.get(name) or document.at(*place, "own", "metric") or "number"
    if method == "score":
        scored_text = name == "own" and not document.at(*place, "own", "choices")
        family = "continuation" if name in ("continuation", "arithmetic") or scored_text else "score"
    every = {rule for rules in EXTRACTORS.values() for rule in rules}
    for index, rule in enumerate(document.items(*place, "extractors")):
        if rule in every and family in EXTRACTORS and rule not in EXTRACTORS[family]:
            text = f"found '{rule}', which reads no answer of the kind {family}; allowed: "
            document.add((*place, "extractors", index), text + ", ".join(EXTRACTORS[family]))


def _secrets(document: Document) -> None:
    env = document.at("env")
    for name, value in env.items() if isinstance(env, dict) else ():
        if looks_secret(name, value):
            text = "its name says that it is a secret (not shown here); allowed: its name under `secrets:`"
            document.add(("env", name), text)


def _exists(document: Document, place: Loc, base: Path, *, folder: bool | None) -> None:
    """`folder`: True for a folder, False for a file, None for either."""
    value = document.at(*place)
    if not isinstance(value, str) or not value:
        return
    path = base / value
    wanted = {True: "a folder", False: "a file", None: "a file or folder"}[folder]
    reason = _trouble(path, folder)
    if reason:
        document.add(
            place, f"found '{printable(value, 200)}', {reason}; allowed: {wanted} relative to the spec"
        )


def _trouble(path: Path, folder: bool | None) -> str:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "which does not exist"
    except (OSError, ValueError) as error:
        return f"which cannot be looked at ({getattr(error, 'strerror', None) or 'not a path'})"
    is_folder, is_file = stat.S_ISDIR(mode), stat.S_ISREG(mode)
    if folder is True and not is_folder:
        return "which is not a folder"
    if folder is False and not is_file:
        return "which is not a file"
    if not (is_folder or is_file):
        return "which is neither a file nor a folder"
    return "" if os.access(path, os.R_OK) else "which you may not read"
