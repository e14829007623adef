"""`libra demo usage`, and the part of the local stack that it shows."""

import pytest
from click.testing import CliRunner

from cli.main import main
from local.extras import EXTRAS


@pytest.mark.timeout(300)
def test_the_demo_ends_with_the_bill_that_was_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four APIs, two flushes, evictions, an empty Redis, kills: and no request is missing or billed twice."""
    for name in ("LIBRA_REDIS_URL", "LIBRA_POSTGRES_URL"):
        monkeypatch.delenv(name, raising=False)
    result = CliRunner().invoke(main, ["demo", "usage", "--requests", "600"])
    assert result.exit_code == 0, result.output
    assert "600 requests were served, 600 are billed: the bill is what was served" in " ".join(
        result.output.split()
    )
    assert "usage" in EXTRAS
