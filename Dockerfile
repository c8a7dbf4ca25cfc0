# Two images: `loop` has everything (flows, MLflow's and Prefect's servers, the jobs of the stack), `api` only the prediction service.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

FROM ${PYTHON_IMAGE} AS build
ENV PIP_CACHE_DIR=/pip-cache PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
COPY stack/build.lock /locks/
RUN --mount=type=cache,target=/pip-cache python -m venv /opt/build && /opt/build/bin/python -m pip install --quiet --no-deps --require-hashes -r /locks/build.lock
# pip and setuptools stay here: nothing needs them when it runs.
RUN python -m venv --without-pip /opt/closedloop
ENV PATH=/opt/build/bin:${PATH}

# Our own wheel changes most often, so it is installed after the packages, whose layers stay cached.
FROM build AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY flows flows
COPY api api
RUN pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels .

FROM build AS loop-packages
COPY stack/loop.lock /locks/
RUN --mount=type=cache,target=/pip-cache pip --python /opt/closedloop install --quiet --no-deps --require-hashes -r /locks/loop.lock

FROM build AS api-packages
COPY stack/api.lock /locks/
RUN --mount=type=cache,target=/pip-cache pip --python /opt/closedloop install --quiet --no-deps --require-hashes -r /locks/api.lock

FROM ${PYTHON_IMAGE} AS base
# LightGBM needs OpenMP's runtime.
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-log-init --create-home --home-dir /var/lib/closedloop closedloop \
    && chmod 700 /var/lib/closedloop \
    && install -d -o closedloop -g closedloop /windows \
    && python -m pip --quiet uninstall --yes --root-user-action=ignore pip setuptools wheel
COPY --chmod=755 stack/healthy /usr/local/bin/healthy
ENV PATH=/opt/closedloop/bin:${PATH} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    CLOSEDLOOP_HOME=/var/lib/closedloop DO_NOT_TRACK=true MLFLOW_DISABLE_TELEMETRY=true PREFECT_SERVER_ANALYTICS_ENABLED=false
LABEL org.opencontainers.image.title="closedloop" org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.description="A self-hosted closed loop for tabular classifiers"
WORKDIR /app

FROM base AS api
COPY --from=api-packages /opt/closedloop /opt/closedloop
RUN --mount=type=bind,from=wheel,source=/opt/build,target=/opt/build --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    --mount=type=bind,source=stack/sbom.py,target=/sbom.py \
    /opt/build/bin/pip --python /opt/closedloop install --quiet --no-deps --no-index /wheels/*.whl \
    && python /sbom.py > /opt/closedloop/sbom.json
# Last, because it changes with every commit.
ARG REVISION=unknown
ENV CLOSEDLOOP_REVISION=${REVISION}
LABEL org.opencontainers.image.revision="${REVISION}"
USER closedloop
EXPOSE 8080
CMD ["closedloop", "serve", "--host", "0.0.0.0", "--port", "8080"]

FROM base AS loop
COPY --from=loop-packages /opt/closedloop /opt/closedloop
RUN --mount=type=bind,from=wheel,source=/opt/build,target=/opt/build --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    --mount=type=bind,source=stack/sbom.py,target=/sbom.py \
    /opt/build/bin/pip --python /opt/closedloop install --quiet --no-deps --no-index /wheels/*.whl \
    && /opt/build/bin/pip --python /opt/closedloop check \
    && python /sbom.py > /opt/closedloop/sbom.json
COPY stack/jobs /app/jobs
COPY prefect.yaml /app/
ARG REVISION=unknown
ENV CLOSEDLOOP_REVISION=${REVISION}
LABEL org.opencontainers.image.revision="${REVISION}"
USER closedloop
CMD ["closedloop", "--help"]
