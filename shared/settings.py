"""The environment, read once into one frozen object."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from shared.errors import SettingError

UTC = ZoneInfo("UTC")

_SECONDS_PER_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Settings:
    """What the environment says. Build it with `from_environment`."""

    project: str | None = None
    """`GOOGLE_CLOUD_PROJECT`; None: ask the credentials."""
    database: str = "(default)"
    """`FIRESTORE_DATABASE`."""
    emulator_host: str | None = None
    """`FIRESTORE_EMULATOR_HOST`, as `host:port`; None: the real service."""
    time_zone: ZoneInfo = UTC
    """`LIBRA_TIME_ZONE`, an IANA name: the zone of hours and dates."""
    time_action: str | None = "Served"
    """`LIBRA_TIME_ACTION`: the action that hours and dates count; None (`*`): every action."""
    lag: timedelta = timedelta(minutes=10)
    """`LIBRA_LAG_SECONDS`: how far a watermark trails the clock, at least."""
    bucket: timedelta = timedelta(minutes=10)
    """`LIBRA_BUCKET_SECONDS`: the length of a commit-time bucket; divides a day."""
    group_size: int = 300
    """`LIBRA_GROUP_SIZE`: the most entries that ride in one commit."""
    linger: timedelta = timedelta(0)
    """`LIBRA_LINGER_MS`: the least time between the starts of two commits of an instance; 0: as fast as they
    land, and slower only where Firestore answers with contention."""
    max_loss: Decimal = Decimal("0.05")
    """`LIBRA_MAX_LOSS`: the share of an aggregation's sum that a run may take away; 1 allows everything."""
    test: bool = False
    """Whether this is a test, which may use a lag that is not safe. True where an emulator is named."""
    log_level: str = "INFO"
    """`LIBRA_LOG_LEVEL`: the least severe records that are logged."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read and check every variable.

        Raises:
            SettingError: naming the first variable that cannot be used, its value and what is allowed.
        """
        read = _Reader(environment)
        return cls(
            project=read.text("GOOGLE_CLOUD_PROJECT"),
            database=read.text("FIRESTORE_DATABASE") or "(default)",
            emulator_host=read.host("FIRESTORE_EMULATOR_HOST"),
            test=read.host("FIRESTORE_EMULATOR_HOST") is not None,
            time_zone=read.zone("LIBRA_TIME_ZONE"),
            time_action=read.action("LIBRA_TIME_ACTION"),
            lag=timedelta(seconds=read.integer("LIBRA_LAG_SECONDS", 600, 0, _SECONDS_PER_DAY)),
            bucket=timedelta(seconds=read.bucket("LIBRA_BUCKET_SECONDS")),
            group_size=read.integer("LIBRA_GROUP_SIZE", 300, 1, 2_000),
            linger=timedelta(milliseconds=read.integer("LIBRA_LINGER_MS", 0, 0, 10_000)),
            max_loss=read.share("LIBRA_MAX_LOSS", "0.05"),
            log_level=read.one_of("LIBRA_LOG_LEVEL", ("INFO", "DEBUG", "WARNING", "ERROR")),
        )


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, variable: str) -> str | None:
        """An empty variable is an unset one: that is how deploy tools write 'none'."""
        return self._environment.get(variable, "").strip() or None

    def integer(self, variable: str, default: int, low: int, high: int) -> int:
        found = self.text(variable)
        if found is None:
            return default
        try:
            number = int(found)
        except ValueError:
            raise SettingError(variable, found, f"a whole number from {low} to {high}") from None
        if not low <= number <= high:
            raise SettingError(variable, found, f"a whole number from {low} to {high}")
        return number

    def bucket(self, variable: str) -> int:
        seconds = self.integer(variable, 600, 1, _SECONDS_PER_DAY)
        if _SECONDS_PER_DAY % seconds:
            raise SettingError(variable, str(seconds), "a number of seconds that divides a day (86,400)")
        return seconds

    def share(self, variable: str, default: str) -> Decimal:
        found = self.text(variable) or default
        try:
            number = Decimal(found)
        except InvalidOperation:
            number = Decimal("NaN")
        if number.is_nan() or not 0 <= number <= 1:
            raise SettingError(variable, found, "a share from 0 to 1, such as 0.05")
        return number

    def host(self, variable: str) -> str | None:
        found = self.text(variable)
        if found is None:
            return None
        name, _, port = found.rpartition(":")
        if not name or "/" in found or not port.isascii() or not port.isdigit():
            raise SettingError(variable, found, "host:port, such as 127.0.0.1:8080")
        return found

    def zone(self, variable: str) -> ZoneInfo:
        found = self.text(variable) or "UTC"
        try:
            return ZoneInfo(found)
        except (KeyError, ValueError, OSError):  # unknown; not a name; names a folder of the database
            raise SettingError(variable, found, "an IANA time zone such as Europe/Zurich") from None

    def one_of(self, variable: str, allowed: tuple[str, ...]) -> str:
        """The first of ``allowed`` is the default."""
        found = self.text(variable) or allowed[0]
        if found not in allowed:
            raise SettingError(variable, found, f"one of {', '.join(allowed)}")
        return found

    def action(self, variable: str) -> str | None:
        found = self.text(variable) or "Served"
        return None if found == "*" else found
