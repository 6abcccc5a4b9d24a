# Two images of one environment: `studio` (the page and plain HTTP, the default) and `project` (with git, for
# MLflow's and Prefect's servers and a worker). docs/deploy.md says how to use them.
FROM python:3.11.15-slim-bookworm AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11.15-slim-bookworm AS environment
# torch without CUDA, 4 GB less. Empty: what PyPI has.
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
# `fast` colours archives several times as fast; 380 MB.
ARG EXTRAS=server
COPY constraints.txt /
COPY --from=wheel /wheels /wheels
RUN python -m venv /opt/tintlab \
    && /opt/tintlab/bin/python -m pip install --no-cache-dir -c /constraints.txt "$(ls /wheels/*.whl)[$EXTRAS]"

FROM python:3.11.15-slim-bookworm AS base
ENV PATH=/opt/tintlab/bin:$PATH \
    HOME=/home/tintlab \
    PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 1000 tintlab
COPY --from=environment /opt/tintlab /opt/tintlab
WORKDIR /home/tintlab
USER 1000

FROM base AS project
USER 0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/*
USER 1000
WORKDIR /project
CMD ["tintlab", "worker"]

FROM base AS studio
EXPOSE 8400
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8400/healthz', timeout=4)"]
# Others reach this address, so TINTLAB_STUDIO_TOKEN must be set.
CMD ["tintlab", "studio", "--host", "0.0.0.0", "--port", "8400"]
