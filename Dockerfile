# The two images of the platform. Versions come from requirements.lock by way of deploy/requirements/.
#
#   docker build --target controller -t paploss-controller .
#   docker build --target worker     -t paploss-worker .                       # CUDA 13
#   docker build --target worker     -t paploss-worker:cpu \
#     --build-arg BUILD_IMAGE=python:3.11-bookworm --build-arg TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu .
#
# The CUDA image serves to compile mmcv's operators and is not shipped: the wheels of torch bring CUDA's libraries, the
# node brings the driver. Its CUDA must have the major version that the torch wheels were built with, and its C library
# and compiler must be no newer than those of PYTHON_IMAGE, where the operators run: Ubuntu 22.04 is older than Debian 12
# (bookworm), Ubuntu 24.04 is not. And no older than what the interpreter needs, which is copied the other way.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
ARG BUILD_IMAGE=nvidia/cuda:13.0.1-devel-ubuntu22.04

FROM ${PYTHON_IMAGE} AS python
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1


FROM python AS controller-packages
RUN python -m venv --without-pip /opt/venv
COPY deploy/requirements/controller.txt /tmp/requirements.txt
COPY deploy/strip_packages.py /tmp/
RUN python -m pip --python /opt/venv/bin/python install --no-deps --no-compile --requirement /tmp/requirements.txt \
  && /opt/venv/bin/python /tmp/strip_packages.py


FROM ${BUILD_IMAGE} AS worker-packages
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# What the copied interpreter links to. Versions are those of the base image's release: pinned ones vanish from mirrors.
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates g++ libexpat1 libffi8 libsqlite3-0 openssl \
  && rm -rf /var/lib/apt/lists/*
COPY --from=python /usr/local /usr/local
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN ldconfig && python3.11 -m venv /opt/venv
# What is heavy has a list of its own each, so that other packages may change without it.
COPY deploy/requirements/torch.txt /tmp/torch.txt
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cu130
RUN /opt/venv/bin/pip install --extra-index-url "${TORCH_INDEX_URL}" --requirement /tmp/torch.txt
COPY deploy/requirements/mmcv.txt /tmp/mmcv.txt
# Turing to Blackwell; a shorter list builds faster. FORCE_CUDA: no GPU is there while an image is built.
ARG CUDA_ARCHITECTURES="7.5 8.0 8.6 8.9 9.0 10.0 12.0+PTX"
ARG MAX_JOBS=4
RUN if command -v nvcc; then export FORCE_CUDA=1; fi \
  && MMCV_WITH_OPS=1 TORCH_CUDA_ARCH_LIST="${CUDA_ARCHITECTURES}" \
  /opt/venv/bin/pip install --no-deps --no-build-isolation --requirement /tmp/mmcv.txt
COPY deploy/requirements/worker.txt /tmp/requirements.txt
RUN /opt/venv/bin/pip install --no-deps --requirement /tmp/requirements.txt


FROM python AS program
COPY deploy/requirements/torch.txt /tmp/torch.txt
RUN grep -E '^(setuptools|wheel)==' /tmp/torch.txt > /tmp/build.txt \
  && python -m pip install --requirement /tmp/build.txt
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY paploss paploss
COPY controller controller
COPY worker worker
COPY trainer trainer
RUN python -m pip install --no-deps --no-build-isolation --target /opt/program .


FROM python AS image
# /tmp is the one place that a read-only root file system must leave writable; /state is the workers' volume.
ENV HOME=/tmp PYTHONPATH=/opt/program PATH=/opt/venv/bin:$PATH
RUN install --directory --owner=10001 --group=10001 /state
WORKDIR /tmp
USER 10001:10001


FROM image AS controller
COPY --from=controller-packages /opt/venv /opt/venv
COPY --from=program /opt/program /opt/program
ENV PAPLOSS_HOST=0.0.0.0 PAPLOSS_PORT=8080 PAPLOSS_STATE_DIR=/tmp/state
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import os, urllib.request as r; r.build_opener(r.ProxyHandler({})).open(f'http://127.0.0.1:{os.environ[\"PAPLOSS_PORT\"]}/readyz', timeout=4)"]
ENTRYPOINT ["python", "-m", "paploss.cli"]
CMD ["serve"]


FROM image AS worker
COPY --from=worker-packages /opt/venv /opt/venv
# Operators that were compiled elsewhere must load here. No GPU is needed for that.
RUN python -c "from mmcv.ops import nms"
COPY --from=program /opt/program /opt/program
ENV PAPLOSS_STATE_DIR=/state NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
# A worker listens nowhere: its leases tell the controller that it lives. What can break under it is the volume.
HEALTHCHECK --interval=30s --timeout=10s CMD ["test", "-w", "/state"]
ENTRYPOINT ["python", "-m", "paploss.worker"]
