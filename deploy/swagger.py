"""`make swagger`: Swagger UI from npm into shared/http/swagger, so that /docs needs no network and no CDN.

The two files that a page needs are kept gzipped (0.5 MB), as browsers take them, beside the licences of all
that is in them. `npm pack` fetches the archive and runs nothing of it; its integrity is checked.
"""

import base64
import gzip
import hashlib
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

VERSION = "5.35.0"
INTEGRITY = "sha512-U06rpMtW9V3XPGOBeamTUSr0Z09jMX4IJuANpE/EZbAhw0G8CgwrzU4YmXkn/h0wCDNsXdGarTNNHC3sU8yVUQ=="
"""As npm states it: `npm view swagger-ui-dist@VERSION dist.integrity`."""
SERVED = {
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
}
"""What is served, and its SHA-256."""
LICENCES = ("LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt")
FILES = (*(f"{name}.gz" for name in SERVED), *LICENCES)
"""What is kept, and deployed with the services that have the page."""
FOLDER = Path(__file__).resolve().parent.parent / "shared" / "http" / "swagger"


def fetch() -> None:
    """Fetch the archive, check it, and write what is kept of it.

    Raises:
        SystemExit: it is not the archive that was agreed.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", f"swagger-ui-dist@{VERSION}", "--silent"]
        subprocess.run(command, cwd=folder, check=True)  # noqa: S603 - our own
        archive = Path(folder) / f"swagger-ui-dist-{VERSION}.tgz"
        found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != INTEGRITY:
            sys.exit(f"{archive.name}: integrity is {found}: expected {INTEGRITY}")
        FOLDER.mkdir(exist_ok=True)
        with tarfile.open(archive) as opened:
            for name in (*SERVED, *LICENCES):
                member = opened.extractfile(f"package/{name}")
                assert member  # noqa: S101 - the integrity holds, so the file is there
                content = member.read()
                if name in SERVED:
                    (FOLDER / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
                else:
                    (FOLDER / name).write_bytes(content)


if __name__ == "__main__":
    fetch()
