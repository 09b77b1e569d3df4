#!/usr/bin/env bash
# Starts Triton with its control API closed to everyone who does not know the control secret.
# Usage: start-triton.sh SECRET_FILE tritonserver --flag ...
#
# Triton takes the secret only as an argument. Read here, it is in neither the compose file nor the container's
# configuration, which `docker inspect` shows.
set -euo pipefail

secret=$(<"$1")
shift
# Triton splits the rule at ':', ',' and '=', so another character could open what this closes.
if [[ ! $secret =~ ^[A-Za-z0-9_-]{16,}$ ]]; then
    echo "The control secret must be 16 or more letters, digits, '-' and '_'." >&2
    exit 1
fi
rule="model-repository,shared-memory,trace,logging:triton-control=$secret"
exec "$@" "--http-restricted-api=$rule" "--grpc-restricted-protocol=$rule"
