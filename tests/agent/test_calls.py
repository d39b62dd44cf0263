"""Reading and judging function calls, without ever running what a model wrote."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agent.protocol import TaskSpec
from remote_agent.tasks import call_rules, calls
from remote_agent.tasks.base import DataError, Grade, Sample
from remote_agent.tasks.families import CALL
from remote_agent.tasks.function_calling import FunctionCalling

TASK, SPEC = FunctionCalling(), TaskSpec(name="function_calling")
TOOLS = [
    {
        "name": "weather.get",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "share": {"type": "float"},
                "tags": {"type": "array", "items": {"type": "string"}},
                "wet": {"type": "boolean"},
            },
            "required": ["city", "days"],
        },
    }
]
LIMA = {"name": "weather.get", "arguments": {"city": "Lima", "days": 2}}


def sample(*answer: dict[str, Any]) -> Sample:
    return Sample("s", "q", json.dumps(answer), data={"tools": TOOLS})


def grade(text: str, *answer: dict[str, Any], finish: str = "stop") -> Grade:
    return TASK.grade(sample(*answer), text, finish, SPEC)


ONE = '{"name": "f", "arguments": {"a": 1}}'
F1 = [["f", {"a": 1}]]
CASES: list[tuple[str, str, Any]] = [
    (f"<tool_call>{ONE}</tool_call>", "tool_call", F1),
    (f"<tool_call>\n{ONE}\n</tool_call>", "tool_call", F1),
    (f"Sure!\n<tool_call>{ONE}</tool_call> done", "tool_call", F1),
    (f"<tool_call>{ONE}</tool_call><tool_call>{ONE}</tool_call>", "tool_call", F1 * 2),
    (f"<tool_call>{ONE}", "tool_call", F1),  # marked
    (f"<tool_call>{ONE}<tool_call>{ONE}</tool_call>", "tool_call", F1 * 2),
    (f"<tool_call>[{ONE}, {ONE}]</tool_call>", "tool_call", F1 * 2),
    ("<tool_call>{'name': 'f', 'arguments': {'a': True}}</tool_call>", "tool_call", [["f", {"a": True}]]),
    (
        '<tool_call>{"name": "f", "arguments": {"a": "x < y & z"}}</tool_call>',
        "tool_call",
        [["f", {"a": "x < y & z"}]],
    ),
    ("<tool_call>```json\n" + ONE + "\n```</tool_call>", "tool_call", F1),
    ('<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call>', "tool_call", F1),
    ('<tool_call>{"name": "f"}</tool_call>', "tool_call", [["f", {}]]),
    ('<tool_call>{"name": "f", "arguments": null}</tool_call>', "tool_call", [["f", {}]]),
    ('<tool_call>{"name": "f", "arguments": [1]}</tool_call>', "tool_call", None),
    ('<tool_call>{"name": "f", "arguments": {"a": 1}</tool_call>', "tool_call", None),
    ("<tool_call>f(a=1)</tool_call>", "tool_call", None),
    ("<tool_call></tool_call>", "tool_call", None),
    (ONE, "tool_call", None),
    (ONE, "json", F1),
    (f"[{ONE}]", "json", F1),
    (f"```json\n{ONE}\n```", "json", F1),
    (f"```json\n[{ONE}, {ONE}]\n```", "json", F1 * 2),
    (f"{ONE}\n{ONE}", "json", F1 * 2),
    ('{"name": "f", "parameters": {"a": 1}}', "json", F1),
    ('{"function": "f", "args": {"a": 1}}', "json", F1),
    ('{"type": "function", "function": {"name": "f", "arguments": "{\\"a\\": 1}"}}', "json", F1),
    ('{"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}', "json", F1),
    (
        '{"name": "f", "arguments": {"a": {"b": [1, {"c": null}]}}}',
        "json",
        [["f", {"a": {"b": [1, {"c": None}]}}]],
    ),
    ('{"name": "f", "arguments": "not json"}', "json", None),
    ('{"city": "Lima"}', "json", None),
    ('{"name": "f", "arguments": {"a": 1}', "json", None),
    ("{'name': 'f'}", "json", None),
    ("f(a=1)", "python", F1),
    ("[f(a=1)]", "python", F1),
    ("[f(a=1), f(a=1)]", "python", F1 * 2),
    ("```python\n[f(a=1)]\n```", "python", F1),
    ("```tool_code\nf(a=1)\n```", "python", F1),
    (
        "a.b.c(x='1', y=[1, 2.5], z={'k': None})",
        "python",
        [["a.b.c", {"x": "1", "y": [1, 2.5], "z": {"k": None}}]],
    ),
    ("f(a=-1, b=+5)", "python", [["f", {"a": -1, "b": 5}]]),
    ("f(a=true, b=null)", "python", [["f", {"a": True, "b": None}]]),
    ("f(1)", "python", [["f", {"*0": 1}]]),  # marked
    ("f()", "python", [["f", {}]]),
    ("f(a=not True)", "python", None),
    ("f(a=1 + 2)", "python", None),
    ("f(a=lambda: 0)", "python", None),
    ("f(a=g())", "python", None),
    ("f(a=x)", "python", None),
    ("f(a=[i for i in range(9)])", "python", None),
    ("f(**{'a': 1})", "python", None),
    ("f(a=1, a=2)", "python", None),
    ("f(a=f'{1}')", "python", None),
    ("f(a=b'1')", "python", None),
    ("f(a=1j)", "python", None),
    ("f(a={1: 2})", "python", None),
    ("(lambda: 0)()", "python", None),
    ("__import__('os').system('true')", "python", None),
    ("[]", "no_call", []),
    ("I cannot do that.", "no_call", []),
    (f"<tool_call>{ONE}", "no_call", None),
    ("<tool_call>{broken", "no_call", None),
    ("f(a=x)", "no_call", None),
    ("{'name': 'f', 'arguments': {'a': 1}}", "no_call", None),
    ("```json\n{'arguments': {}}\n```", "no_call", None),
    ("weather.get('Lima'", "no_call", None),
    ("The weather (in Lima) is fine.", "no_call", []),
    ("", "no_call", None),
]


@pytest.mark.parametrize(("text", "rule", "wanted"), CASES)
def test_rule(text: str, rule: str, wanted: Any) -> None:
    found = CALL.rules[rule].read(text, sample())
    assert (None if found is None else json.loads(str(found.value))) == wanted


def test_what_is_uncertain_is_marked() -> None:
    def marks(rule: str, text: str) -> tuple[str, ...]:
        found = CALL.rules[rule].read(text, sample())
        assert found is not None
        return found.marks

    assert marks("tool_call", f"<tool_call>{ONE}") == ("tool_call not closed",)
    assert marks("python", "f(1)") == ("positional arguments",)
    assert marks("json", f"I call {ONE}") == ("text around the call",)
    assert marks("json", f"```json\n{ONE}\n```") == ()


def test_nothing_is_evaluated(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for text in (
        f"f(a=open({str(mark)!r}, 'w'))",
        f"f(a=1 if open({str(mark)!r}, 'w') else 2)",
        f"[open({str(mark)!r}, 'w')]",
    ):
        for rule in CALL.rules.values():
            rule.read(text, sample())
    assert not mark.exists()


def test_figures_beside_the_verdict() -> None:
    def call(**arguments: Any) -> str:
        return "<tool_call>" + json.dumps({"name": "weather.get", "arguments": arguments}) + "</tool_call>"

    right = grade(call(city="Lima", days=2), LIMA)
    assert (right.verdict, set(right.metrics.values())) == ("right", {1.0})
    other = grade(call(city="Lima", days=3), LIMA)
    assert other.verdict == "wrong"
    assert other.metrics == {"json_valid": 1, "name_match": 1, "args_exact": 0, "args_f1": 0.5, "ast": 0}
    more = grade(call(city="Lima", days=2, wet=True), LIMA)
    assert more.metrics["args_f1"] == pytest.approx(0.8)
    assert grade(call(city="Lima", days=2.0), LIMA).metrics["args_exact"] == 1.0  # equal as JSON
    assert (
        grade(call(city="Lima", days=True), {**LIMA, "arguments": {"city": "Lima", "days": 1}}).verdict
        == "wrong"
    )
    literal = grade(
        "<tool_call>{'name': 'weather.get', 'arguments': {'city': 'Lima', 'days': 2}}</tool_call>", LIMA
    )
    assert (literal.verdict, literal.metrics["json_valid"]) == ("right", 0.0)
    assert grade(call(city="Lima", days=2), LIMA, LIMA).metrics["name_match"] == 0.0


def test_the_four_cases_and_declining() -> None:
    assert grade("I cannot do that.").verdict == "right"
    assert grade("I cannot do that.").marks == ("no call",)
    assert grade("I cannot do that.", LIMA).verdict == "wrong"
    # A call that cannot be read is not a rightly declined one.
    assert (grade("<tool_call>{oops</tool_call>").verdict, grade("<tool_call>{oops</tool_call>").reason) == (
        "no_answer",
        "unparsed",
    )
    assert grade("", LIMA).reason == "empty"
    assert grade('<tool_call>{"name": "weather', LIMA, finish="length").reason == "truncated"
    whole = f"<tool_call>{json.dumps(LIMA)}</tool_call>"
    assert grade(f"{whole}\nNow I", LIMA, finish="length").verdict == "right"
    assert grade(f"{whole}\n<tool_call>", LIMA, finish="length").reason == "truncated"


BFCL: list[tuple[dict[str, Any], list[dict[str, Any]], bool]] = [
    ({"city": ["Lima"], "days": [2]}, [{"city": "Lima", "days": 2}], True),
    ({"city": ["Lima, Peru"], "days": [2]}, [{"city": "lima peru", "days": 2}], True),  # case and signs
    ({"city": ["Lima"], "days": [2]}, [{"city": "Lima", "days": 2.0}], False),  # a float is no integer
    ({"city": ["Lima"], "days": [1]}, [{"city": "Lima", "days": True}], False),  # nor is a boolean
    ({"city": ["Lima"], "days": [2]}, [{"city": "Lima", "days": "2"}], False),
    ({"city": ["Lima"], "days": [2], "share": [5.0, ""]}, [{"city": "Lima", "days": 2}], True),
    ({"city": ["Lima"], "days": [2], "share": [5.0]}, [{"city": "Lima", "days": 2}], False),
    ({"city": ["Lima"], "days": [2], "share": [5.0]}, [{"city": "Lima", "days": 2, "share": 5}], True),
    ({"city": ["Lima"], "days": [2]}, [{"city": "Lima", "days": 2, "wet": True}], False),  # not asked for
    ({"city": ["Lima"], "days": [2], "wet": [True, ""]}, [{"city": "Lima", "days": 2, "wet": True}], True),
    ({"city": ["Lima"], "days": [2]}, [{"city": "Lima"}], False),
    ({"city": ["Lima", "Callao"], "days": [2, 3]}, [{"city": "Callao", "days": 3}], True),
    (
        {"city": ["L"], "days": [2], "tags": [["a b", "c"]]},
        [{"city": "L", "days": 2, "tags": ["A-B", "c"]}],
        True,
    ),
    (
        {"city": ["L"], "days": [2], "tags": [["a", "c"]]},
        [{"city": "L", "days": 2, "tags": ["c", "a"]}],
        False,
    ),
    ({"city": ["L"], "days": [2], "tags": [["a"]]}, [{"city": "L", "days": 2, "tags": [1]}], False),
    ({"city": ["Lima"], "days": [2]}, [{"city": "Lima", "days": 2}] * 2, False),
]


@pytest.mark.parametrize(("accepted", "given", "right"), BFCL)
def test_the_rules_of_the_leaderboard(
    accepted: dict[str, Any], given: list[dict[str, Any]], right: bool
) -> None:
    made = sample({"weather.get": accepted})
    for name in ("weather.get", "weather_get"):
        made_calls = [calls.Call(name, arguments) for arguments in given]
        assert call_rules.ast_rules(made_calls, made) is right


def test_parallel_calls_come_in_any_order() -> None:
    made = sample(
        {"weather.get": {"city": ["A"], "days": [1]}}, {"weather.get": {"city": ["B"], "days": [2]}}
    )
    two = [
        calls.Call("weather.get", {"city": "B", "days": 2}),
        calls.Call("weather.get", {"city": "A", "days": 1}),
    ]
    assert call_rules.ast_rules(two, made)
    assert not call_rules.ast_rules(two[:1], made)
    assert not call_rules.ast_rules([two[0], two[0]], made)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)


@given(names, st.dictionaries(names, values, max_size=4))
def test_any_call_is_read_back_in_each_notation(name: str, arguments: dict[str, Any]) -> None:
    if name in ("tool_call", "None"):
        return
    written = json.dumps({"name": name, "arguments": arguments})
    wanted = calls.value_of([calls.Call(name, arguments)])
    assert CALL.rules["json"].read(written, sample()).value == wanted  # type: ignore[union-attr]
    block = CALL.rules["tool_call"].read(f"<tool_call>{written}</tool_call>", sample())
    if "tool_call>" not in written:
        assert block is not None
        assert block.value == wanted
    exact = Sample("s", "q", json.dumps([{"name": name, "arguments": arguments}]))
    assert call_rules.exact([calls.Call(name, arguments)], exact)


@given(st.text(alphabet=st.sampled_from("f(a=1)[]{}\"':,<>/tool_cn \n`.-+*")))
def test_no_text_raises(text: str) -> None:
    for rule in CALL.rules.values():
        rule.read(text, sample())
    grade(text, LIMA)


def test_bad_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for row, said in [
        ({"question": "q", "tools": [{}], "answer": []}, "line 1: `tools` is not a list of functions"),
        ({"question": "q", "tools": TOOLS, "answer": [{"f": 1}]}, "line 1: `answer` is not a list of calls"),
        ({"question": "", "tools": TOOLS, "answer": []}, "line 1: no text in `question`"),
    ]:
        path.write_text(json.dumps(row) + "\n")
        with pytest.raises(DataError) as caught:
            TASK.load(TaskSpec(name="function_calling", path=str(path)))
        assert said in str(caught.value)


def bfcl_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "bfcl"
    (folder / "possible_answer").mkdir(parents=True)
    question = {"question": [[{"role": "user", "content": "Lima, 2 days?"}]], "function": TOOLS}
    rows = [{"id": "multiple_0", **question}, {"id": "multiple_1", **question, "question": [[], []]}]
    right = {"id": "multiple_0", "ground_truth": [{"weather.get": {"city": ["Lima"], "days": [2]}}]}
    (folder / "BFCL_v4_multiple.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "BFCL_v4_irrelevance.json").write_text(json.dumps({"id": "irrelevance_0", **question}) + "\n")
    (folder / "possible_answer" / "BFCL_v4_multiple.json").write_text(json.dumps(right) + "\n")
    return folder


def test_the_leaderboards_files_are_joined(tmp_path: Path) -> None:
    spec = TaskSpec(name="function_calling", path=str(bfcl_folder(tmp_path)), style="python")
    loaded = TASK.load(spec)
    assert [(s.id, s.category) for s in loaded.samples] == [
        ("irrelevance_0", "irrelevance"),
        ("multiple_0", "multiple"),
    ]
    assert "1 of 3 rows were left out" in loaded.notes[0]
    none, one = loaded.samples
    assert TASK.grade(one, "[weather_get(city='LIMA', days=2)]", "stop", spec).verdict == "right"
    assert TASK.grade(one, "[weather_get(city='LIMA', days='2')]", "stop", spec).verdict == "wrong"
    assert TASK.grade(none, "None of them fits.", "stop", spec).verdict == "right"
    assert TASK.grade(none, "[weather_get(city='LIMA'", "stop", spec).verdict == "no_answer"


@pytest.mark.skipif("GPUSESS_BFCL" not in os.environ, reason="GPUSESS_BFCL names no folder with BFCL's files")
def test_right_answers_of_the_leaderboard_are_right() -> None:
    spec = TaskSpec(name="function_calling", path=os.environ["GPUSESS_BFCL"], style="json")
    loaded = TASK.load(spec)
    wrong = []
    for one in loaded.samples:
        reply = []
        for call in json.loads(one.gold):
            ((name, accepted),) = call.items()
            filled = {key: _filled(values[0]) for key, values in accepted.items() if values[0] != ""}
            reply.append({"name": name, "arguments": filled})
        if TASK.grade(one, json.dumps(reply), "stop", spec).verdict != "right":
            wrong.append(one.id)
    assert len(wrong) <= 0.01 * len(loaded.samples), wrong


def _filled(value: Any) -> Any:
    """An accepted value as a model would write it: of inner objects, the first that is accepted."""
    if isinstance(value, dict):
        return {
            key: _filled(inner[0])
            for key, inner in value.items()
            if isinstance(inner, list) and inner[0] != ""
        }
    if isinstance(value, list):
        return [_filled(item) for item in value]
    return value
