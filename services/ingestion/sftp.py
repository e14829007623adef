"""A tenant's files on its SFTP server: the newest of a kind, whole, from the server that it is pinned to.

A file is taken only when two looks at it, some seconds apart, find the same size and time: nobody is writing
it. It is copied to a temporary file first, so a slow server holds no row of anybody's.
"""

import asyncio
import codecs
import hashlib
import io
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import IO, Literal, TypeVar

import asyncssh

from services.ingestion import files, records
from services.ingestion.errors import PartError, Unavailable, on_disk
from services.ingestion.files import Format
from services.ingestion.requests import Part
from services.ingestion.rows import Batch, same_rows

T = TypeVar("T")

SETTLE_SECONDS = 5.0
"""Between the two looks at a file."""
STALL_SECONDS = 30.0
"""How long the server may be silent."""
MOST_BYTES = 4 * 2**30
CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class Server:
    """Where a tenant's files are.

    Attributes:
        host_key: the server's public key as `ssh-keyscan` prints it, without the host.
        password: or a private key in OpenSSH's format.
    """

    host: str
    port: int
    user: str
    host_key: str
    password: str
    folder: str = "."

    def __str__(self) -> str:
        """For messages."""
        return f"sftp://{self.user}@{self.host}:{self.port}/{self.folder}"

    def __repr__(self) -> str:
        """Without the secret."""
        return str(self)


class _InTime:
    """Waits for the server, and breaks the connection off where it is silent: closing it would wait too."""

    def __init__(self, stall: float) -> None:
        self._stall = stall
        self.connection: asyncssh.SSHClientConnection | None = None

    async def __call__(self, doing: Awaitable[T]) -> T:
        try:
            return await asyncio.wait_for(doing, self._stall)
        except TimeoutError:
            if self.connection:
                self.connection.abort()
            raise


