"""An SFTP server on this machine: the folder that it serves, and what it does badly on request."""

import asyncio
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self

import asyncssh

USER = "shop"
PASSWORD = "local-only"  # noqa: S105 - of a server on this machine


class _Sign(asyncssh.SSHServer):
    """Lets one user in."""

    def password_auth_supported(self) -> bool:
        """It does."""
        return True

    def validate_password(self, username: str, password: str) -> bool:
        """Whether it is the user's."""
        return (username, password) == (USER, PASSWORD)


class SftpServer:
    """Serves a folder over SFTP on 127.0.0.1. A context manager.

    Attributes:
        folder: what it serves.
        port: where.
        host_key: what a client pins.
        stalled: set it to let every read wait until it is cleared; `cut` breaks the connection off at a read.
    """

    def __init__(self, folder: Path) -> None:
        """Nothing is started yet; each server has a key of its own."""
        self.folder = folder
        self.port = 0
        self.stalled = False
        self.cut = False
        self._key = asyncssh.generate_private_key("ssh-ed25519")
        self.host_key = self._key.export_public_key().decode().strip()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._ready: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Self:
        """Start it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        self.port = self._ready.result(60)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stalled = False
        if self._over and self._loop:
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(60)

    async def _serve(self) -> None:
        outer, self._loop, self._over = self, asyncio.get_running_loop(), asyncio.Event()

        class Served(asyncssh.SFTPServer):
            def __init__(self, channel: asyncssh.SSHServerChannel[Any]) -> None:
                super().__init__(channel, chroot=str(outer.folder).encode())
                self._channel = channel

            async def read(self, file_obj: Any, offset: int, size: int) -> bytes:
                while outer.stalled:
                    await asyncio.sleep(0.01)
                if outer.cut:
                    self._channel.get_connection().abort()
                found = super().read(file_obj, offset, size)
                assert isinstance(found, bytes)  # noqa: S101 - it reads a file at once
                return found

        async with asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[self._key], server_factory=_Sign, sftp_factory=Served
        ) as server:
            self._ready.set_result(server.get_port())
            await self._over.wait()
