"""What tells the operator: metrics of the log lines, objectives, alert policies, and a dashboard.

The files are in `deploy/monitoring`, and `stage` writes them as they are sent (`deploy/monitored.py`).
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from functools import cached_property

from deploy import monitored
from deploy.gcloud import Change, say
from deploy.monitored import BUILT, CONFIG, LABEL, Json
from deploy.send import listed, sending
from deploy.steps.base import Step


class Monitored(Step):
    """One kind of file. What is there and is as its file says stays.

    With `--monitoring=off` nothing is wanted, and `up` removes what it made.
    """

    api: str
    """The API, as its endpoint is named."""
    collection: str
    """Where it keeps them: its version, and their name."""
    update = "PATCH"
    """The method that replaces one."""
    named = ""
    """How a creation gives the name, where Google does not choose it."""

    @property
    def undoing(self) -> str:
        """What `down` does here."""
        return f"Remove the {self.name}"

    @cached_property
    def _wanted(self) -> dict[str, Json]:
        """What is wanted, by name."""
        return self._files() if self.deployment.values["LIBRA_MONITORING"] == "on" else {}

    @cached_property
    def _google(self) -> Mapping[str, str]:
        return {} if self.gcloud.planning else self.deployment.google()

    def missing(self) -> Iterator[Change]:
        """What is wanted and is not there, or differs; then what is there and no longer wanted."""
        there = self.there()
        changed = {name: it for name, it in self._wanted.items() if not self._same(there.get(name), it)}
        for name, wanted in changed.items():
            yield self._put(name, wanted, there.get(name))
        for name in there.keys() - self._wanted.keys():
            yield self._remove(there[name])
        if self._wanted and not changed:
            say(f"   {self.name}: {len(self._wanted)} are up to date")

    def surplus(self) -> Iterator[Change]:
        """What is there of ours."""
        for found in self.there().values():
            yield self._remove(found)

    def state(self) -> Iterator[tuple[str, str]]:
        """How many are there, and how many are as their files say."""
        there = self.there()
        same = sum(self._same(there.get(name), it) for name, it in self._wanted.items())
        yield self.name, f"{len(there)} there, {same} of {len(self._wanted)} up to date"

    @abstractmethod
    def _files(self) -> dict[str, Json]:
        """What the files say, by name."""

    @abstractmethod
    def _name(self, found: Json) -> str:
        """The name of the file that made what was found; empty: none of ours."""

    def _same(self, found: Json | None, wanted: Json) -> bool:
        """Whether what is there is what is wanted."""
        return found is not None and _labels(found).get(CONFIG) == _labels(wanted)[CONFIG]

    def _path(self, found: Json) -> str:
        """Where one is."""
        return f"{self.collection.partition('/')[0]}/{found['name']}"

    @property
    def _parent(self) -> str:
        version, _, kind = self.collection.partition("/")
        return f"{version}/projects/{self.deployment.project}/{kind}"

    def there(self) -> dict[str, Json]:
        """What is there of ours, by name."""
        if self.gcloud.planning:
            return {}
        found = listed(self._google, self.api, self._parent, self.collection.rpartition("/")[2])
        return {name: it for it in found if (name := self._name(it))}

    def _put(self, name: str, wanted: Json, found: Json | None) -> Change:
        file = f"{BUILT}/{self.name}/{name}.json"
        if found is None:
            path = f"{self._parent}{self.named.format(name)}"
            return sending(self._google, "POST", self.api, path, file, body=wanted)
        # An update of a dashboard names the version that it replaces.
        body = wanted | ({"etag": found["etag"]} if "etag" in found else {})
        return sending(self._google, self.update, self.api, self._path(found), file, body=body)

    def _remove(self, found: Json) -> Change:
        return sending(self._google, "DELETE", self.api, self._path(found))


def _labels(found: Json) -> dict[str, str]:
    return dict(found.get("userLabels") or found.get("labels") or {})


class Metrics(Monitored):
    """Log-based metrics: counters of the lines that the functions write anyway."""

    name = "metrics"
    needs = "roles/logging.configWriter"
    title = "Count the log lines that matter"
    api = "logging"
    collection = "v2/metrics"
    update = "PUT"

    def _files(self) -> dict[str, Json]:
        return monitored.metrics(self.deployment.values)

    def _name(self, found: Json) -> str:
        """A metric has no labels: ours are those that have the names of our files."""
        every = monitored.metrics({**self.deployment.values, **dict.fromkeys(monitored.OPTIONAL, "on")})
        return str(found["name"]) if found["name"] in every else ""

    def _same(self, found: Json | None, wanted: Json) -> bool:
        """Google adds to a metric's descriptor; all that the file says has to be there."""
        return found is not None and _holds(found, wanted)

    def _path(self, found: Json) -> str:
        """Its name is the last part alone."""
        return f"{self._parent}/{found['name']}"


def _holds(found: object, wanted: object) -> bool:
    """Whether everything that is wanted is there."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return all(key in found and _holds(found[key], value) for key, value in wanted.items())
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_holds, found, wanted))
    return found == wanted


class Objectives(Monitored):
    """The service *Libra* of Cloud Monitoring, and its objectives. A service has no cost of its own."""

    name = "objectives"
    needs = "roles/monitoring.servicesEditor"
    title = "Set the objectives: late totals, unproven totals, drift"
    api = "monitoring"
    collection = "v3/services/libra/serviceLevelObjectives"
    named = "?serviceLevelObjectiveId={}"

    def missing(self) -> Iterator[Change]:
        """The service first; without objectives, it goes too."""
        if not self._wanted:
            yield from self.surplus()
            return
        if not self.served():
            body = {"displayName": "Libra", "custom": {}}
            yield sending(self._google, "POST", self.api, f"{self._services}?serviceId=libra", body=body)
        yield from super().missing()

    def surplus(self) -> Iterator[Change]:
        """The objectives, then the service."""
        yield from super().surplus()
        if self.served():
            yield sending(self._google, "DELETE", self.api, f"{self._services}/libra")

    @property
    def _services(self) -> str:
        return f"v3/projects/{self.deployment.project}/services"

    def served(self) -> bool:
        """Whether the service is there."""
        if self.gcloud.planning:
            return False
        found = listed(self._google, self.api, self._services, "services")
        return any(it["name"].endswith("/services/libra") for it in found)

    def _files(self) -> dict[str, Json]:
        return monitored.objectives(self.deployment.values)

    def _name(self, found: Json) -> str:
        return _labels(found).get(LABEL, "")


class Alerts(Monitored):
    """Alert policies, which notify the channels of `--notify`.

    Cloud Monitoring knows a new metric after some minutes, and refuses an alert on it until then.
    """

    name = "alerts"
    needs = "roles/monitoring.alertPolicyEditor"
    api = "monitoring"
    collection = "v3/alertPolicies"

    @property
    def title(self) -> str:
        """With whom they notify."""
        notified = self.deployment.values["LIBRA_NOTIFY"] or "nobody: name channels with --notify"
        return f"Create the alert policies, which notify {notified}"

    def _files(self) -> dict[str, Json]:
        return monitored.alerts(self.deployment.values)

    def _name(self, found: Json) -> str:
        return _labels(found).get(LABEL, "")


class Dashboard(Monitored):
    """The dashboard *Libra*."""

    name = "dashboard"
    needs = "roles/monitoring.dashboardEditor"
    title = "Create the dashboard"
    api = "monitoring"
    collection = "v1/dashboards"

    def _files(self) -> dict[str, Json]:
        return monitored.dashboards(self.deployment.values)

    def _name(self, found: Json) -> str:
        return _labels(found).get(LABEL, "")
