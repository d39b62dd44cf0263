"""The spec: what is read, and that each mistake is named with its line, its field and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusess.errors import SpecError
from gpusess.providers import PROVIDERS
from gpusess.spec import Spec, load_spec, order_for, parse_spec
from gpusess.spec.document import MAX_CHARS, MAX_DEPTH

KNOWN = ", ".join(sorted(PROVIDERS))

FULL = """\
name: gsm8k-smollm2
resources:
  provider: local
  gpu: 4090:2
  region: any
  max_price: 3.00
  budget: 10
  max_hours: 4
  lease: 1h30m
  options: {price: 0.0, nested: {list: [1, no]}}
sync:
  code: .
  push:
    - {from: ckpt, to: models/best}
setup:
  requirements: [torch==2.13.0]
  commands: ["make -C code build"]
env: {HF_HUB_OFFLINE: "1", TOKENIZERS_PARALLELISM: "false", A: no}
secrets: [HF_TOKEN]
runs:
  - name: gsm8k
    kind: eval
    model: ./ckpt
    revision: null
    task: {name: gsm8k, path: test.jsonl, limit: 100}
    engine: {name: transformers, dtype: float32, batch_size: 16}
    generate: {max_tokens: 256, temperature: 1e-5}
after: keep
"""

SMALL = """\
name: small
resources:
  provider: local
runs:
  - name: one
    model: org/model
    task: {name: gsm8k}
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "ckpt").mkdir()
    (tmp_path / "test.jsonl").write_text("{}\n")
    return tmp_path


def problems(text: str, base: Path = Path("/nonexistent")) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "x.yaml", base)
    return caught.value.message.splitlines()


def read(text: str, base: Path = Path("/nonexistent")) -> Spec:
    return parse_spec(text, "x.yaml", base)


def test_full(base: Path) -> None:
    (base / "spec.yaml").write_text(FULL)
    spec = load_spec(base / "spec.yaml")
    assert spec.base == base
    assert "base" not in spec.model_dump()
    assert spec.resources.gpus == [("4090", 2)]
    assert spec.resources.lease == 5400.0
    assert spec.resources.options == {"price": 0.0, "nested": {"list": [1, "no"]}}
    assert spec.env["A"] == "no"
    run = spec.runs[0]
    assert run.generate.temperature == 1e-5
    assert run.local_model(base) == base / "ckpt"
    assert run.local_data(base) == base / "test.jsonl"
    assert spec.sync.push[0].local(base) == base / "ckpt"


def test_order(base: Path) -> None:
    run = read(FULL, base).runs[0]
    order = order_for(run, "r-1", model="/m", model_id="ckpt@0", data_path="/d.jsonl")
    assert (order.run, order.name, order.model, order.task.path) == ("r-1", "gsm8k", "/m", "/d.jsonl")
    assert (order.task.limit, order.generate.max_tokens) == (100, 256)


