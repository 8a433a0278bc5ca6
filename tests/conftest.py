"""What holds for all tests, and what a run of them says at its end, beside what passed."""

import contextlib
import os
from collections.abc import Iterator

import hypothesis
import pytest
from support.apiserver import MissingProgramError, api_server

from knative_lambda.schemas import redaction

if (
    "CI" not in os.environ
):  # where it is, hypothesis has a profile for that: nothing is too slow, and the same examples each time
    busy = [hypothesis.HealthCheck.too_slow]  # a machine may be, and nothing is wrong with it
    hypothesis.settings.register_profile("here", deadline=None, suppress_health_check=busy)
    hypothesis.settings.load_profile("here")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many crash points the matrix has found and tried, whoever of the workers did it."""
    told = [
        dict(report.user_properties)
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call"
    ]
    stories = [counts for counts in told if "crash_points" in counts]
    if stories:
        effects, points = (sum(int(counts[of]) for counts in stories) for of in ("effects", "crash_points"))
        terminalreporter.write_line(
            f"crash matrix: {effects} effects in {len(stories)} use cases, the handler killed before and after each: "
            f"{points} crash points"
        )


@pytest.fixture(autouse=True)
def unlearnt() -> Iterator[None]:
    """Let no test hide what another one has called a secret."""
    yield
    for values in redaction._learnt.values():
        values.clear()
    redaction._forms.clear()
    redaction._heads.clear()


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[str]:
    """Yield the path of a kubeconfig; where the server's programs are missing, skip, or fail in CI."""
    with contextlib.ExitStack() as running:
        try:
            path = running.enter_context(api_server())
        except MissingProgramError as error:
            (pytest.fail if "CI" in os.environ else pytest.skip)(str(error))
        yield str(path)
