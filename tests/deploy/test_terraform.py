"""`deploy/terraform` makes what `deploy.sh plan` prints: resource by resource, setting by setting.

Over 300 lines because it is one comparison, of each kind of command with its kind of resource.
"""

import base64
import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator

import pytest
import yaml

from deploy import indexes, monitored, warehouse
from deploy.parameters import SEPARATOR
from deploy.steps.export import dataset_body
from deploy.steps.pipelines import JOB as BEAM
from tests.deploy.conftest import ROOT
from tests.deploy.extract_schema import used
from tests.support.both_ways import CASES, SITE, Deployed, Json, kind_of

PIPELINES = "libra-pipelines@kitchen-1.iam.gserviceaccount.com"
BUCKET = "kitchen-1-libra-pipelines"


@pytest.fixture(scope="module", params=CASES)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    """The same parameters, both ways."""
    return Deployed(CASES[request.param], tmp_path_factory.mktemp("terraform"))


def test_the_same_services_are_enabled(both: Deployed) -> None:
    """None is missing, none is too many, and none is disabled by a destroy."""
    ((services, _),) = both.asked("services", "enable")
    assert Counter(it["service"] for it in both.of("google_project_service")) == Counter(services)
    assert not any(it["disable_on_destroy"] for it in both.of("google_project_service"))


def test_the_same_accounts_have_the_same_roles(both: Deployed) -> None:
    """In the project, on secrets, topics, buckets and accounts, and who calls which service."""
    asked = {
        (name, flags["display-name"]) for (name,), flags in both.asked("iam", "service-accounts", "create")
    }
    assert {(it["account_id"], it["display_name"]) for it in both.of("google_service_account")} == asked
    for words, kind, on in (
        (("projects", "add-iam-policy-binding"), "google_project_iam_member", "project"),
        (("secrets", "add-iam-policy-binding"), "google_secret_manager_secret_iam_member", "secret_id"),
        (("pubsub", "topics", "add-iam-policy-binding"), "google_pubsub_topic_iam_member", "topic"),
        (
            ("pubsub", "subscriptions", "add-iam-policy-binding"),
            "google_pubsub_subscription_iam_member",
            "subscription",
        ),
        (("run", "services", "add-iam-policy-binding"), "google_cloud_run_v2_service_iam_member", "name"),
        (("run", "jobs", "add-iam-policy-binding"), "google_cloud_run_v2_job_iam_member", "name"),
        (("storage", "buckets", "add-iam-policy-binding"), "google_storage_bucket_iam_member", "bucket"),
        (
            ("iam", "service-accounts", "add-iam-policy-binding"),
            "google_service_account_iam_member",
            "service_account_id",
        ),
    ):
        granted = Counter((name, flags["role"], flags["member"]) for (name,), flags in both.asked(*words))
        made = Counter((_plain(it[on]), it["role"], it["member"]) for it in both.of(kind))
        assert made == granted, kind


def _plain(name: str) -> str:
    """The name of a resource, where it is taken from the resource."""
    name = re.sub(r"google_pubsub_subscription\.worker\[(\w+)\]\.name", r"\1-worker", name)
    name = name.replace("google_storage_bucket.pipelines.name", f"gs://{BUCKET}")
    name = name.replace("google_service_account.pipelines.name", PIPELINES)
    name = name.replace("google_cloud_run_v2_job.usage.name", "libra-usage")
    name = name.replace("google_cloud_run_v2_job.worker.name", "libra-ingestion")
    return re.sub(r"google_\w+\.\w+\[([\w-]+)\]\.(name|id)", r"\1", name)


def test_the_same_database_is_made_and_kept(both: Deployed) -> None:
    """Place, kind, protection, recovery; a destroy leaves it."""
    ((_, flags),) = both.asked("firestore", "databases", "create")
    (database,) = both.of("google_firestore_database")
    assert database["name"] == flags["database"]
    assert database["location_id"] == flags["location"]
    assert (database["type"], flags["type"]) == ("FIRESTORE_NATIVE", "firestore-native")
    assert database["delete_protection_state"] == "DELETE_PROTECTION_ENABLED"
    assert "delete-protection" in flags
    assert database["deletion_policy"] == "ABANDON"
    wanted = {"on": "POINT_IN_TIME_RECOVERY_ENABLED", "off": "POINT_IN_TIME_RECOVERY_DISABLED"}
    assert database["point_in_time_recovery_enablement"] == wanted[both.values["LIBRA_PITR"]]


