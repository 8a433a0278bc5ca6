"""HTTP functions as people write them for functions-framework."""

import functions_framework
from flask import Request, abort, jsonify, make_response, request


@functions_framework.http
def hello(request: Request) -> str:
    """Greet whom the JSON, or the query, names."""
    given = request.get_json(silent=True) or request.args
    return f"Hello {given.get('name', 'World')}!"


@functions_framework.http
def echo(req: Request) -> object:
    if request.path == "/missing":  # Flask's own proxy, which knows the request too
        abort(404)
    seen = {
        "method": req.method,
        "path": req.path,
        "x": req.args.getlist("x"),
        "one": req.headers.get("X-One"),
        "body": req.get_data(as_text=True),
    }
    if req.method != "PATCH":
        return seen
    answer = make_response(jsonify(seen), 201)
    answer.headers["X-Made"] = "here"
    return answer


@functions_framework.errorhandler(ZeroDivisionError)
def teapot(_error: ZeroDivisionError) -> tuple[str, int]:
    return "short and stout", 418


@functions_framework.http
def fails(request: Request) -> object:
    if "handled" in request.args:
        return 1 / 0
    raise LookupError("the password is 1234")
