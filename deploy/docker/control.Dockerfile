# syntax=docker/dockerfile:1
# The control plane: web, controller, worker, beat and the one-shot jobs are this image with different commands.

FROM python:3.12-slim-bookworm AS build
WORKDIR /app
COPY requirements/control.lock requirements/embedded.lock /requirements/
RUN python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --no-cache-dir --no-deps --require-hashes -r /requirements/control.lock
COPY pyproject.toml README.md LICENSE manage.py ./
COPY model_repository_tools ./model_repository_tools
COPY controlplane ./controlplane
COPY deploy/__init__.py ./deploy/
COPY deploy/docker ./deploy/docker
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
 && install -d -o controlplane -g controlplane -m 0700 /run/secrets /handover/gateway /handover/quickstart \
 && install -d -o controlplane -g controlplane -m 0750 /handover/triton /handover/postgres /srv/models \
 && install -d -o controlplane -g controlplane -m 0700 /srv/artifacts
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001
CMD ["python", "-m", "uvicorn", "controlplane.asgi:application", "--host", "0.0.0.0", "--port", "8080"]
