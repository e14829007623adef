"""Where `deploy.sh` takes its parameters from, and which ones it will not take."""

import re
from pathlib import Path

import pytest

from deploy.arguments import options_of
from deploy.parameters import PARAMETERS, ParameterError, read, runtime
from tests.deploy.conftest import ROOT

FLAGS = ("plan", "--project=kitchen-1", "--region=europe-west6")


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    """The nearer word counts."""
    file = tmp_path / "deploy.env"
    file.write_text("LIBRA_GROUP_SIZE=100\nLIBRA_LINGER_MS=7\nTHREADS=40\n", encoding="utf-8")
    values = read({"LIBRA_GROUP_SIZE": "300"}, {"LIBRA_GROUP_SIZE": "200", "LIBRA_LINGER_MS": "8"}, file)
    assert (values["LIBRA_GROUP_SIZE"], values["LIBRA_LINGER_MS"], values["THREADS"]) == ("300", "8", "40")


def test_the_file_may_hold_comments_and_quotes(tmp_path: Path) -> None:
    """A `deploy.env` reads like any other, and nothing in it is run."""
    file = tmp_path / "deploy.env"
    file.write_text('# ours\n\nLIBRA_SCHEDULE="0 3 * * *"\nLIBRA_TIME_ACTION=$(id)\n', encoding="utf-8")
    values = read({}, {}, file)
    assert (values["LIBRA_SCHEDULE"], values["LIBRA_TIME_ACTION"]) == ("0 3 * * *", "$(id)")


@pytest.mark.parametrize("line", ["LIBRA_REGOIN=europe-west6", "LIBRA_REGION", "export LIBRA_REGION=x"])
def test_a_line_that_names_no_parameter_is_refused(tmp_path: Path, line: str) -> None:
    """A mistyped variable would otherwise be a default in disguise; the message names file and line."""
    file = tmp_path / "deploy.env"
    file.write_text(f"# ours\n{line}\n", encoding="utf-8")
    with pytest.raises(ParameterError, match=r"deploy\.env, line 2: .*is not VARIABLE=VALUE"):
        read({}, {}, file)


def test_a_variable_of_the_emulator_is_not_passed_on() -> None:
    """A shell that points at an emulator does not deploy functions that do."""
    values = options_of(FLAGS, {"FIRESTORE_EMULATOR_HOST": "127.0.0.1:8080"}).values
    assert not [name for name in runtime(values) if "EMULATOR" in name]


def test_what_is_exported_on_this_machine_is_no_parameter() -> None:
    """`libra up` prints exports. A shell that has them must not deploy something else for it."""
    deploys = {it.variable for it in PARAMETERS if "trigger" not in it.read_by}
    texts = {
        file: file.read_text(encoding="utf-8")
        for each in ("cli", "local")
        for file in (ROOT / each).rglob("*.py")
    }
    found = {
        (name, file) for file, text in texts.items() for name in deploys & set(re.findall(r"\b(\w+)=", text))
    }
    assert not found


def test_the_location_and_the_scheduler_follow_the_region() -> None:
    """One region is enough to say."""
    taken = options_of(FLAGS, {}).values
    assert (taken["LIBRA_LOCATION"], taken["LIBRA_SCHEDULER_REGION"]) == ("europe-west6", "europe-west6")


@pytest.mark.parametrize(
    ("location", "region"), [("nam5", "us-central1"), ("eur3", "europe-west4"), ("us-east1", "us-east1")]
)
def test_a_region_may_serve_its_own_location(location: str, region: str) -> None:
    """A multi-region is served from a region in it, a region from itself."""
    flags = ("plan", "--project=kitchen-1", f"--region={region}", f"--location={location}")
    assert options_of(flags, {}).values["LIBRA_LOCATION"] == location


def test_a_value_with_the_separator_is_refused() -> None:
    """gcloud would cut it in two."""
    with pytest.raises(ParameterError, match="'@@'"):
        options_of((*FLAGS, "--time-action=a@@b"), {})


def test_a_value_is_passed_on_as_it_is() -> None:
    """Commas, spaces and quotes in an action's name survive."""
    taken = options_of((*FLAGS, "--time-action=Served, \"hot\" & 'cold'"), {}).values
    assert runtime(taken)["LIBRA_TIME_ACTION"] == "Served, \"hot\" & 'cold'"


@pytest.mark.parametrize("level", ["WARNING", "ERROR"])
def test_a_log_level_that_silences_the_metrics_is_refused(level: str) -> None:
    """An alert that cannot fire is worse than none. Without monitoring, any level will do."""
    with pytest.raises(ParameterError, match=rf"--log-level {level} with --monitoring on: .*INFO"):
        options_of((*FLAGS, f"--log-level={level}"), {})
    assert options_of((*FLAGS, f"--log-level={level}", "--monitoring=off"), {})
    assert options_of((*FLAGS, "--log-level=DEBUG"), {})
    assert options_of(("down", *FLAGS[1:]), {"LIBRA_LOG_LEVEL": level})


@pytest.mark.parametrize("share", ["5%", "5", "-1", "nan"])
def test_a_loss_that_is_no_share_is_refused_by_its_flag(share: str) -> None:
    """The functions would not start with it; what is allowed passes, also through the environment."""
    with pytest.raises(ParameterError, match=r"--max-loss: LIBRA_MAX_LOSS=.*a share from 0 to 1"):
        options_of((*FLAGS, f"--max-loss={share}"), {})
    assert runtime(options_of(FLAGS, {"LIBRA_MAX_LOSS": "1"}).values)["LIBRA_MAX_LOSS"] == "1"
    assert runtime(options_of(FLAGS, {}).values)["LIBRA_MAX_LOSS"] == "0.05"