def test_the_same_indexes_exemptions_and_policies_are_declared(both: Deployed) -> None:
    """Those of firestore.indexes.json, in its order of fields."""
    made = [
        indexes.Declared(
            "composite",
            it["collection"],
            tuple(f"{field['field_path']}:{field['order'].lower()}" for field in it["fields"]),
        )
        for it in both.of("google_firestore_index")
    ]
    for it in both.of("google_firestore_field"):
        assert it["index_config"] == [{}]  # no index
        made.append(indexes.Declared("exempt", it["collection"], (it["field"],)))
        if it["ttl_config"]:
            made.append(indexes.Declared("ttl", it["collection"], (it["field"],)))
    assert Counter(made) == Counter(indexes.wanted(indexes.declared()))
    assert {it["query_scope"] for it in both.of("google_firestore_index")} == {"COLLECTION"}


def test_the_same_backup_and_rules(both: Deployed) -> None:
    """If they are asked for."""
    asked = both.asked("firestore", "backups", "schedules", "create")
    days = {"7d": 7, "2w": 14}[both.values["LIBRA_BACKUP_RETENTION"]]
    assert [it["retention"] for it in both.of("google_firestore_backup_schedule")] == [
        f"{days * 86_400}s" for _ in asked
    ]
    rules = both.of("google_firebaserules_ruleset")
    assert bool(rules) == (both.values["LIBRA_RULES"] != "keep")
    for it in rules:
        assert it["source"][0]["files"][0]["content"] == (ROOT / "firestore.rules").read_text(
            encoding="utf-8"
        )
    assert [it["name"] for it in both.of("google_firebaserules_release")] == ["cloud.firestore"] * len(rules)


def test_the_same_functions(both: Deployed) -> None:
    """Every flag: code, size, concurrency, instances, retries, filters, environment, secrets, accounts."""
    asked = {name: flags for (name,), flags in both.asked("functions", "deploy")}
    made = {it["name"]: it for it in both.of("google_cloudfunctions2_function")}
    assert made.keys() == asked.keys()
    for name, flags in asked.items():
        build, service = made[name]["build_config"][0], made[name]["service_config"][0]
        ingress = {"internal-only": "ALLOW_INTERNAL_ONLY", "all": "ALLOW_ALL"}
        told = {
            "gen2": "",
            "project": made[name]["project"],
            "region": made[name]["location"],
            "runtime": build["runtime"],
            "entry-point": build["entry_point"],
            "build-service-account": build["service_account"],
            "service-account": service["service_account_email"],
            "cpu": service["available_cpu"],
            "memory": service["available_memory"],
            "concurrency": str(service["max_instance_request_concurrency"]),
            "timeout": f"{service['timeout_seconds']}s",
            "min-instances": str(service["min_instance_count"]),
            "max-instances": str(service["max_instance_count"]),
            "no-allow-unauthenticated": "",
            "set-env-vars": service["environment_variables"],
            "set-secrets": ",".join(
                f"{it['key']}={it['secret']}:{it['version']}"
                for it in service["secret_environment_variables"]
            ),
        }
        flags |= {"set-env-vars": _environment(flags["set-env-vars"])}  # type: ignore[dict-item]  # taken apart
        assert ingress[flags.pop("ingress-settings")] == service["ingress_settings"]
        assert flags.pop("source") == "build/functions"
        del flags["update-labels"]  # the digest that deploy.sh compares
        told |= (
            {"trigger-http": ""} if name == "libra-recompute" else _trigger(made[name]["event_trigger"][0])
        )
        if not both.values["LIBRA_SECRETS"]:
            assert told.pop("set-secrets") == flags.pop("clear-secrets")
        assert flags == told, name


def _environment(flag: str) -> dict[str, str]:
    text = flag.removeprefix(f"^{SEPARATOR}^")
    return dict(pair.partition("=")[::2] for pair in text.split(SEPARATOR))


