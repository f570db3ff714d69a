"""Stand-ins for e-log servers: they take entries, refuse, fail or hang, as they are told."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SESSION = "session-0123456789"


class ElogServer:
    """An HTTP server with ICAT+'s routes as HZB's beamlines use them, and PSI ELOG's form."""

    def __init__(self, port: int = 0) -> None:
        self.entries: list[str] = []
        self.behaviour = "takes"
        """``takes``, ``hangs`` (before), ``takes and hangs``, or an HTTP status as a text."""
        self.logins = 0
        self.released = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                owner.post(self, self.path, body)

            def do_GET(self) -> None:
                owner.get(self, self.path)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, handler: BaseHTTPRequestHandler, path: str, body: bytes) -> None:
        if path == "/session":
            self.logins += 1
            who = json.loads(body)
            known = who["password"] == "right"
            answer(handler, 200 if known else 401, {"sessionId": SESSION})
            return
        if self.behaviour == "hangs":
            self.released.wait(30)
            return
        if self.behaviour.isdigit():
            answer(handler, int(self.behaviour), {})
            return
        text = body.decode("utf-8", "replace")
        if path.startswith("/demo"):
            self.entries.append(text)
            answer(handler, 302, {}, f"{self.url}/demo/{len(self.entries)}")
            return
        assert path == f"/logbook/{SESSION}/investigation/id/4711/event/create", path
        self.entries.append(json.loads(body)["content"][0]["text"])
        if self.behaviour == "takes and hangs":
            self.released.wait(30)
            return
        answer(handler, 200, {"_id": len(self.entries)})

    def get(self, handler: BaseHTTPRequestHandler, path: str) -> None:
        search = path.rpartition("search=" if "search=" in path else "subtext=")[2].split("&")[0]
        if path.startswith(f"/catalogue/{SESSION}/"):
            known = {"id": 4711, "name": "PEAXIS:242-12345", "title": "Nitrogen"}
            answer(handler, 200, [known])
            return
        answer(handler, 200, [entry for entry in self.entries if search in entry])

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def answer(handler: BaseHTTPRequestHandler, status: int, content: Any, location: str = "") -> None:
    body = json.dumps(content).encode()
    try:
        handler.send_response(status)
        if location:
            handler.send_header("Location", location)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
    except OSError:
        pass  # who asked has gone


def wait_until(condition: Any, timeout: float = 30.0) -> None:
    """Return when the condition holds; fail if that takes too long on any machine."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
