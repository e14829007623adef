"""The pipelines' environment: Beam without its `gcp` extra has what these pipelines use of Google Cloud."""

from importlib import import_module

import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to


@pytest.mark.parametrize(
    "module",
    [
        "apache_beam.io.gcp.bigquery",
        "apache_beam.io.gcp.gcsfilesystem",
        "apache_beam.io.gcp.pubsub",
        "apache_beam.runners.dataflow.internal.apiclient",
    ],
)
def test_what_talks_to_google_cloud_can_be_loaded(module: str) -> None:
    """A package that is missing would show when a job is sent, or on a worker."""
    import_module(module)


def test_a_pipeline_runs_in_this_process() -> None:
    """With nothing to be downloaded and no server beside it."""
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        assert_that(pipeline | beam.Create([1, 2]) | beam.Map(lambda number: number * 2), equal_to([2, 4]))
