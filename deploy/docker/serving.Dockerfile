# Image of one Bento: the predictor, and the shadow worker and guard by their commands. The context is what
# `python -m bento.image` lays out (app/, requirements.lock); `make images BENTO=...` does both.
#
# PYTHON_DIGEST pins the base image: `docker buildx imagetools inspect python:3.11-slim-bookworm` prints it.
# Without it no base can be resolved, and the build ends before its first step.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm
ARG PYTHON_DIGEST

FROM ${PYTHON_IMAGE}@${PYTHON_DIGEST} AS builder
WORKDIR /build
COPY requirements.lock ./
# Wheels alone: nothing is compiled, and nothing of a package runs while it is installed. Byte code is made here, since
# the root file system of a running container is read-only: without it every start compiles everything again.
RUN python -m venv /opt/installer \
    && python -m venv --without-pip /opt/venv \
    && /opt/installer/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --no-deps \
        --only-binary=:all: --require-hashes --requirement requirements.lock \
    && find /opt/venv/lib -type d \( -name tests -o -path '*/pyarrow/include' -o -path '*/onnx/backend/test' \) \
        -prune -exec rm -rf {} + \
    && /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib
COPY app /app
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /app

FROM ${PYTHON_IMAGE}@${PYTHON_DIGEST}
ARG VERSION=0
LABEL org.opencontainers.image.title="shadow-platform/serving" \
    org.opencontainers.image.description="Answers from the champion of one use case" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}"
# An installer has no business in a container that serves.
RUN rm -rf /usr/local/lib/python3.11/site-packages/pip* /usr/local/lib/python3.11/site-packages/setuptools* \
        /usr/local/bin/pip* \
    && groupadd --gid 10001 service \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin service \
    && install -d -o 10001 -g 10001 /var/lib/shadow
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /app /app
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    OMP_NUM_THREADS=1 \
    BENTOML_DO_NOT_TRACK=True \
    DO_NOT_TRACK=1 \
    FEAST_USAGE=False \
    BENTOML_HOME=/tmp/bentoml \
    BENTOML_HOST=0.0.0.0 \
    BENTOML_PORT=8000 \
    FEAST_REPO_PATH=/app/feature_repo \
    LOG_FORMAT=json \
    SHADOW_HOME=/var/lib/shadow
WORKDIR /app
USER 10001:10001
VOLUME ["/var/lib/shadow"]
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-ISc", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['BENTOML_PORT'] + '/health', timeout=4)"]
# The arbiter handles SIGTERM and reaps its workers itself, so no init process stands before it. It drains for 10 s.
CMD ["python", "-m", "bentoml", "serve", "bento.service:ShadowPredictor", "--working-dir", "/app", \
    "--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "10"]
