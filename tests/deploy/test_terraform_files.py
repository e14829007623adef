"""The Terraform files: arguments that the provider has, variables that are the parameters, nothing to format.

The provider itself cannot be run here: nothing was validated by it, planned or applied.
"""

import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2
import pytest

from deploy import variables
from deploy.parameters import PARAMETERS, SEPARATOR, read
from tests.deploy.extract_schema import META, TABLE, is_beta, used
from tests.support.both_ways import GIVEN, planned
from tests.support.terraform import FOLDER, ROOT, Module, arguments, parsed, terraform

Json = dict[str, Any]
MODULES = sorted(file.parent for file in FOLDER.rglob("main.tf"))
SCHEMA: Json = json.loads(TABLE.read_text(encoding="utf-8"))


def test_the_variables_are_the_parameters() -> None:
    """Name, default, allowed values, help: one table. Each is used, and none is passed to nothing."""
    assert (FOLDER / "variables.tf").read_text(encoding="utf-8") == variables.text()
    body = "".join((FOLDER / name).read_text(encoding="utf-8") for name in ("main.tf", "locals.tf"))
    unused = [it for it in map(variables.name_of, PARAMETERS) if f"var.{it}" not in body]
    assert unused == []
    assert len(set(map(variables.name_of, PARAMETERS))) == len(PARAMETERS)


def test_a_value_that_is_not_allowed_is_refused() -> None:
    """By Terraform too, with what is allowed."""
    module = Module(FOLDER, {"project_id": "kitchen-1", "region": "zurich", "pitr": "off"})
    with pytest.raises(AssertionError, match="region: where the functions run"):
        module.evaluate("var.region")


def test_recovery_is_told_and_never_kept() -> None:
    """Terraform would switch off a recovery that it is not told of: there is no `keep`, and no default."""
    assert "keep" in {it.flag: it.allowed for it in PARAMETERS}["--pitr"]  # deploy.sh looks, and can
    with pytest.raises(AssertionError, match=r"pitr: .*; allowed is what matches on\|off\."):
        Module(FOLDER, {"project_id": "kitchen-1", "region": "europe-west6", "pitr": "keep"}).evaluate("1")
    (body,) = [body for name, body in parsed(FOLDER, "variable") if name == "pitr"]
    assert "default" not in body


@pytest.mark.parametrize(("recompute", "safe"), [("", True), ("700", True), ("900", True), ("650", False)])
def test_a_lag_that_could_count_twice_is_refused(tmp_path: Path, recompute: str, safe: bool) -> None:
    """The triggers' LAG is never longer than the recompute's, which has its own while it changes."""
    archive = tmp_path / "functions.zip"
    archive.write_bytes(b"a zip")
    given = {"project_id": "kitchen-1", "region": "europe-west6", "pitr": "off"}
    given |= {"functions_archive": str(archive)}
    root = Module(FOLDER, given | {"lag_seconds": "700", "recompute_lag_seconds": recompute})
    called = root.modules()["functions[0]"] | {"secrets": {}, "emails": {}}
    del called["source"]
    functions = Module(FOLDER / "modules" / "functions", called)
    assert functions.evaluate("local.lag_is_safe") == [safe]
    bodies = {
        name: body for kind, name, body in parsed(functions.folder, "resource") if "cloudfunctions" in kind
    }
    assert bodies["function"]["lifecycle"][0]["precondition"][0]["condition"] == "${local.lag_is_safe}"


@pytest.mark.parametrize(
    ("secret", "reads"), [("", True), ("reader:1", True), ("books:2", False), ("books:latest", False)]
)
def test_the_api_does_not_read_the_secret_of_the_flush(secret: str, reads: bool) -> None:
    """As deploy.sh refuses it: that role writes bills."""
    given = {"project_id": "kitchen-1", "region": "europe-west6", "pitr": "off", "api": "reader"}
    root = Module(FOLDER, given | {"api_usage_secret": secret, "postgres_secret": "books:2"})
    called = root.modules()["windows[0]"]
    del called["source"]
    windows = Module(FOLDER / "modules" / "windows", called)
    assert windows.evaluate("local.only_reads") == [reads]
    bodies = {name: body for _, name, body in parsed(windows.folder, "resource")}
    assert bodies["caller"]["lifecycle"][0]["precondition"][0]["condition"] == "${local.only_reads}"


def test_a_log_level_that_silences_the_metrics_is_refused() -> None:
    """As deploy.sh refuses it: the alerts would never fire."""
    folder = FOLDER / "modules" / "monitoring"
    given = {
        "project_id": "p",
        "notify": "",
        "runbook": "r",
        "worker_pool_name": "w",
        "sources": str(ROOT),
    } | {"usage": True, "ingestion": True}
    for level, counted in (("WARNING", False), ("DEBUG", True)):
        assert Module(folder, given | {"log_level": level}).evaluate("local.is_counted") == [counted]
    bodies = {name: body for _, name, body in parsed(folder, "resource")}
    assert bodies["metric"]["lifecycle"][0]["precondition"][0]["condition"] == "${local.is_counted}"


