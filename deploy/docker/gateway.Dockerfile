# syntax=docker/dockerfile:1
# The gateway: no Django, no database driver, none of the control plane's code.

FROM python:3.12-slim-bookworm AS build
WORKDIR /app
COPY requirements/gateway.lock requirements/embedded.lock /requirements/
RUN python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --require-hashes -r /requirements/gateway.lock
COPY pyproject.toml README.md LICENSE ./
COPY controlplane/__init__.py controlplane/env.py ./controlplane/
COPY controlplane/wire ./controlplane/wire
COPY controlplane/gateway ./controlplane/gateway
# The project's own metadata holds its version; setuptools, pinned like everything else, is there only to write it.
RUN sed -n '/^setuptools==/,/[^\\]$/p' /requirements/embedded.lock > /requirements/setuptools.lock \
 && pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes -r /requirements/setuptools.lock \
 && pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --no-build-isolation -e . \
 && pip --python /opt/venv/bin/python uninstall --yes setuptools \
 && python -m compileall -q /app

FROM python:3.12-slim-bookworm
# The folders are where volumes are mounted: a new volume takes over their owner and mode.
RUN groupadd --gid 10001 controlplane \
 && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin controlplane \
 && install -d -o controlplane -g controlplane -m 0700 /run/secrets /var/lib/gateway
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001
CMD ["python", "-m", "controlplane.gateway"]
