#!/bin/bash
# mysql-health.sh - does the database answer the user of the task manager? Over TCP: while an
# image sets itself up, it serves its socket only. MySQL's and MariaDB's images name the
# client differently.
set -eu
client=$(command -v mysql || command -v mariadb)
MYSQL_PWD=$(cat /run/secrets/mysql_password) exec "$client" --protocol=tcp -h 127.0.0.1 \
    -u segue -e 'SELECT 1' segue >/dev/null
