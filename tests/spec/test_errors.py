"""Every way to be refused: the exact line, and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gpusess.errors import SpecError
from gpusess.providers import PROVIDERS
from gpusess.spec import load_spec, parse_spec

from .conftest import GOOD

KNOWN = ", ".join(sorted(PROVIDERS))

FIELDS = [
    ("name: math-eval", "name: Math Eval", "name: found 'Math Eval'; allowed: lower-case letters, digits and -, at most 40, not starting with -"),
    ("provider: local", "provider: locl", f"resources.provider: found 'locl'; allowed: {KNOWN}; did you mean 'local'?"),
    ('gpu: "H100:2"', 'gpu: "H100:0"', "resources.gpu: found 'H100:0'; allowed: MODEL or MODEL:COUNT, such as \"H100:1\""),
    ("max_price: 4.5", "max_price: 0", "resources.max_price: found '0'; allowed: a number > 0"),
    ("budget: 20", "budget: .nan", "resources.budget: found '.nan'; allowed: a number > 0"),
    ("budget: 20", "budget: true", "resources.budget: found 'true'; allowed: a number > 0"),
    ("lease: 1h30m", "lease: 90", "resources.lease: found '90'; allowed: a duration above zero, such as 90s, 30m or 2h"),
    ("lease: 1h30m", "lease: 0s", "resources.lease: found '0s'; allowed: a duration above zero, such as 90s, 30m or 2h"),
    ("to: models/w", "to: ../w", "sync.push[0].to: found '../w'; allowed: a path relative to the session's folder, without .."),
    ("to: models/w", "to: /w", "sync.push[0].to: found '/w'; allowed: a path relative to the session's folder, without .."),
    ("name: gsm8k\n      path", "name: gsm8\n      path", "runs[0].task.name: found 'gsm8'; allowed: aqua, arc_challenge, arc_easy, arithmetic, continuation, function_calling, gsm8k, hellaswag, mathqa, mmlu, own, svamp, word_problems; did you mean 'gsm8k'?"),
    ("limit: 5", "limit: 0", "runs[0].task.limit: found '0'; allowed: a whole number ≥ 1"),
    ("limit: 5", 'limit: "5"', "runs[0].task.limit: found '5'; allowed: a whole number ≥ 1"),
    ("batch_size: 8", "batch_size: many", "runs[0].engine.batch_size: found 'many'; allowed: a whole number ≥ 1, or auto"),
    ("batch_size: 8", "batch_size:", "runs[0].engine.batch_size: found nothing; allowed: a whole number ≥ 1, or auto"),
    ("batch_size: 8", "batch_size: [8]", "runs[0].engine.batch_size: found a list; allowed: a whole number ≥ 1, or auto"),
    ("temperature: 0.7", "temperature: -1", "runs[0].generate.temperature: found '-1'; allowed: a number ≥ 0"),
    ("model: org/model", "model: a/b/c", "runs[0].model: found 'a/b/c'; allowed: a hub id (org/name), ./folder beside the spec, or remote:/folder on the instance"),
    ("name: tuned", "name: base", "runs[1].name: found 'base' again (first in line 20); allowed: a name once"),
    ("after: keep", "after: kep", "after: found 'kep'; allowed: terminate, keep; did you mean 'keep'?"),
    ('LEVEL: "3"', "LEVEL: 3", "env.LEVEL: found a number, true, false or null without quotes; allowed: text (put it in quotes)"),
    ("requirements: [numpy]", "python: p\n  requirements: [numpy]", "setup.requirements: given together with `python`; allowed: only without it, for the environment that is made"),
    ("code: code", "code: nowhere", "sync.code: found 'nowhere', which does not exist; allowed: a folder relative to the spec"),
    ("code: code", "code: data.jsonl", "sync.code: found 'data.jsonl', which is not a folder; allowed: a folder relative to the spec"),
    ("from: weights", "from: nowhere", "sync.push[0].from: found 'nowhere', which does not exist; allowed: a file or folder relative to the spec"),
    ("path: data.jsonl\n      limit", "path: no.jsonl\n      limit", "runs[0].task.path: found 'no.jsonl', which does not exist; allowed: a file or folder relative to the spec"),
    ("path: data.jsonl\n      batch", "path: code\n      batch", "runs[0].engine.path: found 'code', which is not a file; allowed: a file relative to the spec"),
    ("model: ./weights", "model: ./weight", "runs[1].model: found './weight', which does not exist; allowed: a folder relative to the spec"),
]  # fmt: skip


def test_the_good_one_is_good(base: Path) -> None:
    spec = parse_spec(GOOD, "x.yaml", base)
    assert (spec.base, spec.resources.lease, spec.resources.gpus) == (base, 5400.0, [("H100", 2)])
    assert spec.runs[1].local_model(base) == base / "weights"
    assert spec.runs[0].local_model(base) is None


@pytest.mark.parametrize(
    ("old", "new", "expected"), FIELDS, ids=[f"{n}-{f[2].split(':')[0]}" for n, f in enumerate(FIELDS)]
)
def test_a_wrong_field(lines, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    key = expected.partition(":")[0].rpartition(".")[2]
    number = text.count("\n", 0, text.index(f"{key}:", GOOD.index(old))) + 1
    assert lines(text) == [f"x.yaml:{number}: {expected}"]


def test_missing_keys_name_what_is_around_them(lines) -> None:
    assert lines("name: a\nresources:\n  gpu: A10\nruns: []\n") == [
        f"x.yaml:2: resources.provider: missing; allowed: {KNOWN}",
        "x.yaml:4: runs: found a list; allowed: a list of at least one",
    ]


def test_several_problems_come_at_once_in_the_order_of_lines(lines) -> None:
    text = (
        GOOD.replace("lease:", "leese:")
        .replace("limit: 5", "limit: many")
        .replace("after: keep", "after: now")
    )
    text = text.replace("from: weights", "from: nowhere")
    said = lines(text)
    assert [line.split(": ")[1] for line in said] == [
        "resources.leese",
        "sync.push[0].from",
        "runs[0].task.limit",
        "after",
    ]
    numbers = [int(line.split(":")[1]) for line in said]
    assert numbers == sorted(numbers) == [8, 12, 25, 35]


def test_an_unknown_key_names_the_nearest_and_all(lines) -> None:
    text = GOOD.replace("max_price", "max_prize")
    assert lines(text) == [
        "x.yaml:5: resources.max_prize: unknown key 'max_prize'; did you mean 'max_price'? "
        "allowed: provider, gpu, region, max_price, spot, on_preemption, wait, budget, max_hours, lease, lease_key, trust_first_use, options"
    ]


def test_a_duplicate_key_names_both_lines(lines) -> None:
    assert lines(GOOD + "name: other\n") == ["x.yaml:36: name: given twice (first in line 1); allowed: once"]


def test_overlapping_targets(lines) -> None:
    text = GOOD.replace("      to: models/w\n", "      to: models/w\n    - {from: weights, to: models}\n")
    assert lines(text) == [
        "x.yaml:14: sync.push[1].to: found 'models', which overlaps with line 13; allowed: targets apart"
    ]


SYNTAX = [
    ("\tname: a\n", 1, "not valid YAML: while scanning for the next token found character '\\t' that cannot start any token; a tab cannot indent: use spaces"),
    ("name: a\nx:\n\ty: 1\n", 3, "not valid YAML: while scanning for the next token found character '\\t' that cannot start any token; a tab cannot indent: use spaces"),
    ("a: [1\nb: 2\n", 2, "not valid YAML: while parsing a flow sequence expected ',' or ']', but got ':'"),
    ("a: 1\n--- \nb: 2\n", 2, "not valid YAML: expected a single document in the stream but found another document"),
    ("a: 1\nb: \x07\n", 2, "not valid YAML: a control character, which no text may hold"),
    ('a: "\\UFFFFFFFF"\n', 1, "not valid YAML: an escape in a quoted text is not a character"),
    ("a: 1\nb: !!python/object:os.system x\n", 2, "found a tag (`!…`); allowed: no tags, or quoted text"),
    ("", 1, "the file is empty; allowed: a mapping that starts with `name:`"),
    ("# only this\n", 1, "the file is empty; allowed: a mapping that starts with `name:`"),
    ("- a\n", 1, "the file is not a mapping; allowed: `key: value` lines, starting with `name:`"),
    ("[" * 40, 1, "nested deeper than 16 levels"),
    ("a" * 262_145, 1, "found 262,145 characters; allowed: at most 262,144"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "expected"), SYNTAX, ids=range(len(SYNTAX)))
def test_no_document(lines, text: str, line: int, expected: str) -> None:
    assert lines(text) == [f"x.yaml:{line}: {expected}"]


def test_aliases_that_multiply_are_refused_at_once(lines) -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for n in range(1, 10):
        text += f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n"
    begin = time.perf_counter()
    assert lines(text) == ["x.yaml:1: more than 20,000 values once aliases are used"]
    assert time.perf_counter() - begin < 2


def test_an_alias_to_itself_ends(lines) -> None:
    assert "x.yaml:1: a[0][0]: nested deeper than 16 levels" in lines("a: &a [*a]\n")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("env: {HF_TOKEN: hunter2}", "hunter2"),
        ("env: {API_KEY: 918273}", "918273"),
        ("env: {LEVEL: 918273}", "918273"),
        ("env: [hunter2]", "hunter2"),
        ("env: hunter2", "hunter2"),
        ("secrets: [HF_TOKEN=hunter2]", "hunter2"),
        ("secrets: {HF_TOKEN: hunter2}", "hunter2"),
        ("secrets: HF_TOKEN=hunter2", "hunter2"),
        ("secret: {HF_TOKEN: hunter2}", "hunter2"),
        ("HF_TOKEN: hunter2", "hunter2"),
        ("env: {PASSWORD: *hunter2 }", "hunter2"),
        ("env: {PASSWORD: !hunter2 }", "hunter2"),
        ("env: {PASSWORD: 'hunter2}", "hunter2"),
        ("env: {PASSWORD: hunter2: x: }", "hunter2"),
        ("env: {PASSWORD: !hun!ter2 x}", "ter2"),
    ],
)
def test_a_secret_is_never_shown(lines, text: str, secret: str) -> None:
    assert secret not in "\n".join(lines(f"name: a\n{text}\n"))


def test_a_secret_in_env_is_refused_with_the_way_out(lines) -> None:
    assert lines(GOOD.replace('LEVEL: "3"', "HF_TOKEN: hunter2")) == [
        "x.yaml:17: env.HF_TOKEN: its name says that it is a secret (not shown here); allowed: its name under `secrets:`"
    ]


@pytest.mark.parametrize("text", ["HF_TOKEN: 'true'", "TOKENIZERS_PARALLELISM: 'false'", "USE_KEY: '1'"])
def test_a_switch_is_no_secret(base: Path, text: str) -> None:
    assert parse_spec(GOOD.replace('LEVEL: "3"', text), "x.yaml", base).env


def test_a_stored_spec_does_not_look_at_the_disk() -> None:
    assert parse_spec(GOOD, "x.yaml", Path("/nowhere"), files=False).name == "math-eval"


def test_files_that_are_no_spec(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"

    def said(expected: str) -> None:
        with pytest.raises(SpecError) as caught:
            load_spec(path)
        assert caught.value.message == f"{path}{expected}"

    said(": no such file")
    path.write_bytes(b"name: a\n\xff\xfe")
    said(":2: found bytes that are not UTF-8; allowed: UTF-8 text")
    path.write_bytes(b"")
    said(":1: the file is empty; allowed: a mapping that starts with `name:`")
    path.write_bytes(bytes(100))
    said(":1: not valid YAML: a control character, which no text may hold")
    path.write_bytes(b"#" * (1 << 20) + b"#")
    said(": found 1,048,577 bytes; allowed: at most 1,048,576")
    path.unlink()
    os.mkfifo(path)
    said(": not a file")


def test_a_byte_order_mark_and_windows_lines_are_read(base: Path) -> None:
    path = base / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_spec(path).name == "math-eval"
    path.write_bytes(GOOD.replace("limit: 5", "limit: x").replace("\n", "\r\n").encode())
    with pytest.raises(SpecError, match=r":25: runs\[0\]\.task\.limit: found 'x'"):
        load_spec(path)
