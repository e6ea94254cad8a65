# The images of Segue: targets task-manager, data-processor, taskctl, and test (docs/deploy.md).
#
#   docker build --target task-manager -t segue/task-manager .
#
# Each is Debian stable, but only the files of it that the programs open: libraries,
# certificates, for the worker git. No shell, no package manager, nothing to compile with.
# packaging/image/rootfs.sh picks them and writes down which packages they are from
# (/usr/share/doc/segue/sbom.spdx.json). Both builders of Docker can build it.
ARG DEBIAN_IMAGE=debian:stable-slim

# --- what compiling needs; changes seldom, so the cache keeps it ---
FROM ${DEBIAN_IMAGE} AS tools
COPY scripts/packages.sh /src/scripts/
RUN /src/scripts/packages.sh build image && rm -rf /var/lib/apt/lists/*

# --- the programs, optimised and hardened ---
FROM tools AS build
# The date that every file of the images bears. Any fixed one will do.
ARG SOURCE_DATE_EPOCH=1767225600
ENV SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH}
# Another value compiles and packs again, whatever the cache holds (tests/compose/reproducible).
ARG AGAIN=
WORKDIR /src
COPY . .
RUN cmake --preset release -DSEGUE_TESTS=OFF \
 && cmake --build --preset release --target task_manager data_processor data_processor-worker taskctl

# --- a file tree for each image ---
FROM build AS pack
RUN packaging/image/rootfs.sh /out/task-manager task_manager \
 && packaging/image/rootfs.sh /out/data-processor data_processor data_processor-worker git \
 && packaging/image/rootfs.sh /out/taskctl taskctl

FROM scratch AS taskctl
COPY --from=pack /out/taskctl/ /
ENV PATH=/usr/bin HOME=/tmp LANG=C.UTF-8
WORKDIR /tmp
USER 10001:10001
ENTRYPOINT ["taskctl"]
CMD ["--help"]
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Segue taskctl" \
      org.opencontainers.image.description="Command line client of the Segue task manager" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"

FROM scratch AS data-processor
COPY --from=pack /out/data-processor/ /
ENV PATH=/usr/bin HOME=/tmp LANG=C.UTF-8 HEALTH_SOCKET=/tmp/worker.sock \
    STORAGE_URL=file:/var/lib/segue
WORKDIR /var/lib/segue
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["data_processor", "health"]
ENTRYPOINT ["data_processor"]
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Segue data_processor" \
      org.opencontainers.image.description="Worker of the Segue task manager" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"

FROM scratch AS task-manager
COPY --from=pack /out/task-manager/ /
# Without a broker a task manager starts a worker of its own; here that is another image.
ENV PATH=/usr/bin HOME=/tmp LANG=C.UTF-8 LISTEN=0.0.0.0:5000 WORKERS=0 \
    STORAGE_URL=file:/var/lib/segue
# Nothing about secrets here: a DATABASE_URL would win over DATABASE_URL_FILE. The default is a
# SQLite file below the working directory.
WORKDIR /var/lib/segue
USER 10001:10001
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=90s CMD ["task_manager", "health"]
ENTRYPOINT ["task_manager"]
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Segue task_manager" \
      org.opencontainers.image.description="Asynchronous task manager: accepts, keeps and hands out tasks" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"

# --- profile test of docker-compose.yml: uploads, and looks at what comes back ---
FROM ${DEBIAN_IMAGE} AS test
COPY scripts/packages.sh /tmp/
RUN /tmp/packages.sh image-test && rm -rf /var/lib/apt/lists/*
COPY tests/compose/*.py /tests/
USER 10001:10001
ENV TASK_MANAGER_URL=http://task_manager:5000
ENTRYPOINT ["python3", "-B", "/tests/smoke.py"]