def _trigger(trigger: Json) -> dict[str, str]:
    filters = {it["attribute"]: it for it in trigger["event_filters"]}
    assert filters["document"]["operator"] == "match-path-pattern"
    assert trigger["retry_policy"] == "RETRY_POLICY_RETRY"
    plain = f"database={filters['database']['value']},namespace={filters['namespace']['value']}"
    return {
        "retry": "",
        "trigger-location": trigger["trigger_region"],
        "trigger-event-filters": f"type={trigger['event_type']},{plain}",
        "trigger-event-filters-path-pattern": f"document={filters['document']['value']}",
        "trigger-service-account": trigger["service_account_email"],
    }


def test_the_same_schedule_with_the_same_token(both: Deployed) -> None:
    """Times, zone, body, retries, and an OIDC token for the recompute."""
    asked = {name: flags for (name,), flags in both.asked("scheduler", "jobs", "create", "http")}
    made = {it["name"]: it for it in both.of("google_cloud_scheduler_job")}
    assert made.keys() == asked.keys()
    uri = "google_cloudfunctions2_function.function[libra-recompute].service_config[0].uri"
    for name, flags in asked.items():
        job, (target,) = made[name], made[name]["http_target"]
        told = {
            "project": job["project"],
            "location": job["region"],
            "schedule": job["schedule"],
            "time-zone": job["time_zone"],
            "uri": target["uri"].replace(uri, "https://THE-URL-OF-libra-recompute.run.app"),
            "http-method": target["http_method"],
        }
        for retry in job.get("retry_config", []):
            told |= {
                "attempt-deadline": job["attempt_deadline"],
                "max-retry-attempts": str(retry["retry_count"]),
                "min-backoff": retry["min_backoff_duration"],
                "max-backoff": retry["max_backoff_duration"],
                "max-doublings": str(retry["max_doublings"]),
            }
        for token in target.get("oidc_token", []):
            audience = token["audience"].replace(uri, "https://THE-URL-OF-libra-recompute.run.app")
            told |= {
                "headers": ",".join("=".join(it) for it in target["headers"].items()),
                "message-body": base64.b64decode(target["body"]).decode(),
                "oidc-service-account-email": token["service_account_email"],
                "oidc-token-audience": audience,
            }
        for token in target.get("oauth_token", []):
            told |= {"oauth-service-account-email": token["service_account_email"]}
        assert flags == told, name


def test_the_same_services_on_cloud_run(both: Deployed) -> None:
    """The API and the collector; Terraform takes an image where gcloud builds one."""
    asked = {name: flags for (name,), flags in both.asked("run", "deploy")}
    made = {it["name"]: it for it in both.of("google_cloud_run_v2_service")}
    assert made.keys() == asked.keys()
    for name, flags in asked.items():
        service, (template,) = made[name], made[name]["template"]
        (container,), (scaling,) = template["containers"], template["scaling"]
        environment = {it["name"]: it["value"] for it in container["env"] if not it["value_source"]}
        wanted = _environment(flags.pop("set-env-vars"))
        for text, told in (
            ("module.functions.recompute_url", "https://THE-URL-OF-libra-recompute.run.app"),
            ("data.google_project.project.number", "PROJECT-NUMBER"),
        ):
            environment = {key: value.replace(text, told) for key, value in environment.items()}
        assert environment == wanted
        if name != "libra-collector":  # what it reaches no more is taken away
            assert len(flags.keys() & {"set-secrets", "clear-secrets"}) == 1
            assert len(flags.keys() & {"network", "clear-network"}) == 1
        assert _secrets(flags) == _secrets_of(container)
        assert _network(flags) == _networks_of(template)
        if name == "libra-ingestion-api":  # the worker's image
            assert flags.pop("image").startswith("europe-west6-docker.pkg.dev/kitchen-1/libra-ingestion/")
        else:
            for built in ("source", "set-build-env-vars", "build-service-account"):
                del flags[built]
        del flags["labels"]
        assert (service["ingress"], flags.pop("ingress")) == ("INGRESS_TRAFFIC_ALL", "all")
        assert service["invoker_iam_disabled"] is True
        probes = {
            f"{probe.replace('_', '-')}": f"httpGet.path={container[probe][0]['http_get'][0]['path']}"
            for probe in ("startup_probe", "liveness_probe")
        }
        (resources,) = container["resources"]
        assert flags == probes | {
            "project": service["project"],
            "region": service["location"],
            "no-invoker-iam-check": "",
            "service-account": template["service_account"],
            "cpu": resources["limits"]["cpu"],
            "memory": resources["limits"]["memory"],
            "concurrency": str(template["max_instance_request_concurrency"]),
            "timeout": template["timeout"],
            "min-instances": str(scaling["min_instance_count"]),
            "max-instances": str(scaling["max_instance_count"]),
        }


