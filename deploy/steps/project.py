"""What the functions stand on: services, the database, its indexes, rules and backups."""

import json
import sys
from collections.abc import Iterator
from typing import Any

from deploy import indexes
from deploy.gcloud import Change, CommandError, DeployError, gcloud, say
from deploy.google import ApiError, release_rules
from deploy.steps.base import Step

SERVICES = (
    "artifactregistry.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudfunctions.googleapis.com",
    "cloudscheduler.googleapis.com",
    "eventarc.googleapis.com",
    "firebaserules.googleapis.com",
    "firestore.googleapis.com",
    "iam.googleapis.com",
    "pubsub.googleapis.com",
    "run.googleapis.com",
)
MONITORING = ("logging.googleapis.com", "monitoring.googleapis.com")


class Services(Step):
    """Google's services. `down` leaves them enabled: others may use them."""

    name = "services"
    needs = "roles/serviceusage.serviceUsageAdmin"
    title = "Enable the services"

    def missing(self) -> Iterator[Change]:
        """One command for all; then the region is looked at, which takes an enabled service."""
        deployment = self.deployment
        wanted, export = list(SERVICES), deployment.values["LIBRA_EXPORT"]
        api = deployment.values["LIBRA_API"] != "off" and deployment.values["LIBRA_API_USAGE_SECRET"]
        secretive = api or "on" in (deployment.values["LIBRA_USAGE"], deployment.values["LIBRA_INGESTION"])
        if deployment.values["LIBRA_SECRETS"] or secretive or export.startswith("postgres"):
            wanted.append("secretmanager.googleapis.com")
        if deployment.values["LIBRA_BOARD"] != "off":
            wanted.append("firebasehosting.googleapis.com")
        ingested = (
            deployment.values["LIBRA_INGESTION"] == "on" and deployment.values["LIBRA_INGESTION_DATASETS"]
        )
        if deployment.values["LIBRA_WAREHOUSE"] == "on" or export.startswith("bigquery:") or ingested:
            wanted.append("bigquery.googleapis.com")
        if ingested:
            wanted.append("bigquerystorage.googleapis.com")
        if "on" in (deployment.values["LIBRA_WAREHOUSE"], deployment.values["LIBRA_PIPELINES"]):
            wanted.append("dataflow.googleapis.com")
        if deployment.values["LIBRA_MONITORING"] == "on":
            wanted += MONITORING
        listed = self.gcloud.look(
            "services", "list", "--enabled", deployment.in_project, "--format=value(config.name)"
        )
        if absent := [service for service in wanted if service not in listed.splitlines()]:
            yield gcloud("services", "enable", *absent, deployment.in_project)
        regions = self.gcloud.look(
            "run", "regions", "list", deployment.in_project, "--format=value(locationId)"
        ).split()
        if regions and deployment.region not in regions:
            raise DeployError(
                f"--region {deployment.region}: there is no such region; there are {' '.join(regions)}"
            )


class Database(Step):
    """The database, protected from deletion, and its point-in-time recovery."""

    name = "database"
    needs = "roles/datastore.owner"
    title = "Create the database if there is none"

    @property
    def undoing(self) -> str:
        """Deleting it has to be asked for by name."""
        if not self.deployment.delete_database:
            return ""
        return f"DELETE the database {self.deployment.values['FIRESTORE_DATABASE']} and all of its data"

    def missing(self) -> Iterator[Change]:
        """A database, or a change of its recovery; raises for one that cannot serve."""
        values, where = self.deployment.values, self.deployment.in_database
        recovers, location = False, values["LIBRA_LOCATION"]
        form = "--format=value(locationId,type,pointInTimeRecoveryEnablement)"
        if found := self.gcloud.look("firestore", "databases", "describe", *where, form):
            there, kind, recovery = (*found.split("\t"), "", "")[:3]
            recovers = recovery == "POINT_IN_TIME_RECOVERY_ENABLED"
            name = values["FIRESTORE_DATABASE"]
            if kind != "FIRESTORE_NATIVE":
                raise DeployError(
                    f"the database {name} is of type {kind}; "
                    "Libra needs a Firestore in native mode: name another with --database"
                )
            if there != location:
                raise DeployError(
                    f"the database {name} is in {there}, not in {location}: "
                    f"pass --location {there} and a --region in it"
                )
        else:
            place = (f"--location={location}", "--type=firestore-native", "--delete-protection")
            yield gcloud("firestore", "databases", "create", *where, *place)
        if values["LIBRA_PITR"] == "on" and not recovers:
            yield gcloud("firestore", "databases", "update", *where, "--enable-pitr")
        if values["LIBRA_PITR"] == "off" and recovers:
            yield gcloud("firestore", "databases", "update", *where, "--no-enable-pitr")

    def surplus(self) -> Iterator[Change]:
        """Its protection, then all of its data."""
        where = self.deployment.in_database
        yield gcloud("firestore", "databases", "update", *where, "--no-delete-protection")
        yield gcloud("firestore", "databases", "delete", *where)

    def state(self) -> Iterator[tuple[str, str]]:
        """Its place, kind, recovery and protection."""
        fields = "locationId,type,pointInTimeRecoveryEnablement,deleteProtectionState"
        form = f'--format=value[separator="  "]({fields})'
        found = self.gcloud.look("firestore", "databases", "describe", *self.deployment.in_database, form)
        yield "database", found or "not there"


