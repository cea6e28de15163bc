# Node.js 24 LTS builds the program. The runtime image is the same without a shell or package manager.
# --build-arg selects other images.
ARG BUILD_IMAGE=docker.io/library/node:24-bookworm-slim
ARG RUNTIME_IMAGE=gcr.io/distroless/nodejs24-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /opt/gatehouse
COPY package.json package-lock.json .npmrc ./
RUN ["npm", "ci", "--no-audit"]
COPY config ./config
COPY scripts ./scripts
COPY src ./src
COPY tsconfig.json ./
RUN ["npm", "run", "build"]
# Node.js keeps its compile cache per user, so the user that runs the program has to fill it.
RUN ["chown", "-R", "65532:65532", "dist"]
USER 65532:65532
RUN ["node", "--import=tsx", "scripts/warm.ts"]
RUN ["chmod", "-R", "a+rX", "dist"]

FROM ${BUILD_IMAGE} AS dependencies
WORKDIR /opt/gatehouse
COPY package.json package-lock.json .npmrc ./
RUN ["npm", "ci", "--no-audit", "--omit=dev", "--omit=optional"]
# sodium-native ships prebuilt binaries for every platform; the image needs those for Linux.
RUN ["find", "node_modules/sodium-native/prebuilds", "-type", "f", "!", "-path", "*/linux-*", "-exec", "rm", "{}", "+"]

FROM ${RUNTIME_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Gatehouse" \
      org.opencontainers.image.description="OpenID Connect gateway: login, session, token refresh and logout in front of any application" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# One malloc arena saves some megabytes that one arena per V8 thread would hold unused.
ENV NODE_ENV=production \
    MALLOC_ARENA_MAX=1 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/nodejs/bin
WORKDIR /opt/gatehouse
COPY --from=dependencies --chown=0:0 /opt/gatehouse/node_modules ./node_modules
COPY --from=build --chown=0:0 /opt/gatehouse/dist ./dist
COPY LICENSE package.json ./
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 CMD ["node", "/opt/gatehouse/dist/main.js", "health"]
ENTRYPOINT ["node", "/opt/gatehouse/dist/main.js"]
CMD ["start"]
