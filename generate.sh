#!/usr/bin/env bash
# Regenerates generated/ from openapi.yaml and overlay.yaml, with the tools on PATH. See CONTRIBUTING.md, or --help.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
fail() { echo "generate.sh: $1; run \`make setup\`, then put .venv/bin first on PATH" >&2; exit 1; }
command -v python >/dev/null || fail "python is not on PATH"
PYTHONPATH=$root PYTHONDONTWRITEBYTECODE=1 python -P -c 'import contract.generation' 2>/dev/null || fail "python on PATH lacks what requirements/dev.txt lists"
PYTHONPATH=$root PYTHONDONTWRITEBYTECODE=1 exec python -P -m contract generate "$@"