class Files:
    """The files of one tenant."""

    def __init__(
        self,
        server: Server,
        form: Format,
        loaded: Callable[[str], tuple[date, str] | None],
        today: Callable[[], date],
        *,
        settle_seconds: float = SETTLE_SECONDS,
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        """``loaded``: the day and SHA-256 of the latest file of a kind that the books have; ``today``: in the
        tenant's zone."""
        self._server = server
        self._form = form
        self._loaded = loaded
        self._today = today
        self._settle = settle_seconds
        self._stall = stall_seconds

    def open(self, part: Part) -> "FileReading | Literal['same']":
        """The newest file of a kind; `same` where it is loaded, or is older than what is loaded.

        Raises:
            PartError: there is none, or it cannot be had.
        """
        with _translated(self._server, self._stall):
            return asyncio.run(self._fetch(part.kind))

    async def _fetch(self, kind: str) -> "FileReading | Literal['same']":
        server, in_time = self._server, _InTime(self._stall)
        async with await in_time(self._connect()) as connection:
            in_time.connection = connection
            client = await in_time(connection.start_sftp_client(path_errors="surrogateescape"))
            listed = await in_time(client.listdir(server.folder))
            found = files.newest(kind, [str(each) for each in listed])
            if found is None:
                raise PartError(
                    "missing_file", f"{server} has no file such as {kind}_2026-01-31.csv: have it sent"
                )
            name, day = found
            if day > self._today() + timedelta(days=1):
                raise PartError(
                    "future_file", f"{name} on {server} is dated after tomorrow: have it renamed or removed"
                )
            loaded = self._loaded(kind)
            if loaded and day < loaded[0]:
                return "same"
            with on_disk(f"the copy of {name}"):
                copy = tempfile.TemporaryFile()  # noqa: SIM115 - whoever reads it closes it
            try:
                digest, modified = await self._copy(client, in_time, name, copy)
            except BaseException:
                with suppress(OSError):  # of a full disk, once more
                    copy.close()
                raise
        if loaded == (day, digest):
            copy.close()
            return "same"
        return FileReading(kind, name, day, modified, digest, copy, self._form)

    async def _connect(self) -> asyncssh.SSHClientConnection:
        server = self._server
        try:
            pinned = asyncssh.import_public_key(server.host_key)
        except asyncssh.KeyImportError:
            allowed = "such as 'ssh-ed25519 AAAA…', as ssh-keyscan prints it"
            raise PartError(
                "host_key", f"the host key of {server} cannot be read: allowed is one {allowed}"
            ) from None
        own = "PRIVATE KEY" in server.password
        return await asyncssh.connect(
            server.host,
            server.port,
            username=server.user,
            password=None if own else server.password,
            client_keys=[asyncssh.import_private_key(server.password)] if own else None,
            known_hosts=([pinned], [], []),
            agent_path=None,
            config=[],
        )

    async def _copy(
        self, client: asyncssh.SFTPClient, in_time: _InTime, name: str, into: IO[bytes]
    ) -> tuple[str, datetime]:
        """Copy a file that nobody writes; its SHA-256 and when it was changed."""
        path = f"{self._server.folder}/{name}"
        before = await in_time(client.stat(path))
        if (before.size or 0) > MOST_BYTES:
            raise PartError("too_large", f"{name} has {before.size} bytes: at most {MOST_BYTES} are taken")
        await asyncio.sleep(self._settle)
        digest = hashlib.sha256()
        remote = await in_time(client.open(path, "rb", block_size=0))  # one request at a time
        while data := await in_time(remote.read(CHUNK)):
            assert isinstance(data, bytes)  # noqa: S101 - opened so
            digest.update(data)
            _write(into, data, name, before.size or 0)
        _write(into, b"", name, before.size or 0)
        await in_time(remote.close())
        after = await in_time(client.stat(path))
        if (before.size, before.mtime) != (after.size, after.mtime) or into.tell() != after.size:
            raise Unavailable("uploading", f"{name} is being written: start again when it is whole")
        return digest.hexdigest(), datetime.fromtimestamp(after.mtime or 0, UTC)


def _write(into: IO[bytes], data: bytes, name: str, size: int) -> None:
    """Add to the copy, or write out what is still in memory where there is nothing to add."""
    with on_disk(f"{name} has {size:,} bytes, and its copy"):
        into.write(data)
        if not data:
            into.flush()


@dataclass(slots=True)
class FileReading:
    """A file, copied."""

    kind: str
    source: str
    day: date
    modified_at: datetime | None
    sha256: str | None
    copy: IO[bytes]
    form: Format
    provisional: bool = False
    others: int = 0
    """Lines that are no row, by the reader."""

    def batches(self) -> Iterator[Batch]:
        """Its rows."""
        self.copy.seek(0)
        text = io.TextIOWrapper(self.copy, self.form.encoding, errors="surrogateescape", newline="")
        try:
            self.others = yield from files.batches(self.kind, self.source, _lines(text), self.form)
        finally:
            text.detach()  # else it closes the copy whenever it is collected

    def check(self, rows: int) -> None:
        """Every line is a row, is one of those that are none, or ends the load. They are counted anew."""
        same_rows(self.source, _line_breaks(self.copy, self.form.encoding) - self.others, rows)

    def close(self) -> None:
        """Delete the copy."""
        self.copy.close()


def _lines(text: io.TextIOWrapper) -> Iterator[str]:
    """The lines. Of one that is too long no more than its start is held."""
    most, head, halved = records.LONGEST_LINE + 1, "", False
    try:
        while piece := text.readline(most):
            if halved and piece == "\n":  # its first half was the last to fit
                halved = False
                continue
            halved = len(piece) == most and piece[-1] == "\r"
            ended = piece[-1] in "\r\n"
            if not head and (ended or len(piece) < most):
                yield piece
            elif head and ended:
                yield f"{head}\n"
                head = ""
            else:
                head = head or piece
        if head:
            yield head
    except UnicodeError as error:
        raise PartError(
            "encoding", f"the file is not {text.encoding} ({error}): declare its encoding"
        ) from None


def _line_breaks(copy: IO[bytes], encoding: str) -> int:
    """How many lines a file has, whatever ends them: the decoder makes one character of each line break."""
    decoder = io.IncrementalNewlineDecoder(
        codecs.getincrementaldecoder(encoding)("surrogateescape"), translate=True
    )
    copy.seek(0)
    number = sum(decoder.decode(data).count("\n") for data in iter(lambda: copy.read(CHUNK), b""))
    return number + decoder.decode(b"", final=True).count("\n")


@contextmanager
def _translated(server: Server, stall: float) -> Iterator[None]:
    """Errors of the connection become ours: each with a code, and with what to do."""
    try:
        yield
    except (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed) as error:
        raise PartError(
            "host_key",
            f"{server} has another host key than the pinned one: ask its operator; if the key was changed on "
            "purpose, set the new one",
        ) from error
    except asyncssh.PermissionDenied as error:
        raise PartError(
            "credentials", f"{server} refuses user or secret: rotate the tenant's secret"
        ) from error
    except asyncssh.SFTPPermissionDenied as error:
        raise PartError("permission", f"{server} does not let the user read: ask its operator") from error
    except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath) as error:
        raise PartError("missing_folder", f"{server} is not there: mend the tenant's folder") from error
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise PartError(
            "credentials", f"the private key for {server} cannot be read: rotate the secret"
        ) from error
    except TimeoutError as error:
        raise Unavailable(
            "slow", f"{server} sent nothing for {stall:g} seconds: start again later"
        ) from error
    except (asyncssh.ConnectionLost, asyncssh.DisconnectError, asyncssh.SFTPConnectionLost) as error:
        raise Unavailable("cut", f"{server} cut the connection: start again") from error
    except asyncssh.Error as error:
        raise Unavailable("unavailable", f"{server} says {error.reason[:200]}: start again later") from error
    except OSError as error:
        raise Unavailable(
            "network", f"{server} does not answer: look at its address and the network"
        ) from error
