"""Settings: read from the environment once, every fault told together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from knative_lambda.handler.settings import BadSettings, Settings, credentials, read, require

CHART = Path(__file__).parents[2] / "deploy" / "charts" / "knative-lambda"


def test_an_empty_environment_gives_the_defaults() -> None:
    assert read({}) == Settings()


def test_every_kind_of_setting_is_read() -> None:
    found = read(
        {
            "KNATIVE_LAMBDA_TENANTS": "demo, acme,",
            "KNATIVE_LAMBDA_THREADS": "3",
            "KNATIVE_LAMBDA_REGISTRY_INSECURE": "true",
            "KNATIVE_LAMBDA_STORE_URL": "s3://bucket",
            "KNATIVE_LAMBDA_BUILD_RESOURCES": '{"limits": {"cpu": "1"}}',
            "OTHER": "ignored",
        }
    )
    assert found.tenants == ("demo", "acme")
    assert (found.threads, found.registry_insecure, found.store_url) == (3, True, "s3://bucket")
    assert found.build_resources == {"limits": {"cpu": "1"}}


def test_all_faults_are_told_together() -> None:
    wrong = {
        "THREADS": "many",
        "REGISTRY_INSECURE": "maybe",
        "BUILD_RESOURCES": "[1]",
        "FUNCTION_RESOURCES": "{",
        "BUILDS_REUSE": "al",
        "ACCESS_API": "hmac",
        "ACCESS_EVENTS": "none,token",
    }
    with pytest.raises(BadSettings) as faults:
        read({f"KNATIVE_LAMBDA_{name}": value for name, value in wrong.items()})
    assert all(name in str(faults.value) for name in wrong)


@pytest.mark.parametrize(
    ("events", "keys", "fault"),
    [
        ("token,hmac", "/keys", ""),
        ("oidc", "", ""),
        ("none,oidc", "", "none stands alone"),
        ("hmac", "", "KNATIVE_LAMBDA_ACCESS_KEYS"),
        ("", "", "one of none, oidc"),
        ("basic", "", "one of none, oidc"),
    ],
)
def test_the_ways_in_are_those_there_are(events: str, keys: str, fault: str) -> None:
    given = {"KNATIVE_LAMBDA_ACCESS_EVENTS": events, "KNATIVE_LAMBDA_ACCESS_KEYS": keys}
    if fault:
        with pytest.raises(BadSettings, match=fault):
            read(given)
    else:
        assert read(given).access_events == tuple(events.split(","))


def test_what_is_missing_is_named_all_of_it() -> None:
    with pytest.raises(BadSettings) as faults:
        require(Settings(), "registry", "store_url")
    assert "KNATIVE_LAMBDA_REGISTRY" in str(faults.value)
    assert "KNATIVE_LAMBDA_STORE_URL" in str(faults.value)


def test_credentials_are_files(tmp_path: Path) -> None:
    (tmp_path / "access-key").write_text("a\n")
    (tmp_path / "secret-key").write_text("b\n")
    assert credentials(str(tmp_path)) == ("a", "b")
    assert credentials("") == ("", "")


def test_a_receiver_without_settings_ends_at_once_and_says_everything_that_is_missing() -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith("KNATIVE_LAMBDA_")}
    ended = subprocess.run(
        [sys.executable, "-m", "knative_lambda.handler", "serve"],
        env={**env, "PYTHONPATH": str(Path(__file__).parents[2] / ".rooms"), "PORT": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    for name in ("TENANTS", "STORE_URL", "REGISTRY", "PYTHON_BASE", "KANIKO_IMAGE"):
        assert f"KNATIVE_LAMBDA_{name}: is not set" in ended.stderr


def test_every_setting_that_the_chart_gives_is_one() -> None:
    given = {
        word.strip("\":,'")
        for path in CHART.rglob("*.tpl")
        for word in path.read_text().split()
        if "KNATIVE_LAMBDA_" in word
    }
    known = {f"KNATIVE_LAMBDA_{name.upper()}" for name in Settings.__dataclass_fields__}
    assert given
    assert {name for name in given if name.isupper()} <= known
