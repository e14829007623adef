"""What the services of the local stack are given."""

from pathlib import Path

from local.served import Served


def test_the_local_api_reads_no_postgresql_that_the_shell_names(tmp_path: Path) -> None:
    """It takes tokens that nobody signed, and the shell may name a database in use."""
    own = {"LIBRA_POSTGRES_URL": "postgresql://user:password@host/shop"}
    served = Served.api("127.0.0.1:1", tmp_path / "api.txt", own)
    assert served._environment["LIBRA_POSTGRES_URL"] == ""
