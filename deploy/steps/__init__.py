"""The steps of a deployment, in the order in which `up` takes them. `down` goes the other way.

To add one: write its class (`deploy.steps.base.Step` says what it needs), name it here, give it a row in
docs/operations.md, and let the recorder of tests/deploy answer for what it asks.
"""

from deploy.steps.accounts import Accounts, Invokers
from deploy.steps.api import Api
from deploy.steps.base import Deployment, Step
from deploy.steps.board import Board
from deploy.steps.collector import Collector
from deploy.steps.export import Export
from deploy.steps.functions import Functions, Stage
from deploy.steps.ingestion import Ingestion
from deploy.steps.monitoring import Alerts, Dashboard, Metrics, Objectives
from deploy.steps.pipelines import Pipelines
from deploy.steps.preflight import Preflight
from deploy.steps.project import Backup, Database, Indexes, Rules, Services
from deploy.steps.schedule import Schedule
from deploy.steps.stream import Stream
from deploy.steps.topics import TopicsStep
from deploy.steps.usage import Usage
from deploy.steps.warehouse import Warehouse
from deploy.steps.worker import Worker

STEPS: tuple[type[Step], ...] = (
    Stage,
    Preflight,
    Services,
    Database,
    Accounts,
    Indexes,
    Rules,
    Functions,
    Invokers,
    Api,
    TopicsStep,
    Collector,
    Worker,
    Warehouse,
    Pipelines,
    Stream,
    Usage,
    Ingestion,
    Board,
    Schedule,
    Export,
    Backup,
    Metrics,
    Objectives,
    Alerts,
    Dashboard,
)
NAMES = tuple(step.name for step in STEPS if not step.always)
"""What `--only` may name."""

__all__ = ["NAMES", "STEPS", "Deployment", "Functions", "Stage", "Step"]
