#!/usr/bin/env bash
# Regenerates generated/ from openapi.yaml and overlay.yaml with the tools on PATH. See CONTRIBUTING.md or --help.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v python >/dev/null || { echo "generate.sh: python is not on PATH; run \`make setup\`, then put .venv/bin first on PATH" >&2; exit 1; }
trap '' INT # Python handles Ctrl-C
PYTHONPATH=$root PYTHONDONTWRITEBYTECODE=1 exec python -P -m contract generate "$@"