def test_the_metrics_of_the_worker_follow_the_name_of_its_pool() -> None:
    """Terraform lets it have another one, and a filter on the usual one would count nothing."""
    given = {"project_id": "p", "notify": "", "runbook": "r", "log_level": "INFO", "sources": str(ROOT)} | {
        "usage": True,
        "ingestion": True,
    }
    module = Module(FOLDER / "modules" / "monitoring", given | {"worker_pool_name": "kitchen-pool"})
    (filters,) = module.evaluate("[for name, metric in local.metrics : metric.filter]")
    of_pools = [it for it in filters if "cloud_run_worker_pool" in it]
    assert of_pools
    assert all('worker_pool_name="kitchen-pool"' in it for it in of_pools)


def test_the_example_names_variables_and_allowed_values() -> None:
    """What is given to Infrastructure Manager as inputs is understood."""
    with (FOLDER / "example.tfvars").open(encoding="utf-8") as opened:
        given = {name: it.strip('"') for name, it in arguments(hcl2.load(opened)).items()}
    known = {name for name, _ in parsed(FOLDER, "variable")}
    assert given.keys() <= known
    assert Module(FOLDER, given).evaluate("var.project_id", "var.notify") == ["kitchen-prod", "1234567890"]


def test_the_command_of_infrastructure_manager_is_one(gcloud: str) -> None:
    """Its flags are those that gcloud has."""
    page = (ROOT / "docs" / "terraform.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^gcloud (infra-manager deployments apply) (.*)$", page, re.MULTILINE)
    told = subprocess.run([gcloud, *command[0].split(), "--help"], capture_output=True, text=True, check=True)
    for flag in re.findall(r"--[a-z-]+", command[1]):
        assert flag in told.stdout, flag


def test_the_folder_of_infrastructure_manager_has_what_the_files_read(tmp_path: Path) -> None:
    """It takes one folder. The page says what is copied into it."""
    page = (ROOT / "docs" / "terraform.md").read_text(encoding="utf-8")
    recipe = page.partition("## Infrastructure Manager")[2].partition("```bash\n")[2].partition("gcloud ")[0]
    script = recipe.replace("build/infra", str(tmp_path / "infra"))
    subprocess.run(["bash", "-euc", script], cwd=ROOT, check=True)
    texts = [file.read_text(encoding="utf-8") for file in FOLDER.rglob("*.tf")]
    read_ones = {it for text in texts for it in re.findall(r"\$\{var\.sources\}/([\w./-]+)", text)}
    assert len(read_ones) > 4
    for each in read_ones:
        assert (tmp_path / "infra" / each).exists(), each


@pytest.mark.parametrize("name", ["api", "collector"])
def test_the_images_start_as_deploy_sh_starts_them(name: str) -> None:
    """A service has no Procfile: the command of the page says the entry point and the version of Python."""
    (deployed,) = (
        command
        for command in planned(read({}, GIVEN, ROOT / "none.env"))
        if command[1:4] == ["run", "deploy", f"libra-{name}"]
    )
    (flag,) = (word for word in deployed if word.startswith("--set-build-env-vars="))
    entry, version = flag.partition("=")[2].removeprefix(f"^{SEPARATOR}^").split(SEPARATOR)
    page = (ROOT / "docs" / "terraform.md").read_text(encoding="utf-8")
    (command,) = re.findall(rf"^gcloud builds submit build/{name} (.*)$", page, re.MULTILINE)
    (pack,) = (word for word in shlex.split(command) if word.startswith("--pack="))
    image = f"R-docker.pkg.dev/P/libra/libra-{name}"
    assert pack == f"--pack=image={image},env={entry.replace('$', '$$')}"  # Cloud Build reads $$ as $
    assert "," not in entry
    written = re.findall(rf"^printf '(3\.\d+)\\n' .*build/{name}/\.python-version", page, re.MULTILINE)
    assert [f"GOOGLE_PYTHON_VERSION={it}.x" for it in written] == [version]


def test_each_skip_of_checkov_says_why() -> None:
    """`#checkov:skip=CHECK:reason`, the reason in words."""
    text = "".join(file.read_text(encoding="utf-8") for file in FOLDER.rglob("*.tf"))
    skips = re.findall(r"#checkov:skip=(.*)", text)
    assert skips
    assert all(re.fullmatch(r"CKV\w*_\d+:\w+( [^ ]+){4,}", skip) for skip in skips)


def test_terraform_has_nothing_to_format() -> None:
    """`terraform fmt -check`."""
    assert terraform("fmt", "-check", "-recursive", "-diff") == ""


GUARDED = {
    "google_firestore_database.database",
    "google_firestore_backup_schedule.daily",
    "google_firebaserules_release.rules",
    "google_pubsub_topic.topic",
    "google_pubsub_subscription.worker",
    "google_pubsub_subscription.dead",
    "google_pubsub_subscription.warehouse",
    "google_bigquery_dataset.warehouse",
    "google_bigquery_dataset.export",
    "google_bigquery_table.table",
}
"""What holds data, or guards it."""