def test_the_same_topics_and_subscriptions(both: Deployed) -> None:
    """How long messages are kept, how often they are delivered, and where the dead letters go."""
    asked = {name: flags for (name,), flags in both.asked("pubsub", "topics", "create")}
    assert {it["name"] for it in both.of("google_pubsub_topic")} == asked.keys()
    week = {"7d": "604800s"}
    for topic in both.of("google_pubsub_topic"):
        assert topic["message_retention_duration"] == week[asked[topic["name"]]["message-retention-duration"]]
    wanted = {name: flags for (name,), flags in both.asked("pubsub", "subscriptions", "create")}
    made = {it["name"]: it for it in both.of("google_pubsub_subscription")}
    assert made.keys() == wanted.keys()
    for name, flags in wanted.items():
        told = {
            "project": made[name]["project"],
            "topic": _plain(made[name]["topic"]),
            "ack-deadline": str(made[name]["ack_deadline_seconds"]),
            "message-retention-duration": "7d",
            "expiration-period": "never",
        }
        assert made[name]["message_retention_duration"] == week["7d"]
        assert made[name]["expiration_policy"] == [{"ttl": ""}]
        for retry in made[name].get("retry_policy", []):
            told |= {"min-retry-delay": retry["minimum_backoff"], "max-retry-delay": retry["maximum_backoff"]}
        for dead in made[name].get("dead_letter_policy", []):
            told |= {
                "dead-letter-topic": _plain(dead["dead_letter_topic"]),
                "max-delivery-attempts": str(dead["max_delivery_attempts"]),
            }
        assert flags == told, name


def test_the_same_worker(both: Deployed) -> None:
    """Instances, size, account, environment; Terraform takes an image where deploy.sh builds one."""
    asked = both.asked("beta", "run", "worker-pools", "deploy")
    made = both.of("google_cloud_run_v2_worker_pool")
    for ((name,), flags), pool in zip(asked, made, strict=True):
        (template,), (scaling,) = pool["template"], pool["scaling"]
        (container,) = template["containers"]
        (resources,) = container["resources"]
        environment = {it["name"]: it["value"] for it in container["env"]}
        assert _environment(flags.pop("set-env-vars")) == environment
        del flags["image"], flags["labels"]
        assert pool["name"] == name
        assert flags == {
            "project": pool["project"],
            "region": pool["location"],
            "service-account": template["service_account"],
            "cpu": resources["limits"]["cpu"],
            "memory": resources["limits"]["memory"],
            "scaling": str(scaling["manual_instance_count"]),
        }


def test_the_same_jobs(both: Deployed) -> None:
    """The export, the flush of usage, the worker of ingestion: size, account, time, environment, secrets,
    network."""
    asked = {name: flags for (name,), flags in both.asked("run", "jobs", "deploy") if name != BEAM}
    made = {it["name"]: it for it in both.of("google_cloud_run_v2_job") if it["name"] != BEAM}
    wanted = {f"libra-{it}": both.values[f"LIBRA_{it.upper()}"] for it in ("usage", "ingestion", "export")}
    assert made.keys() == asked.keys() == {name for name, value in wanted.items() if value != "off"}
    for name, flags in asked.items():
        job, (outer,) = made[name], made[name]["template"]
        (template,) = outer["template"]
        (container,) = template["containers"]
        (resources,) = container["resources"]
        environment = {it["name"]: it["value"] for it in container["env"] if not it["value_source"]}
        assert _environment(flags.pop("set-env-vars")) == environment
        assert _secrets(flags) == _secrets_of(container)
        assert _network(flags) == _networks_of(template)
        assert (
            [flags.pop("command")] == container["command"]
            if "command" in flags
            else "command" not in container
        )
        del flags["image"], flags["labels"]
        timeout = re.sub(r"^(\d+)h$", lambda it: f"{int(it[1]) * 3_600}s", flags.pop("task-timeout"))
        assert timeout == template["timeout"]
        assert flags == {
            "project": job["project"],
            "region": job["location"],
            "service-account": template["service_account"],
            "cpu": resources["limits"]["cpu"],
            "memory": resources["limits"]["memory"],
            "tasks": str(outer["task_count"]),
            "max-retries": str(template["max_retries"]),
        }


