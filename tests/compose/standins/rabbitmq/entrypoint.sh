#!/bin/sh
# As root: the cookie first, since a `docker exec` of a command that came sooner would make it
# root's, and the broker could not read it. Then everything is the broker's own. It reads
# RABBITMQ_DEFAULT_USER and RABBITMQ_DEFAULT_PASS by itself.
set -eu
if [ "$(id -u)" = 0 ]; then
    cookie=/var/lib/rabbitmq/.erlang.cookie
    [ -s $cookie ] || (umask 077 && od -An -N20 -tx1 /dev/urandom | tr -d ' \n' >$cookie)
    find /var/lib/rabbitmq ! -user rabbitmq -exec chown rabbitmq:rabbitmq {} +
    exec setpriv --reuid=rabbitmq --regid=rabbitmq --init-groups "$@"
fi
exec "$@"
