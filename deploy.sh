#!/usr/bin/env bash
# One command to production: ./deploy.sh stage|plan|up|status|env|down. ./deploy.sh --help says more.
# Finds a Python and hands over to `python -m deploy`, which needs nothing but the standard library and gcloud.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

for python in ${PYTHON:-} python3.11 python3.12 python3.13 python3; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    exec "$python" -m deploy "$@"
  fi
done
printf '%s\n' "deploy.sh: no Python 3.11 or newer here: install one, or name one as PYTHON=/path/to/python3.11" >&2
exit 1