def _secrets(flags: dict[str, str]) -> dict[str, str]:
    """SECRET:VERSION of each variable, taken from the flags."""
    given = flags.pop("set-secrets", flags.pop("clear-secrets", ""))
    return dict(it.partition("=")[::2] for it in given.split(",") if it)


def _secrets_of(container: Json) -> dict[str, str]:
    return {
        it["name"]: ":".join(source["secret_key_ref"][0][part] for part in ("secret", "version"))
        for it in container["env"]
        for source in it.get("value_source", [])
    }


def _network(flags: dict[str, str]) -> dict[str, str]:
    """The flags of the network, taken out; none where it is cleared."""
    names = ("network", "subnet", "vpc-egress")
    found = {name: flags.pop(name) for name in names if name in flags}
    assert not (found and "clear-network" in flags)
    flags.pop("clear-network", None)
    return found


def _networks_of(template: Json) -> dict[str, str]:
    networks = [
        {"network": it["network"], "subnet": it["subnetwork"], "vpc-egress": "private-ranges-only"}
        for access in template.get("vpc_access", [])
        for it in access["network_interfaces"]
        if access["egress"] == "PRIVATE_RANGES_ONLY"
    ]
    return networks[0] if networks else {}


def test_ingestion_reads_the_same_datasets(both: Deployed) -> None:
    """One statement grants what Terraform's resource grants, and takes nothing from others."""
    wanted = set(filter(None, both.values["LIBRA_INGESTION_DATASETS"].split(",")))
    wanted = wanted if both.values["LIBRA_INGESTION"] == "on" else set()
    made = {f"{it['project']}.{it['dataset_id']}": it for it in both.of("google_bigquery_dataset_iam_member")}
    sent = [it for it in both.commands if it[1:3] == ["-m", "deploy.send"] and it[5].endswith("/queries")]
    assert made.keys() == wanted
    assert len(sent) == len(wanted)
    for command in sent:
        body = json.loads((ROOT / command[6]).read_text(encoding="utf-8"))
        name = command[6].partition("grant-")[2].removesuffix(".json")
        where = "`{project}`.`{dataset_id}`".format(**made[name])
        granted = f'GRANT `{made[name]["role"]}` ON SCHEMA {where} TO "{made[name]["member"]}"'
        assert body == {"query": granted, "useLegacySql": False}


def test_the_board_has_a_site_and_its_page_stays_with_the_firebase_cli(both: Deployed) -> None:
    """Terraform makes the site and the web app, `deploy.sh` the page; without a board there is neither."""
    wanted = both.values["LIBRA_BOARD"] == "on"
    (app, site) = ("google_firebase_web_app", "google_firebase_hosting_site")
    assert [it["display_name"] for it in both.of(app)] == ["Libra: board"] * wanted
    assert [(it["site_id"], it["app_id"]) for it in both.of(site)] == [(SITE, f"{app}.board.app_id")] * wanted
    deployed = [it for it in both.commands if "firebase" in it]
    assert ["--only=hosting" in it for it in deployed] == [True] * wanted


