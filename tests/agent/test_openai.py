"""The openai engine against a real HTTP server with faults, and the worker's path request by request."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remote_agent import worker
from remote_agent.engines import endpoint
from remote_agent.engines.base import EngineError, Prompt, ScoreRequest
from remote_agent.engines.openai import OpenAIEngine
from remote_agent.protocol import EngineSpec, GenerateSpec, Order, TaskSpec

from .conftest import Run
from .endpoint_server import EndpointServer, endpoint_server, error

KEY = "sk-very-secret-4711"


@pytest.fixture
def server() -> Iterator[EndpointServer]:
    with endpoint_server() as found:
        yield found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "FIRST_PAUSE", 0.01)


def make_run(folder: Path, server: EndpointServer, samples: int = 12, **engine: Any) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    spec = EngineSpec(name="openai", base_url=server.url, **{"concurrency": 4, "retries": 3, **engine})
    order = Order(
        run=folder.name, name="test", model="small-model", model_id="small-model",
        task=TaskSpec(name="word_problems", limit=samples), engine=spec,
        generate=GenerateSpec(max_tokens=64, temperature=0.5),
    )  # fmt: skip
    run = Run(folder, order)
    run.save()
    return run


def made(server: EndpointServer, **engine: Any) -> OpenAIEngine:
    order = Order(
        run="r", name="r", model="small-model", model_id="m", task=TaskSpec(name="word_problems"),
        engine=EngineSpec(name="openai", base_url=server.url, **{"concurrency": 3, "retries": 3, **engine}),
        generate=GenerateSpec(max_tokens=9, top_p=0.9),
    )  # fmt: skip
    found = OpenAIEngine(order)
    found.prepare()
    found.load()
    return found


CHAT = ({"role": "system", "content": "be brief"}, {"role": "user", "content": "two and two?"})


def test_a_chat_goes_as_messages_and_plain_text_as_a_prompt(server: EndpointServer) -> None:
    engine = made(server)
    text = engine.render(CHAT)
    assert text == "system: be brief\nuser: two and two?\nassistant:"
    chat, plain = engine.generate([Prompt(text, 7, stop=("\n\n",), messages=CHAT), Prompt("once upon", 8)])
    assert (chat.text, chat.tokens_in, chat.finish, chat.logprob) == ("so\n#### 4", 3, "stop", -0.75)
    assert plain.logprob is None
    sent = {("messages" in body): body for body in server.requests}
    assert sent[True] == {
        "model": "small-model", "messages": list(CHAT), "max_tokens": 9, "temperature": 0.0, "top_p": 0.9,
        "stop": ["\n\n"], "seed": 7, "logprobs": True,
    }  # fmt: skip
    assert sent[False]["prompt"] == "once upon"


def test_refusals_that_pass_are_tried_again(server: EndpointServer) -> None:
    replies = [error(429, "slow down", retry_after="0.01"), error(503, "busy"), "drop", None]
    server.fault = lambda _body, times: replies[times - 1]
    started = time.monotonic()
    assert made(server).generate([Prompt("p", messages=CHAT)])[0].text == "so\n#### 4"
    assert len(server.requests) == 4
    assert time.monotonic() - started < 5


def test_the_endpoints_own_pause_is_kept(server: EndpointServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "FIRST_PAUSE", 30.0)
    server.fault = lambda _body, times: error(429, "wait", retry_after="0.3") if times == 1 else None
    started = time.monotonic()
    made(server).generate([Prompt("p", messages=CHAT)])
    assert 0.3 <= time.monotonic() - started < 5


def test_what_does_not_pass_ends_after_its_tries(server: EndpointServer) -> None:
    server.fault = lambda _body, _times: error(500, "broken inside")
    with pytest.raises(RuntimeError, match=r"answered 500: broken inside, 4 times"):
        made(server).generate([Prompt("p", messages=CHAT)])
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (error(401, f"bad key {KEY}"), "check the secret that `engine.api_key` names"),
        (error(404, "no such model"), "check `engine.base_url` and the model's name"),
        (error(429, "no money", "insufficient_quota"), "add credit to the account"),
    ],
)
def test_what_no_request_survives_is_said_with_the_next_step(
    server: EndpointServer, monkeypatch: pytest.MonkeyPatch, refusal: Any, words: str
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    server.fault = lambda _body, _times: refusal
    engine = made(server, api_key="MY_KEY")
    with pytest.raises(EngineError, match=words) as caught:
        engine.generate([Prompt("p", messages=CHAT)])
    assert KEY not in str(caught.value)
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_a_missing_key_and_address_are_said_before_any_request(server: EndpointServer) -> None:
    with pytest.raises(EngineError, match="list it under `secrets`"):
        made(server, api_key="NOT_SET_ANYWHERE")
    for wrong, words in ((None, "needs `base_url`"), ("localhost:8000", "is no address")):
        order = Order(run="r", name="r", model="m", model_id="m", task=TaskSpec(name="word_problems"),
                      engine=EngineSpec(name="openai", base_url=wrong), generate=GenerateSpec())  # fmt: skip
        with pytest.raises(EngineError, match=words):
            OpenAIEngine(order).prepare()
    order.engine.base_url = "http://127.0.0.1:9/v1"
    order.engine.retries = 0
    engine = OpenAIEngine(order)
    engine.prepare()
    with pytest.raises(EngineError, match="is the server up"):
        engine.load()


def test_a_request_adapts_to_what_the_endpoint_takes(server: EndpointServer) -> None:
    def picky(body: dict[str, Any], _times: int) -> Any:
        if "max_tokens" in body:
            return error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        for name in ("seed", "logprobs"):
            if name in body:
                return error(400, f"{name} is not supported with this model")
        return error(400, "'temperature' does not support 0.5") if body["temperature"] else None

    server.fault = picky
    engine = made(server)
    assert engine.generate([Prompt("p", messages=CHAT)])[0].text == "so\n#### 4"
    sent = len(server.requests)
    engine.generate([Prompt("q", messages=CHAT)])
    assert len(server.requests) == sent + 1
    engine._order.generate.temperature = 0.5  # what decides the result is never dropped
    with pytest.raises(RuntimeError, match="temperature"):
        engine.generate([Prompt("q", messages=CHAT)])


def test_given_answers_are_scored_by_an_echo(server: EndpointServer) -> None:
    (scores,) = made(server).score([ScoreRequest("s", "one two ", ("aaa", "aaa bbbb"))])
    assert [(s.logprob, s.tokens, s.greedy) for s in scores] == [(-3.0, 1, True), (-7.0, 2, False)]
    server.fault = lambda _body, _times: error(400, "echo is not supported")
    with pytest.raises(EngineError, match="cannot score"):
        made(server).score([ScoreRequest("s", "one", (" two",))])


# --- the worker's path request by request --------------------------------------------------------------


def test_a_run_completes_with_cost_and_no_key_on_disk(
    tmp_path: Path, server: EndpointServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    server.pace = 0.02
    run = make_run(tmp_path / "r", server, api_key="MY_KEY", price_in=1.0, price_out=10.0)
    assert worker.main(run.folder) == 0
    results = run.records("result")
    assert len(results) == len(set(run.keys())) == 12
    assert {r["seconds"] > 0 for r in results} == {True}
    assert server.most_at_once == 4
    for r in results:
        assert r["metrics"]["cost"] == pytest.approx((r["tokens_in"] + 10 * r["tokens_out"]) / 1e6)
        assert r["logprob"] == -0.75
    assert len({body["seed"] for body in server.requests}) == 12
    assert all(KEY.encode() not in path.read_bytes() for path in run.folder.iterdir())


def test_each_result_is_begun_before_and_recorded_as_it_comes(tmp_path: Path, server: EndpointServer) -> None:
    run = make_run(tmp_path / "r", server, samples=6, concurrency=2)
    worker.main(run.folder)
    flying: set[tuple[str, int]] = set()
    begins = 0
    for record in run.records():
        if record["kind"] == "begin":
            assert record["more"] == bool(flying)
            flying |= {tuple(key) for key in record["keys"]}
            begins += 1
        elif record["kind"] == "result":
            flying.remove((record["sample"], record["candidate"]))
        assert len(flying) <= 2
    assert begins >= 3


def test_a_sample_that_is_refused_costs_only_itself(tmp_path: Path, server: EndpointServer) -> None:
    run = make_run(tmp_path / "r", server)
    from remote_agent.tasks.word_problems import WordProblems

    bad = WordProblems().load(run.order.task).samples[3]
    server.fault = lambda body, _times: (
        error(400, "flagged by the policy") if bad.question in body["messages"][-1]["content"] else None
    )
    assert worker.main(run.folder) == 0
    (lost,) = run.records("failed")
    assert lost["sample"] == bad.id
    assert "flagged by the policy" in lost["error"]
    assert len(run.records("result")) == 11


@pytest.mark.parametrize(
    ("refusal", "words"),
    [(error(401, "bad"), "check the secret"), (error(500, "broken inside"), "samples in a row failed")],
)
def test_where_no_sample_can_succeed_nothing_is_settled(
    tmp_path: Path, server: EndpointServer, refusal: Any, words: str
) -> None:
    server.fault = lambda _body, _times: refusal
    run = make_run(tmp_path / "r", server, samples=40, retries=0)
    assert worker.main(run.folder) == 3
    assert run.keys() == []
    assert words in run.records("finished")[0]["message"]


def test_killed_in_the_middle_it_loses_and_doubles_nothing(tmp_path: Path, server: EndpointServer) -> None:
    server.pace = 0.15
    run = make_run(tmp_path / "r", server, samples=24)
    process = run.start()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and len(run.journal.read_bytes() if run.journal.exists() else b"") == 0:
        time.sleep(0.02)
    while time.monotonic() < deadline and len(run.records("result")) < 6:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = run.keys()
    assert 6 <= len(done) < 24
    server.pace = 0.0
    assert worker.main(run.folder, after="SIGKILL", blamed=False) == 0
    assert run.keys()[: len(done)] == done
    assert len(set(run.keys())) == len(run.keys()) == 24
    (crash,) = run.records("crash")
    assert 0 < len(crash["keys"]) <= 4
    assert not {tuple(key) for key in crash["keys"]} & set(done)


def test_what_was_in_flight_at_a_death_is_computed_alone(tmp_path: Path, server: EndpointServer) -> None:
    run = make_run(tmp_path / "r", server, samples=10)
    code = (
        "import os, signal\nfrom remote_agent.engines import openai\ncalm = openai.OpenAIEngine.finished\n"
        "def finished(self, times=[0]):\n    times[0] += 1\n"
        "    if times[0] == 2:\n        os.kill(os.getpid(), signal.SIGSEGV)\n    return calm(self)\n"
        "openai.OpenAIEngine.finished = finished"
    )
    process = run.start(code=code)
    process.communicate()
    assert process.returncode == -signal.SIGSEGV
    assert worker.main(run.folder, after="SIGSEGV", blamed=True) == 0
    assert len(set(run.keys())) == len(run.keys()) == 10
    (crash,) = run.records("crash")
    suspects = [tuple(key) for key in crash["keys"]]
    assert 0 < len(suspects) <= 4
    alone = [r["keys"][0] for r in run.records("begin") if len(r["keys"]) == 1 and not r["more"]]
    assert set(suspects) <= {tuple(key) for key in alone}
    assert run.keys()[-len(suspects) :] == [tuple(key) for key in alone[-len(suspects) :]]
