"""A small HTTP server that speaks OpenAI's completions, with the faults that a test orders."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, dict[str, Any], dict[str, str]]
"""Status, JSON and headers."""


def error(status: int, message: str, code: str = "", **headers: str) -> Reply:
    return status, {"error": {"message": message, "code": code}}, headers


@dataclass
class EndpointServer:
    """`answer` is given the question's last line and the request; `fault` may return a refusal instead."""

    url: str = ""
    answer: Callable[[str], str] = lambda _: "so\n#### 4"
    fault: Callable[[dict[str, Any], int], Reply | str | None] = lambda _body, _time: None
    pace: float = 0.0
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    most_at_once: int = 0
    now: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, path: str, body: dict[str, Any]) -> Reply | str:
        """The answer to a request; the word `drop` cuts the connection."""
        text = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        with self.lock:
            self.requests.append(body)
            self.seen[text] += 1
            times = self.seen[text]
        refusal = self.fault(body, times)
        if refusal is not None:
            return refusal
        time.sleep(self.pace)
        said = self.answer(text)
        usage = {"prompt_tokens": len(text.split()), "completion_tokens": len(said.split())}
        choice: dict[str, Any] = {"finish_reason": "stop"}
        if "chat" in path:
            choice |= {
                "message": {"role": "assistant", "content": said},
                "logprobs": {"content": [{"logprob": -0.5}, {"logprob": -0.25}]},
            }
        elif body.get("echo"):
            choice |= {"text": text, "logprobs": echoed(text)}
        else:
            choice |= {"text": said}
        return 200, {"choices": [choice], "usage": usage}, {}


def echoed(text: str) -> dict[str, Any]:
    """Each word a token; the longer a word, the less likely. No word of more than three letters is greedy."""
    tokens, offsets, at = [], [], 0
    for word in text.split(" "):
        token = word if at == 0 else f" {word}"
        tokens.append(token)
        offsets.append(at)
        at += len(token)
    logprobs = [None, *(-float(len(t.strip())) for t in tokens[1:])]
    top = [None, *({"xyz": -3.0} for _ in tokens[1:])]
    return {"tokens": tokens, "text_offset": offsets, "token_logprobs": logprobs, "top_logprobs": top}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: EndpointServer

    def do_GET(self) -> None:
        self.send(200, {"data": [{"id": "small-model"}]}, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        world = self.world
        with world.lock:
            world.headers.append({k.lower(): v for k, v in self.headers.items()})
            world.now += 1
            world.most_at_once = max(world.most_at_once, world.now)
        try:
            reply = world.reply(self.path, body)
        finally:
            with world.lock:
                world.now -= 1
        if isinstance(reply, str):
            self.close_connection = True
            return
        self.send(*reply)

    def send(self, status: int, body: dict[str, Any], headers: dict[str, str]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def endpoint_server() -> Iterator[EndpointServer]:
    world = EndpointServer()
    handler = type("Handler", (_Handler,), {"world": world})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    world.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield world
    finally:
        server.shutdown()
        server.server_close()