def test_the_same_warehouse(both: Deployed) -> None:
    """The dataset and who may write to it; every column, partition and view."""
    wanted = both.values["LIBRA_WAREHOUSE"] == "on"
    where, asked = warehouse.dataset(both.values), warehouse.bodies(both.values)
    bodies = {where.name: warehouse.dataset_body(both.values)} if wanted else {}
    scheme, _, name = both.values["LIBRA_EXPORT"].partition(":")
    if scheme == "bigquery":
        bodies[name] = dataset_body("kitchen-1", name, "europe-west6")
    datasets = both.of("google_bigquery_dataset")
    assert {it["dataset_id"] for it in datasets} == bodies.keys()
    for made in datasets:
        body = bodies[made["dataset_id"]]
        assert made["description"] == body["description"]
        assert made["location"] == body["location"]
        access = [{"role": it["role"]} | _other(it, "role") for it in body["access"]]
        assert [{_snake(key): value for key, value in it.items()} for it in access] == made["access"]
    made_tables = {it["table_id"]: it for it in both.of("google_bigquery_table")}
    assert made_tables.keys() == (asked.keys() if wanted else set())
    for name, table in made_tables.items():
        body = asked[name]
        assert table["description"] == body["description"]
        if "view" in body:
            assert [it["query"] for it in table["view"]] == [body["view"]["query"]]
        else:
            assert json.loads(table["schema"]) == body["schema"]["fields"]
            assert table["time_partitioning"] == [it for it in [body.get("timePartitioning")] if it], name
            assert table["clustering"] == body.get("clustering", {}).get("fields")


def test_the_same_pipelines(both: Deployed) -> None:
    """The bucket, the recompute and the stream; Terraform takes an image where deploy.sh builds one."""
    asked = {name: flags for (name,), flags in both.asked("storage", "buckets", "create")}
    made = {f"gs://{it['name']}": it for it in both.of("google_storage_bucket") if it["name"] == BUCKET}
    assert made.keys() == asked.keys()
    for name, flags in asked.items():
        (kept,) = made[name]["soft_delete_policy"]
        assert made[name]["public_access_prevention"] == "enforced"
        assert made[name]["uniform_bucket_level_access"] is True
        assert flags == {
            "project": made[name]["project"],
            "location": made[name]["location"],
            "uniform-bucket-level-access": "",
            "public-access-prevention": "",
            "soft-delete-duration": str(kept["retention_duration_seconds"]),
        }
    jobs = [it for it in both.of("google_cloud_run_v2_job") if it["name"] == BEAM]
    deployed = [it for it in both.asked("run", "jobs", "deploy") if it[0] == [BEAM]]
    for job, ((name,), flags) in zip(jobs, deployed, strict=True):
        (execution,) = job["template"]
        (task,) = execution["template"]
        (container,) = task["containers"]
        (resources,) = container["resources"]
        del flags["labels"]
        arguments, image = flags.pop("args").removeprefix("^@@^").split("@@"), flags.pop("image")
        assert [it.replace(image, "an-image") for it in arguments] == [
            it.replace("google_storage_bucket.pipelines.name", BUCKET) for it in container["args"]
        ]
        assert _environment(flags.pop("set-env-vars")) == {it["name"]: it["value"] for it in container["env"]}
        assert (job["name"], container["image"], task["timeout"]) == (name, "an-image", "86400s")
        assert flags == {
            "project": job["project"],
            "region": job["location"],
            "service-account": task["service_account"],
            "cpu": resources["limits"]["cpu"],
            "memory": resources["limits"]["memory"],
            "tasks": str(execution["task_count"]),
            "max-retries": str(task["max_retries"]),
            "task-timeout": "24h",
            "command": container["command"][0],
        }


def test_the_same_stream(both: Deployed) -> None:
    """Its account, its settings and its machines; Terraform drains it, and never cancels it."""
    asked = both.asked("dataflow", "flex-template", "run")
    assert len(asked) == (both.values["LIBRA_STREAM"] == "on")
    for job, ((name,), flags) in zip(both.of("google_dataflow_flex_template_job"), asked, strict=True):
        placed = {
            "google_storage_bucket.pipelines.name": BUCKET,
            "google_storage_bucket_object.template[0].name": "libra.json",
        }
        text = json.dumps(job)
        for word, place in placed.items():
            text = text.replace(word, place)
        made = json.loads(text)
        parameters = _environment(flags.pop("parameters"))
        assert parameters.pop("sdk_container_image").startswith("europe-west6-docker.pkg.dev/kitchen-1/")
        assert parameters.pop("max_num_workers") == str(made["max_workers"])
        assert parameters == made["parameters"]
        del flags["additional-user-labels"]
        assert (made["name"], made["on_delete"], made["sdk_container_image"]) == (name, "drain", "an-image")
        assert flags == {
            "project": made["project"],
            "region": made["region"],
            "service-account-email": made["service_account_email"],
            "template-file-gcs-location": made["container_spec_gcs_path"],
            "temp-location": made["temp_location"],
            "staging-location": made["staging_location"],
        }


