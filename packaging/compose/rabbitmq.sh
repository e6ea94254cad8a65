#!/bin/bash
# rabbitmq.sh - the broker of docker-compose.yml, with its password from a file.
#
#   rabbitmq.sh serve    hands over to the image's own entry point
#   rabbitmq.sh health   is the AMQP port served? 0 yes, 1 no
#
# The image reads a password from the environment only, and only on its first start. The
# health check asks the management API over bash's own socket, since starting
# rabbitmq-diagnostics takes half a second of a core, every time.
set -eu
password=$(cat /run/secrets/rabbitmq_password)
case ${1:-} in
serve)
    export RABBITMQ_DEFAULT_USER=segue RABBITMQ_DEFAULT_PASS=$password
    exec docker-entrypoint.sh rabbitmq-server
    ;;
health)
    login=$(printf 'segue:%s' "$password" | base64 | tr -d '\n')
    exec 3<>/dev/tcp/127.0.0.1/15672
    printf 'GET /api/health/checks/port-listener/5672 HTTP/1.0\r\nAuthorization: Basic %s\r\n\r\n' \
        "$login" >&3
    read -r -t 4 _ status _ <&3
    [ "$status" = 200 ]
    ;;
*) exit 2 ;;
esac
