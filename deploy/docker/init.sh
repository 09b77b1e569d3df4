#!/bin/sh
# Prepares a new control plane, or brings an old one up to date, then hands the gateway its secrets.
# Usage: init.sh bootstrap --option value ...   (the arguments are those of manage.py)
set -eu
python manage.py "$@"
exec python -m deploy.docker.secret_volumes hand-out
