# The first stage builds the program, and the second one fills the compile cache with the Node.js of the runtime image,
# which has neither a shell nor a package manager. Both images are of Node.js 24 LTS. --build-arg selects other images.
# `docker buildx imagetools inspect IMAGE:TAG` prints the digest of a newer image.
ARG BUILD_IMAGE=docker.io/library/node:24-bookworm-slim@sha256:6f7b03f7c2c8e2e784dcf9295400527b9b1270fd37b7e9a7285cf83b6951452d
ARG RUNTIME_IMAGE=gcr.io/distroless/nodejs24-debian12:nonroot@sha256:14d42e2511532589a7c7e01a753667a74fcc96266e137e8125006b87b0c32d0a

FROM ${BUILD_IMAGE} AS build
WORKDIR /opt/gatehouse
COPY package.json package-lock.json .npmrc ./
RUN ["npm", "ci", "--no-audit"]
COPY config ./config
COPY scripts ./scripts
COPY src ./src
COPY tsconfig.json ./
RUN ["npm", "run", "build"]
RUN ["node", "--import=tsx", "scripts/copy-runtime-packages.ts", "/opt/runtime"]
RUN ["find", "dist", "-name", "*.map", "-exec", "rm", "{}", "+"]

FROM ${RUNTIME_IMAGE} AS warm
ENV PATH=/usr/local/bin:/usr/bin:/bin:/nodejs/bin
WORKDIR /opt/gatehouse
COPY --from=build /opt/gatehouse ./
COPY --from=build --chown=65532:65532 /opt/gatehouse/dist ./dist
# Node.js keeps its compile cache per user, so the user that runs the program has to fill it.
USER 65532:65532
RUN ["node", "--import=tsx", "scripts/warm.ts"]

FROM ${RUNTIME_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=https://github.com/gatehouse-gateway/gatehouse
LABEL org.opencontainers.image.title="Gatehouse" \
      org.opencontainers.image.description="OpenID Connect gateway: login, session, token refresh and logout in front of any application" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.url="${SOURCE}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# One malloc arena saves some megabytes that one arena per V8 thread would hold unused.
ENV NODE_ENV=production \
    MALLOC_ARENA_MAX=1 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/nodejs/bin
WORKDIR /opt/gatehouse
COPY --from=build --chown=0:0 /opt/runtime/node_modules ./node_modules
COPY --from=warm --chown=0:0 /opt/gatehouse/dist ./dist
COPY LICENSE package.json ./
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 CMD ["node", "/opt/gatehouse/dist/main.js", "health"]
ENTRYPOINT ["node", "/opt/gatehouse/dist/main.js"]
CMD ["start"]