def test_defaults() -> None:
    spec = read(SMALL)
    assert spec.after == "terminate"
    assert spec.resources.lease == 1800.0
    assert spec.resources.gpus == []
    assert spec.runs[0].local_model(Path()) is None
    assert read(SMALL + "setup:\nenv:\nsecrets:\nsync:\n") == spec


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: small", "name: Small", "x.yaml:1: name: found 'Small'; allowed: lower-case letters"),
        ("name: small", "nme: small", "x.yaml:1: nme: unknown key 'nme'; did you mean 'name'?"),
        ("name: small", "# nothing", "x.yaml:2: name: missing; allowed: "),
        ("provider: local", "provider: loca", f"x.yaml:3: resources.provider: found 'loca'; allowed: {KNOWN}"),
        ("provider: local", "provider: local\n  lease: 30", "x.yaml:4: resources.lease: found '30'; allowed: a duration"),
        ("provider: local", "provider: local\n  lease: 0s", "x.yaml:4: resources.lease: found '0s'; allowed: a duration"),
        ("provider: local", "provider: local\n  gpu: 4090", "x.yaml:4: resources.gpu: found '4090'; allowed: MODEL"),
        ("provider: local", "provider: local\n  budget: -1", "x.yaml:4: resources.budget: found '-1'; allowed: a number > 0"),
        ("provider: local", "provider: local\n  budget: .inf", "x.yaml:4: resources.budget: found '.inf'; allowed: a number > 0"),
        ("provider: local", "provider: local\n  max_price: 3:00", "x.yaml:4: resources.max_price: found '3:00'; allowed: a number"),
        ("{name: gsm8k}", "{name: gsm9k}", "x.yaml:7: runs[0].task.name: found 'gsm9k'; allowed: aqua, arc_challenge"),
        ("{name: gsm8k}", "{name: gsm8k, limit: yes}", "x.yaml:7: runs[0].task.limit: found 'yes'; allowed: a whole number ≥ 1"),
        ("{name: gsm8k}", "{name: gsm8k, limit: 0}", "x.yaml:7: runs[0].task.limit: found '0'; allowed: a whole number ≥ 1"),
        ("{name: gsm8k}", "{name: gsm8k, limit: true}", "x.yaml:7: runs[0].task.limit: found 'true'; allowed: a whole number ≥ 1"),
        ("{name: gsm8k}", "{name: gsm8k, path: no.jsonl}", "x.yaml:7: runs[0].task.path: found 'no.jsonl', which does not exist"),
        ("{name: gsm8k}", "{name: gsm8k}\n    engine: {batch_size: many}", "x.yaml:8: runs[0].engine.batch_size: found 'many'; allowed: a whole number ≥ 1"),
        ("{name: gsm8k}", '{name: gsm8k}\n    engine: {batch_size: "16"}', "x.yaml:8: runs[0].engine.batch_size: found '16'; allowed: a whole number ≥ 1"),
        ("{name: gsm8k}", "{name: gsm8k}\n    engine: {dtype: fp16}", "x.yaml:8: runs[0].engine.dtype: found 'fp16'; allowed: auto, float32, bfloat16, float16; did you mean 'float16'?"),
        ("org/model", "/abs", "x.yaml:6: runs[0].model: found '/abs'; allowed: a hub id"),
        ("org/model", "./nope", "x.yaml:6: runs[0].model: found './nope', which does not exist; allowed: a folder"),
        ("runs:", "after: stop\nruns:", "x.yaml:4: after: found 'stop'; allowed: terminate, keep"),
        ("runs:", "sync: {push: [{from: a, to: ../b}]}\nruns:", "x.yaml:4: sync.push[0].to: found '../b'; allowed: a path relative"),
        ("runs:", "sync: {push: [{from: a, to: /b}]}\nruns:", "x.yaml:4: sync.push[0].to: found '/b'; allowed: a path relative"),
        ("runs:", "sync: {push: [{from: a, to: b}, {from: a, to: b/c}]}\nruns:", "x.yaml:4: sync.push[1].to: found 'b/c', which overlaps"),
        ("runs:", "sync: {code: nope}\nruns:", "x.yaml:4: sync.code: found 'nope', which does not exist; allowed: a folder"),
        ("runs:", "setup:\n  python: p\n  requirements: [x]\nruns:", "x.yaml:6: setup.requirements: given together with `python`"),
        ("runs:", "env: {A: 1}\nruns:", "x.yaml:4: env.A: found a number"),
        ("name: small", "name: small\nname: small", "x.yaml:2: name: given twice (first in line 1); allowed: once"),
        ("name: small", "name: small\n? [a]\n: b", "x.yaml:2: a key is a list or a mapping"),
        ("name: small", "name: !!python/name:os.system x", "x.yaml:1: found a tag"),
        ("name: small", "name: [", "x.yaml:3: not valid YAML"),
        ("  provider", "\tprovider", "x.yaml:3: not valid YAML: while scanning for the next token found character '\\t'"),
        ("name: small", 'name: "\\UFFFFFFFF"', "x.yaml:1: not valid YAML: an escape"),
        ("name: small", "name: small\x07", "x.yaml:1: not valid YAML: a control character"),
        ("name: small", 'name: "\\uD800"', "x.yaml:1: name: holds a character that is no text"),
        ("name: small", "name: *gone", "x.yaml:1: not valid YAML: found undefined alias"),
    ],
)  # fmt: skip
def test_mistake(old: str, new: str, expected: str) -> None:
    assert any(line.startswith(expected) for line in problems(SMALL.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "x.yaml:1: the file is empty"),
        ("# only a comment\n", "x.yaml:1: the file is empty"),
        ("null\n", "x.yaml:1: the file is not a mapping"),
        ("- a\n", "x.yaml:1: the file is not a mapping"),
        ("a: 1\n---\nb: 2\n", "x.yaml:2: not valid YAML: expected a single document"),
        ("[" * 5000, f"x.yaml:1: nested deeper than {MAX_DEPTH} levels"),
        ("x" * (MAX_CHARS + 1), f"x.yaml:1: found {MAX_CHARS + 1:,} characters"),
        ("a: &a [*a]\n", "x.yaml:1: a[0][0]: nested deeper"),
    ],
)
def test_not_a_spec(text: str, expected: str) -> None:
    assert any(line.startswith(expected) for line in problems(text))


def test_alias_bomb() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert problems("\n".join(lines)) == ["x.yaml:1: more than 20,000 values once aliases are used"]


def test_alias_is_written_out() -> None:
    text = SMALL + "    engine: &e {batch_size: 3}\n"
    text += "  - {name: two, model: org/model, task: {name: gsm8k}, engine: *e}\n"
    assert read(text).runs[1].engine.batch_size == 3


def test_all_at_once() -> None:
    text = SMALL.replace("small", "S").replace("local", "x").replace("gsm8k", "y") + "after: z\n"
    text += "secrets: [A=b]\nenv: {API_KEY: abc}\n"
    found = problems(text)
    assert [line.split(": ")[0] for line in found] == [f"x.yaml:{n}" for n in (1, 3, 7, 8, 9, 10)]


