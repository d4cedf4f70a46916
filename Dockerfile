# Two images:
#
#   docker build --target client -t labelmill-client .   migrations, gateways: no torch
#   docker build --target worker -t labelmill-worker .   torch and transformers too
#
# torch's ordinary wheels bring their CUDA libraries. For machines without a GPU, a package index
# with torch for the CPU makes a far smaller image: --build-arg TORCH_INDEX=<its address>.

FROM python:3.12-slim AS python
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore


FROM python AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY core core
COPY db db
COPY producer producer
COPY worker worker
COPY app app
RUN pip wheel --no-deps --wheel-dir /dist .


FROM python AS base
# /tmp is the one folder that every container can write to, so it is home. The cache of checkpoints
# and the uploads have their owner here, because a new volume takes it over from the image.
RUN groupadd --gid 10001 labelmill \
    && useradd --uid 10001 --gid labelmill --no-create-home --home-dir /tmp \
        --shell /usr/sbin/nologin labelmill \
    && install --directory --owner labelmill --group labelmill \
        /var/lib/labelmill/huggingface /var/lib/labelmill/uploads
ENV HF_HOME=/var/lib/labelmill/huggingface \
    HF_HUB_DISABLE_TELEMETRY=1 \
    LABELMILL_CACHE_DIR=/var/lib/labelmill/huggingface/labelmill
WORKDIR /srv/labelmill
STOPSIGNAL SIGTERM
ENTRYPOINT ["labelmill"]


FROM base AS client
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist \
    --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    pip install --constraint /constraints.txt "$(echo /dist/labelmill-*.whl)[gateway,postgres]"
# By number: Kubernetes cannot tell from a name that it is not root's.
USER 10001:10001


FROM base AS worker
ARG TORCH_INDEX=
# torch has a layer of its own: it is most of the image and changes only with constraints.txt. The
# other index gives torch alone; what torch needs comes from the ordinary one.
RUN --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    if [ -n "$TORCH_INDEX" ]; then \
        pip install --constraint /constraints.txt --no-deps --index-url "$TORCH_INDEX" torch \
            || exit 1; \
    fi \
    && pip install --constraint /constraints.txt torch
RUN --mount=type=bind,from=wheel,source=/dist,target=/dist \
    --mount=type=bind,source=constraints.txt,target=/constraints.txt \
    pip install --constraint /constraints.txt "$(echo /dist/labelmill-*.whl)[worker,postgres]"
USER 10001:10001
