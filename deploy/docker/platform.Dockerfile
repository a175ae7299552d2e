# Image of everything but answering: Dagster's web server, daemon and code server, the command line, the stream consumer,
# the log's relay and lander, the exporter, the shadow worker. Which of them a container is, its command says. The
# context holds requirements.lock, the platform's wheel and those of what is published as source alone; `make images`
# lays it out.
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
COPY wheel ./wheel
RUN /opt/installer/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile --no-deps --no-index \
        wheel/*.whl \
    && for package in shadow_platform bento feature_repo; do \
        /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash \
            "/opt/venv/lib/python3.11/site-packages/$package"; \
    done

FROM ${PYTHON_IMAGE}@${PYTHON_DIGEST}
ARG VERSION=0
LABEL org.opencontainers.image.title="shadow-platform/platform" \
    org.opencontainers.image.description="Dagster, command line, stream and log processes of the Shadow Platform" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}"
# An installer has no business in a container that runs.
RUN rm -rf /usr/local/lib/python3.11/site-packages/pip* /usr/local/lib/python3.11/site-packages/setuptools* \
        /usr/local/bin/pip* \
    && groupadd --gid 10001 service \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin service \
    && install -d -o 10001 -g 10001 /var/lib/shadow
COPY --from=builder /opt/venv /opt/venv
# LightGBM's wheel wants an OpenMP library from the system, which the base lacks; scikit-learn's wheel brings one.
RUN ln -s /opt/venv/lib/python3.11/site-packages/scikit_learn.libs/libgomp-*.so.1.0.0 /usr/lib/libgomp.so.1 \
    && test -e /usr/lib/libgomp.so.1
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    OMP_NUM_THREADS=1 \
    BENTOML_DO_NOT_TRACK=True \
    DO_NOT_TRACK=1 \
    FEAST_USAGE=False \
    FEAST_REPO_PATH=/opt/venv/lib/python3.11/site-packages/feature_repo \
    LOG_FORMAT=json \
    SHADOW_HOME=/var/lib/shadow \
    DAGSTER_HOME=/var/lib/shadow/dagster
WORKDIR /var/lib/shadow
USER 10001:10001
VOLUME ["/var/lib/shadow"]
EXPOSE 4000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s --retries=3 \
    CMD ["dagster", "api", "grpc-health-check", "--port", "4000"]
# Runs are children of the code server: give the container an init process (`init: true`), which reaps what they leave.
CMD ["dagster", "api", "grpc", "--host=0.0.0.0", "--port=4000", "--module-name=shadow_platform.definitions", \
    "--location-name=shadow_platform", "--log-format=json"]