def test_run_names_once() -> None:
    text = SMALL + "  - {name: one, model: org/model, task: {name: gsm8k}}\n"
    assert problems(text) == [
        "x.yaml:8: runs[1].name: found 'one' again (first in line 5); allowed: a name once"
    ]


@pytest.mark.parametrize(
    "line",
    [
        "secrets: [HF_TOKEN=hf_hush]",
        "secrets: {HF_TOKEN: hf_hush}",
        "secrets: [{HF_TOKEN: hf_hush}]",
        "secrets: hf_hush=",
        "secrets: [hf-hush]",
        "env: {HF_TOKEN: hf_hush}",
        "env: {OPENAI_API_KEY: hf_hush}",
        "env: {DB_PASSWORD: [hf_hush]}",
        'env: {"HF_TOKEN=hf_hush": ""}',
        "env: [HF_TOKEN=hf_hush]",
        "env: {HF_TOKEN: !hf_hush x}",
        "env: {HF_TOKEN: *hf_hush }",
    ],
)
def test_secrets_are_not_echoed(line: str) -> None:
    found = problems(f"{SMALL}{line}\n")
    assert found[0].startswith("x.yaml:8: ")
    assert "hush" not in "".join(found)


def test_files(base: Path) -> None:
    path = base / "spec.yaml"
    for make, words in (
        (lambda: None, f"{path}: no such file"),
        (lambda: path.write_bytes(b"name: a\nb: \xff"), f"{path}:2: found bytes that are not UTF-8"),
        (lambda: path.write_bytes(b"x" * (4 * MAX_CHARS + 1)), f"{path}: found "),
        (lambda: (path.unlink(), path.mkdir()), f"{path}: not a file"),
    ):
        make()
        with pytest.raises(SpecError) as caught:
            load_spec(path)
        assert caught.value.message.startswith(words)
    with pytest.raises(SpecError):
        load_spec(Path("a\0b"))


def test_byte_order_mark(base: Path) -> None:
    (base / "s.yaml").write_bytes(b"\xef\xbb\xbf" + SMALL.encode())
    assert load_spec(base / "s.yaml").name == "small"


def test_stored_spec_needs_no_files() -> None:
    gone = Path("/nonexistent")
    assert parse_spec(FULL, "x.yaml", gone, files=False).name == "gsm8k-smollm2"
    assert [line.split(": ")[0] for line in problems(FULL, gone)] == [f"x.yaml:{n}" for n in (12, 14, 23, 25)]


KEYS = [  # line, the key there
    (1, "name"), (2, "resources"), (3, "provider"), (5, "region"), (6, "max_price"), (9, "lease"),
    (11, "sync"), (12, "code"), (15, "setup"), (17, "commands"), (18, "env"), (19, "secrets"), (20, "runs"),
    (22, "kind"), (23, "model"), (24, "revision"), (25, "task"), (26, "engine"), (27, "generate"), (28, "after"),
]  # fmt: skip


@given(st.sampled_from(KEYS), st.data())
@settings(max_examples=80, deadline=None)
def test_any_typo_is_named(place: tuple[int, str], data: st.DataObject) -> None:
    line, key = place
    at = data.draw(st.integers(0, len(key) - 1))
    typo = key[:at] + data.draw(st.sampled_from(["", "x", key[at] * 2])) + key[at + 1 :]
    rows = FULL.splitlines()
    rows[line - 1] = rows[line - 1].replace(f"{key}:", f"{typo}:", 1)
    if typo != key and not (key == "env" and len(typo) < 3):
        wanted = [row for row in problems("\n".join(rows)) if row.startswith(f"x.yaml:{line}: ")]
        assert any(f"unknown key '{typo}'; did you mean '{key}'?" in row for row in wanted)


yaml_pieces = st.sampled_from(
    ["name", ": ", "\n", "  ", "- ", "[", "]", "{", "}", "&a ", "*a", '"', "'", "|\n", "!!", "\t", "#", "runs", "%", "\\x", "?"]
)  # fmt: skip


@given(st.one_of(st.text(max_size=60), st.lists(yaml_pieces, max_size=30).map("".join)))
@settings(max_examples=250, deadline=None)
def test_only_spec_errors(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "x.yaml", Path("/nonexistent"))
    assert all(line.startswith("x.yaml:") for line in caught.value.message.split("\n"))


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
sections = st.sampled_from(["name", "resources", "sync", "setup", "env", "secrets", "runs", "after"])


@given(st.dictionaries(sections, values))
@settings(max_examples=150, deadline=None)
def test_any_values_are_spec_errors(value: dict[str, object]) -> None:
    import yaml

    with pytest.raises(SpecError):
        parse_spec(yaml.safe_dump(value, allow_unicode=True), "x.yaml", Path("/nonexistent"))
