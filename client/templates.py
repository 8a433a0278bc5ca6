"""What `init` writes: the smallest function of each runtime that greets whoever an event names."""

from collections.abc import Mapping

PYTHON = '''\
def handle(event, context):
    """Return what becomes the data of the reply."""
    name = (event.data or {}).get("name", "world")
    context.log.info("greeting %s", name)
    return {"hello": name}
'''
NODE = """\
exports.handle = async (event, context) => {
  const name = event.data?.name ?? "world";
  context.log.info(`greeting ${name}`);
  return { hello: name };
};
"""
GO = """\
package function

import (
	"context"

	"knative-lambda.dev/lambda"
)

// Handle returns what becomes the data of the reply.
func Handle(ctx context.Context, event lambda.Event) (any, error) {
	data := struct{ Name string }{"world"}
	if err := event.DataAs(&data); err != nil {
		return nil, err
	}
	lambda.From(ctx).Log.Info("greeting " + data.Name)
	return map[string]string{"hello": data.Name}, nil
}
"""
DOCKERFILE = """\
# Anything that serves HTTP on $PORT: events come by POST, with their attributes in headers.
FROM docker.io/library/python:3.13-slim
COPY serve.py /app/serve.py
USER 65532
CMD ["python3", "/app/serve.py"]
"""
SERVE = '''\
"""Answers every event with a greeting."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hello(BaseHTTPRequestHandler):
    def do_POST(self):
        data = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))) or b"{}")
        body = json.dumps({"hello": data.get("name", "world")}).encode()
        self.send_response(200)
        self.send_header("ce-specversion", "1.0")
        self.send_header("ce-id", self.headers.get("ce-id", "") + "-reply")
        self.send_header("ce-source", "/functions/" + os.environ.get("K_SERVICE", "hello"))
        self.send_header("ce-type", "demo.hello.reply")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), Hello).serve_forever()
'''
SETTINGS = """\
# The fields of a build.start event but tenant and source; `knative-lambda deploy --help` has the usual ones as options.
name: {name}
runtime: {runtime}
triggers:
  - type: demo.{name}
"""
FILES: Mapping[str, Mapping[str, str]] = {
    "python": {"main.py": PYTHON},
    "node": {"index.js": NODE},
    "go": {"handle.go": GO},
    "dockerfile": {"Dockerfile": DOCKERFILE, "serve.py": SERVE},
}
"""Runtime → file → its text."""