class Indexes(Step):
    """What `firestore.indexes.json` declares, and nothing else that the database has."""

    name = "indexes"
    needs = "roles/datastore.owner"
    title = "Declare the indexes, the exemptions and the time-to-live policy"

    @property
    def undoing(self) -> str:
        """Removing them has to be asked for."""
        return "Remove " + self.title.removeprefix("Declare ") if self.deployment.delete_indexes else ""

    def missing(self) -> Iterator[Change]:
        """What is declared and not there."""
        there = set(indexes.present(self.composites(), self.exempt(), self.expiring()))
        for declared in indexes.wanted(indexes.declared()):
            if declared in there:
                continue
            if declared.kind == "composite":
                pairs = (field.split(":") for field in declared.fields)
                fields = [f"--field-config=field-path={path},order={order}" for path, order in pairs]
                yield gcloud(
                    *("firestore", "indexes", "composite", "create", *self.deployment.in_database),
                    *(f"--collection-group={declared.collection}", "--query-scope=collection"),
                    *(*fields, "--async"),
                )
            else:
                yield self._field(declared, {"exempt": "--disable-indexes", "ttl": "--enable-ttl"})

    def surplus(self) -> Iterator[Change]:
        """What is declared and there."""
        composites = self.composites()
        for name in indexes.declared_composites(composites, indexes.declared()):
            yield gcloud("firestore", "indexes", "composite", "delete", name, *self.deployment.in_database)
        there = [field["name"] for field in self.exempt()]
        for declared in indexes.wanted(indexes.declared()):
            field = f"/collectionGroups/{declared.collection}/fields/{declared.fields[0]}"
            if declared.kind != "composite" and any(name.endswith(field) for name in there):
                yield self._field(declared, {"exempt": "--clear-exemption", "ttl": "--disable-ttl"})

    def state(self) -> Iterator[tuple[str, str]]:
        """Whether the indexes and the policy are ready."""
        where = self.deployment.in_database
        groups = sorted({it["collectionGroup"] for it in indexes.declared()["indexes"]})
        named = " OR ".join(f"name~collectionGroups/{group}/" for group in groups)
        ours = (f"--filter={named}", "--format=value(state)")
        states = self.gcloud.look("firestore", "indexes", "composite", "list", *where, *ours).split()
        counted = [f"{states.count(state)} {state}" for state in sorted(set(states))]
        yield "indexes", ", ".join(counted) or "not there"
        ttl = self.gcloud.look(
            "firestore", "fields", "ttls", "list", *where, "--format=value(ttlConfig.state)"
        )
        yield "time-to-live", ttl or "not there"

    def _field(self, declared: indexes.Declared, flags: dict[str, str]) -> Change:
        words = {"exempt": ("indexes", "fields"), "ttl": ("fields", "ttls")}[declared.kind]
        collection = f"--collection-group={declared.collection}"
        return gcloud(
            *("firestore", *words, "update", declared.fields[0], *self.deployment.in_database),
            *(collection, flags[declared.kind], "--async"),
            patient=True,
        )

    def composites(self) -> list[dict[str, Any]]:
        """The composite indexes that are there."""
        return self._listed("indexes", "composite")

    def exempt(self) -> list[dict[str, Any]]:
        """The fields with settings of their own."""
        return self._listed("indexes", "fields")

    def expiring(self) -> list[dict[str, Any]]:
        """The fields with a time-to-live policy."""
        return self._listed("fields", "ttls")

    def _listed(self, *words: str) -> list[dict[str, Any]]:
        where = self.deployment.in_database
        return list(
            json.loads(self.gcloud.look("firestore", *words, "list", *where, "--format=json") or "[]")
        )


class Rules(Step):
    """The security rules. `down` leaves them in force: without them, clients could reach nothing."""

    name = "rules"
    needs = "roles/firebaserules.admin"

    @property
    def title(self) -> str:
        """With what is done about rules that are there."""
        return f"Put the security rules in force ({self.deployment.values['LIBRA_RULES']})"

    def missing(self) -> Iterator[Change]:
        """One change, which looks by itself."""
        mode = self.deployment.values["LIBRA_RULES"]
        if mode != "keep":
            database = self.deployment.values["FIRESTORE_DATABASE"]
            command = (sys.executable, "-m", "deploy.google", self.deployment.project, database, mode)
            yield Change(command, call=self._release)

    def _release(self) -> str:
        values = self.deployment.values
        replace = values["LIBRA_RULES"] == "replace"
        try:
            return release_rules(
                self.deployment.google(),
                self.deployment.project,
                values["FIRESTORE_DATABASE"],
                replace=replace,
            )
        except ApiError as error:
            raise CommandError((sys.executable, "-m", "deploy.google"), str(error)) from error


class Backup(Step):
    """A daily backup, if it is asked for. `down` leaves the schedule: it guards the data."""

    name = "backup"
    needs = "roles/datastore.owner"

    @property
    def title(self) -> str:
        """With what is done about it."""
        wanted = self.deployment.values["LIBRA_BACKUP"] != "keep"
        return "Back the database up every day" if wanted else "Leave the backups as they are"

    def missing(self) -> Iterator[Change]:
        """A schedule of backups."""
        values, where = self.deployment.values, self.deployment.in_database
        if values["LIBRA_BACKUP"] == "keep":
            return
        schedules = ("firestore", "backups", "schedules")
        daily = ("--filter=dailyRecurrence:*", "--format=value(name)")
        if not self.gcloud.look(*schedules, "list", *where, *daily):
            kept = f"--retention={values['LIBRA_BACKUP_RETENTION']}"
            yield gcloud(*schedules, "create", *where, "--recurrence=daily", kept)
        else:
            say("   there is a daily backup already")
