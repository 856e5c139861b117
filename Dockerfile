# A static binary in an empty image, run by a user without a name or rights.
#
#   docker build -t internaldns .
#   docker run --rm -p 5300:53/udp -p 5300:53/tcp internaldns \
#     serve --listen 0.0.0.0:53 --listen '[::]:53' --client 172.17.0.0/16=fdaa:0:18::/48,ams
#
# Port 53 needs no rights inside a container: Docker allows unprivileged ports
# from 0 there (net.ipv4.ip_unprivileged_port_start).

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /internaldns ./cmd/internaldns

FROM scratch
COPY --from=build /internaldns /internaldns
# Whom upstreams over TLS must have their certificates from.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
USER 65532:65532
EXPOSE 53/udp 53/tcp 9153/tcp
ENTRYPOINT ["/internaldns"]
CMD ["serve"]
