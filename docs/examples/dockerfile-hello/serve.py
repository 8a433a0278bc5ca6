"""Answers CloudEvents with nothing but Python's standard library: what an image of one's own has to do."""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    """Takes events in binary mode: attributes in headers, data in the body."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        """Answer an event with an event."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if not all(self.headers.get(f"ce-{name}") for name in ("specversion", "id", "source", "type")):
            self.answer(400, {}, b"not a CloudEvent in binary mode\n")
            return
        try:
            name = json.loads(body or b"{}").get("name", "world")
        except (ValueError, AttributeError):
            self.answer(400, {}, b"the data is no JSON object\n")
            return
        reply = {
            "ce-specversion": "1.0",
            "ce-id": f"{self.headers['ce-id']}-reply",
            "ce-source": f"/functions/{os.environ.get('K_SERVICE', 'hello')}",
            "ce-type": "demo.hello.reply",
            "content-type": "application/json",
        }
        self.answer(200, reply, json.dumps({"hello": name}).encode())

    def answer(self, status, headers, body):
        """Write a whole answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Waits for what is under way when it closes."""

    daemon_threads = False


def main():
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Server(("", int(os.environ.get("PORT", "8080"))), Hello) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
