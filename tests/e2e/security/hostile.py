"""A function that tries what it should not be able to do, and says what it got (see `test_hostile_function`)."""

import os
import pathlib
import socket
import ssl
import urllib.error
import urllib.request

TOKENS = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")


def attempt(what, *arguments):
    """Return what an attempt came to: what it got, or the name of what was in its way."""
    try:
        return f"got {what(*arguments)}"
    except urllib.error.HTTPError as error:
        return f"refused {error.code}"
    except Exception as error:
        return f"refused {type(error).__name__}"


def write(path):
    pathlib.Path(path).write_text("hostile")
    return "written"


def own(path):
    file = pathlib.Path(path)
    file.write_text("hostile")
    os.chown(file, 0, 0)
    return "owned"


def token():
    return f"{len((TOKENS / 'token').read_text())} bytes"


def ask(url, method="GET"):
    lax = ssl.create_default_context()
    lax.check_hostname, lax.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(url, method=method)
    with urllib.request.urlopen(request, timeout=3, context=lax) as answer:
        return answer.status


def root():
    os.setuid(0)
    return "uid 0"


def raw():
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    return "a raw socket"


def chroot(path):
    os.chroot(path)
    return "a root of its own"


def names(part):
    return sorted(name for name in os.environ if part in name)


def handle(event, context):
    asked = event.data
    return {
        "who": f"{os.getuid()}:{os.getgid()}",
        "no new privileges": status("NoNewPrivs"),
        "seccomp": status("Seccomp"),
        "capabilities": status("CapEff"),
        "its own folder": attempt(write, "/function/main.py"),
        "the system's folder": attempt(write, "/etc/passwd"),
        "a folder of its own": attempt(write, "/tmp/mine"),
        "a file for root": attempt(own, "/tmp/roots"),
        "to be root": attempt(root),
        "a raw socket": attempt(raw),
        "a token": attempt(token),
        "services in its environment": names("_SERVICE_HOST"),
        "secrets in its environment": names("SECRET") + names("TOKEN") + names("PASSWORD"),
        **{name: attempt(ask, url) for name, url in asked.items()},
        "another root": attempt(chroot, "/tmp"),  # nothing else can be tried from there
    }


def status(field):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next((line.split()[1] for line in lines if line.startswith(f"{field}:")), "")
