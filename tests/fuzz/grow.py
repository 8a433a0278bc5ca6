"""Fuzz one target, guided by the code that it reaches, and keep what reaches more: `make fuzz` calls this.

python tests/fuzz/grow.py TARGET SECONDS. What fails is kept beside the others, so that each run of the tests shows it
from then on.
"""

import logging
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / ".rooms")]
with atheris.instrument_imports(include=["knative_lambda"]):
    from fuzz.targets import TARGETS

LARGEST, SLOWEST = 8192, 20
"""Bytes that are tried at once, and seconds that they may take."""


def fuzz(target: str, *arguments: str) -> None:
    """Have libFuzzer do what its arguments say; it ends the process."""
    logging.disable(logging.CRITICAL)
    itself = f"{sys.executable} {__file__} {target}"  # it starts its helpers by this, through a shell
    atheris.Setup([itself, f"-max_len={LARGEST}", f"-timeout={SLOWEST}", *arguments], TARGETS[target])
    atheris.Fuzz()


def grow(target: str, seconds: str) -> int:
    """Look for so many seconds; return 0 where nothing failed."""
    corpus, command = HERE / "corpus" / target, [sys.executable, __file__, target]
    with tempfile.TemporaryDirectory() as found:
        looked = [f"-max_total_time={seconds}", f"-artifact_prefix={corpus}/", found, str(corpus)]
        failed = subprocess.run([*command, *looked], check=False).returncode
        subprocess.run([*command, "-merge=1", str(corpus), found], check=True)
    return failed


if __name__ == "__main__":
    target, *how = sys.argv[1:]
    if how[0].startswith("-"):
        fuzz(target, *how)
    sys.exit(grow(target, how[0]))
