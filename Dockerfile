# Bellwether alone, without a Postgres: DATABASE_URL or DATABASE_URL_FILE says where that is. docker-compose.yml
# brings both.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# The caches outlive the image being built, so a second build compiles only what changed.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin bellwether \
    && cp target/release/bellwether /usr/local/bin/bellwether

FROM debian:bookworm-slim
# Certificates, to send mail and call webhooks and pipelines over TLS.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o 65532 -g 65532 -m 0700 /var/lib/bellwether
COPY --from=build /usr/local/bin/bellwether /usr/local/bin/bellwether

# A number, so that a platform which demands an unprivileged user can see that it is one.
USER 65532:65532
WORKDIR /var/lib/bellwether
VOLUME /var/lib/bellwether
# Inside a container, loopback would be reachable by nobody; what is published outside is for the operator to say.
ENV BELLWETHER_SERVER_LISTEN=0.0.0.0:8420 \
    BELLWETHER_STORAGE_DATA_DIR=/var/lib/bellwether
EXPOSE 8420
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["bellwether", "health", "http://127.0.0.1:8420/readyz"]
ENTRYPOINT ["bellwether"]
CMD ["serve"]
