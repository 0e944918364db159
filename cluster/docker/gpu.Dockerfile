# Nodes with an NVIDIA GPU: engines of scan and serve, workers of train. docs/containers.md says how to build and run it,
# docs/gpu.md which drivers it takes.
#
#     docker build -f cluster/docker/gpu.Dockerfile -t fakescan:0.1.0-gpu .
#
# A layer is pushed and pulled when it or one below it has changed. So what is big and changes least comes first: torch
# and vLLM, then the other packages, then this project. The venv is for that reason not copied from a build stage, which
# would be one layer of everything; build stages make the wheels that come into it.

# CUDA's libraries come with torch, as packages of the lock; the driver comes from the node, through NVIDIA's container
# toolkit. A base image with CUDA in it would hold all of that a second time.

# The tag says what it is, the digest (of the index of all platforms) what is taken. To move on:
# `docker buildx imagetools inspect python:3.11-slim-bookworm`, and both Dockerfiles together.
ARG BASE=python:3.11.17-slim-bookworm@sha256:0a310eeecf4e1f5a0743f9a6520c90c88d089c903ca5fd283f501e3a805f5f89

# ---- the lock, in the parts that are layers: a change in one leaves those of the others alone
FROM ${BASE} AS locks
WORKDIR /locks
COPY constraints/gpu.txt .
RUN sed '/^# == jobs/,$d; /^#/d' gpu.txt > engine.txt \
    && sed '1,/^# == jobs/d; /^# == sources/,$d' gpu.txt > jobs.txt \
    && sed '1,/^# == sources/d' gpu.txt > sources.txt

# ---- what a node needs of the system, torch and vLLM
FROM ${BASE} AS engine
# gcc, g++ and the C library's headers: Triton and torch.compile call a compiler on the node (Python's own headers are in
# the base image). tini: reaps orphans and hands signals on as the first process. wget: the probes of KubeRay. Debian
# removes the old version of a package with each update, so that pinned ones could not be built again.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ gcc libc6-dev tini wget \
    && rm -rf /var/lib/apt/lists/*
# Group 0 may write what the user may: OpenShift runs a container as a user of its own choice in that group.
RUN groupadd --gid 1000 fakescan \
    && useradd --uid 1000 --gid 1000 --groups 0 --home-dir /home/fakescan --create-home --shell /bin/bash fakescan \
    && mkdir -p /work /var/cache/fakescan \
    && chown 1000:0 /home/fakescan /work /var/cache/fakescan \
    && chmod 2775 /home/fakescan /work /var/cache/fakescan
RUN python -m venv /opt/fakescan
ENV PATH=/opt/fakescan/bin:$PATH
COPY --from=locks /locks/engine.txt /opt/fakescan/locks/engine.txt
RUN pip install --no-cache-dir --no-deps --require-hashes -r /opt/fakescan/locks/engine.txt

# ---- wheels of what has none, in a stage of their own: what builds them is not in the image
FROM engine AS sources
COPY constraints/build.txt /locks/build.txt
RUN pip install --no-cache-dir --no-deps --require-hashes -r /locks/build.txt
COPY --from=locks /locks/sources.txt /locks/sources.txt
RUN pip wheel --no-cache-dir --no-deps --require-hashes --no-build-isolation --wheel-dir /wheels -r /locks/sources.txt

# ---- this project's wheel
FROM sources AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY fakevlm fakevlm
COPY platform platform
RUN pip wheel --no-cache-dir --no-deps --no-index --no-build-isolation --wheel-dir /wheel .

# ---- the packages that change more often
FROM engine AS jobs
COPY --from=locks /locks/jobs.txt /opt/fakescan/locks/jobs.txt
RUN pip install --no-cache-dir --no-deps --require-hashes -r /opt/fakescan/locks/jobs.txt
RUN --mount=type=bind,from=sources,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-deps --no-index /wheels/*.whl

# ---- the image
FROM jobs
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    pip install --no-cache-dir --no-deps --no-index /wheel/*.whl \
    && python -c "import torch, torchvision, fakescan, fakevlm"
# Whatever is written goes to /tmp or to the cache, so that the root and the home can be read-only. Code that is compiled
# at run time is in the cache: file systems in memory are often mounted noexec.
ENV HOME=/home/fakescan \
    USER=fakescan \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/var/cache/fakescan \
    XDG_CONFIG_HOME=/var/cache/fakescan/config \
    FAKEVLM_CACHE=/var/cache/fakescan/fakevlm \
    HF_HOME=/var/cache/fakescan/huggingface \
    MPLCONFIGDIR=/var/cache/fakescan/matplotlib \
    NUMBA_CACHE_DIR=/var/cache/fakescan/numba \
    TORCHINDUCTOR_CACHE_DIR=/var/cache/fakescan/inductor \
    TORCH_EXTENSIONS_DIR=/var/cache/fakescan/torch-extensions \
    TRITON_HOME=/var/cache/fakescan \
    CUDA_CACHE_PATH=/var/cache/fakescan/cuda \
    FLASHINFER_WORKSPACE_BASE=/var/cache/fakescan \
    DO_NOT_TRACK=1 \
    RAY_USAGE_STATS_ENABLED=0 \
    VLLM_NO_USAGE_STATS=1
# FlashInfer's sampler is compiled by nvcc as the engine starts, and the engine does not start where there is no nvcc
# (vLLM's issue 49497). The greedy decoding that is done here never calls it.
ENV VLLM_USE_FLASHINFER_SAMPLER=0
# What NVIDIA's container toolkit reads: it refuses to start the image on a driver that is too old for CUDA 13.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NVIDIA_REQUIRE_CUDA="cuda>=13.0"
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.title="fakescan" \
      org.opencontainers.image.description="FakeVLM at scale on Ray: real or fake, and why. Nodes with an NVIDIA GPU." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="docker.io/library/python:3.11.17-slim-bookworm"
WORKDIR /work
USER 1000
# No HEALTHCHECK: one image is a scan, a server and a node of Ray, and Kubernetes has probes of its own.
ENTRYPOINT ["tini", "--"]
CMD ["fakescan", "--help"]
