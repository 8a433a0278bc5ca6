"""The Python wrapper starts with what the interpreter has, and with little of that."""

import json
import subprocess
import sys

from support.wrappers import RUNTIMES

PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
import serve
print(json.dumps({name: getattr(module, "__file__", None) for name, module in sys.modules.items()}))
"""


def imported() -> dict[str, str | None]:
    command = [sys.executable, "-S", "-I", "-B", "-c", PROGRAM, str(RUNTIMES / "python")]
    printed = subprocess.run(command, capture_output=True, check=True).stdout
    loaded: dict[str, str | None] = json.loads(printed)
    return loaded


def test_the_wrapper_imports_nothing_but_itself_and_the_standard_library() -> None:
    """So no requirement of a function can conflict with one of ours: we have none."""
    ours = {name for name, file in imported().items() if file and file.startswith(str(RUNTIMES))}
    assert {"serve", "lambda_runtime.server", "lambda_runtime.delivery"} <= ours
    foreign = {name.partition(".")[0] for name in imported()} - sys.stdlib_module_names - {"__main__"}
    assert foreign == {"lambda_runtime", "serve"}


def test_the_wrapper_leaves_asyncio_to_the_functions_that_need_it() -> None:
    """It takes as long to import as all the rest together."""
    assert "asyncio" not in imported()