def test_what_holds_or_guards_data_is_never_destroyed() -> None:
    """Neither by a destroy nor by a variable; the page says how to take each out of the state."""
    blocks = [it for folder in MODULES for it in parsed(folder, "resource")]
    kept = {
        f"{kind}.{name}"
        for kind, name, body in blocks
        if any(each.get("prevent_destroy") is True for each in body.get("lifecycle", []))
    }
    assert kept == GUARDED
    page = (ROOT / "docs" / "terraform.md").read_text(encoding="utf-8")
    removed = " ".join(re.findall(r"^terraform state rm (.*)$", page, re.MULTILINE))
    assert all(re.search(rf"\.{re.escape(it)}(?!\w)", removed) for it in GUARDED)


def test_each_module_waits_for_what_it_only_names() -> None:
    """The database, for triggers and services; the recompute, which the API's account may call."""
    waits = {name: body.get("depends_on", []) for name, body in parsed(FOLDER, "module")}
    assert waits["windows"] == ["${module.core}", "${module.functions}"]
    assert waits["functions"] == waits["doors"] == ["${module.core}"]


def test_terraform_destroys_nothing_guarded_when_its_module_is_switched_off(tmp_path: Path) -> None:
    """The count of a module becomes 0, as that of `doors`: Terraform refuses. The resource is its own."""
    (tmp_path / "doors").mkdir()
    guard = "lifecycle {\n  prevent_destroy = true\n}"
    (tmp_path / "doors" / "main.tf").write_text(
        f'resource "terraform_data" "topic" {{\nfor_each = toset(["signals"])\n{guard}\n}}\n',
        encoding="utf-8",
    )
    (tmp_path / "main.tf").write_text(
        'variable "on" {}\nmodule "doors" {\nsource = "./doors"\ncount = var.on ? 1 : 0\n}\n',
        encoding="utf-8",
    )
    terraform("init", cwd=tmp_path)
    terraform("apply", "-auto-approve", "-var=on=true", cwd=tmp_path)
    with pytest.raises(AssertionError, match=r"topic\[.signals.\] has lifecycle.prevent_destroy set"):
        terraform("plan", "-var=on=false", cwd=tmp_path)


@pytest.mark.parametrize("folder", MODULES, ids=lambda it: it.relative_to(FOLDER).as_posix())
def test_every_argument_is_one_that_the_provider_has(folder: Path) -> None:
    """Known names, required ones present, blocks where blocks belong: provider_schema.json."""
    for kind in ("resource", "data"):
        for name, label, body in parsed(folder, kind):
            schema = SCHEMA[f"data.{name}" if kind == "data" else name]
            assert list(faults(arguments(body), schema)) == [], f"{name}.{label}"


def test_a_resource_of_the_beta_provider_says_so() -> None:
    """Terraform would look for it in the other one, which has it not."""
    blocks = [it for folder in MODULES for it in parsed(folder, "resource")]
    beta = {kind for kind, _, body in blocks if body.get("provider") == "google-beta"}
    assert (
        beta
        == {kind for kind, _, _ in blocks if is_beta(kind)}
        == {
            "google_dataflow_flex_template_job",
            "google_firebase_web_app",
            "google_firebase_hosting_site",
        }
    )


def faults(body: Json, schema: Json) -> Iterator[str]:
    """What the provider would not take."""
    named = {name: it for name, it in body.items() if name not in META | {"dynamic"}}
    dynamic = {
        label.strip('"'): it["content"][0] for each in body.get("dynamic", []) for label, it in each.items()
    }
    for name, value in (named | dynamic).items():
        if name not in schema:
            yield f"there is no argument {name}"
        elif block := schema[name].get("block") is not None and schema[name]["block"]:
            for each in value if isinstance(value, list) else [value]:
                if not isinstance(each, dict):
                    yield f"{name} is a block"
                else:
                    yield from (f"{name}: {it}" for it in faults(arguments(each), block))
        elif name in dynamic and "block" not in schema[name]:
            yield f"{name} is no block"
    for name, it in schema.items():
        if it["required"] and name not in named and name not in dynamic:
            yield f"{name} is missing"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"account_ident": '"x"'}, "there is no argument account_ident"),
        ({}, "account_id is missing"),
        ({"account_id": '"x"', "timeouts": '"5m"'}, "timeouts is a block"),
        ({"account_id": '"x"', "timeouts": [{"update": '"5m"'}]}, "timeouts: there is no argument update"),
        (
            {"account_id": '"x"', "dynamic": [{'"display_name"': {"content": [{}]}}]},
            "display_name is no block",
        ),
    ],
)
def test_what_the_provider_would_not_take_is_found(body: Json, fault: str) -> None:
    """An argument that is mistyped, missing or of another kind."""
    assert fault in list(faults(body, SCHEMA["google_service_account"]))


def test_the_schema_is_of_what_is_used() -> None:
    """Nothing is missing or left over; `python -m tests.deploy.extract_schema WHEEL` writes it."""
    assert list(SCHEMA) == used()