def test_the_template_is_what_gcloud_writes(both: Deployed, gcloud: str) -> None:
    """The real gcloud prints what it would store."""
    asked = both.asked("dataflow", "flex-template", "build")
    objects = [it for it in both.of("google_storage_bucket_object") if it["name"] == "libra.json"]
    for template, (_, flags) in zip(objects, asked, strict=True):
        words = [f"--{name}={value}" for name, value in flags.items() if name != "image"]
        command = [gcloud, "dataflow", "flex-template", "build", f"gs://{BUCKET}/libra.json", *words]
        done = subprocess.run(
            [*command, "--image=an-image", "--print-only"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(template["content"]) == json.loads(yaml.safe_load(done.stdout))


def _other(found: Json, name: str) -> Json:
    return {key: value for key, value in found.items() if key != name}


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda it: f"_{it[0].lower()}", name)


def test_the_same_monitoring(both: Deployed) -> None:
    """Every field of every file reaches its resource."""
    wanted = both.values["LIBRA_MONITORING"] == "on"
    for kind, files in (
        ("google_logging_metric", monitored.metrics(both.values)),
        ("google_monitoring_slo", monitored.objectives(both.values)),
        ("google_monitoring_alert_policy", monitored.alerts(both.values)),
    ):
        made = sorted(_camel(it) for it in both.of(kind))
        assert made == sorted(sorted(_leaves(it)) for it in files.values()) * wanted, kind
    boards = [json.loads(it["dashboard_json"]) for it in both.of("google_monitoring_dashboard")]
    files = monitored.dashboards(both.values)
    assert boards == [{k: v for k, v in it.items() if k != "labels"} for it in files.values()] * wanted
    assert [it["service_id"] for it in both.of("google_monitoring_custom_service")] == ["libra"] * wanted


def _leaves(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf with the last name on its way, but for what Google or deploy.sh adds."""
    if isinstance(value, dict):
        for key, it in value.items():
            if key not in {"name", "userLabels"}:
                yield from _leaves(it, key)
    elif isinstance(value, list):
        for it in value:
            yield from _leaves(it, name)
    elif value is not None:
        yield name, str(value)


def _camel(resource: Json) -> list[tuple[str, str]]:
    """The leaves as Google's API names them."""
    own = {"project", "service", "slo_id", "user_labels", "rolling_period_days"}
    days = resource.get("rolling_period_days")
    period = {"rolling_period": f"{days * 86_400}s"} if days else {}
    found = _leaves({name: it for name, it in resource.items() if name not in own} | period)
    return sorted((re.sub(r"_(\w)", lambda it: it[1].upper(), name), value) for name, value in found)


def test_nothing_is_planned_that_terraform_does_not_make(both: Deployed) -> None:
    """Each command has its resource, and the other way round; the code's bucket is Terraform's own."""
    commands = Counter(" ".join(word for word in it[:5] if not word.startswith("-")) for it in both.commands)
    sent = Counter(
        it[5].partition("?")[0].rpartition("/")[2] for it in both.commands if it[1:3] == ["-m", "deploy.send"]
    )
    resources = Counter(map(kind_of, both.resources))

    def number(words: str) -> int:
        return sum(count for it, count in commands.items() if it.startswith(f"gcloud {words}"))

    assert resources["google_service_account"] == number("iam service-accounts create")
    assert resources["google_cloudfunctions2_function"] == number("functions deploy")
    assert resources["google_cloud_scheduler_job"] == number("scheduler jobs create")
    assert resources["google_cloud_run_v2_service"] == number("run deploy")
    assert resources["google_dataflow_flex_template_job"] == number("dataflow flex-template run")
    assert resources["google_logging_metric"] == sent["metrics"]
    assert resources["google_monitoring_alert_policy"] == sent["alertPolicies"]
    assert resources["google_bigquery_dataset"] == sent["datasets"]
    assert resources["google_bigquery_table"] == sent["tables"]
    assert resources["google_monitoring_slo"] == sent["serviceLevelObjectives"]
    own = {"google_storage_bucket", "google_storage_bucket_object"}
    assert resources.keys() - own <= set(used())
