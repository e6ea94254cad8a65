#!/bin/bash
# secrets.sh - makes the passwords that are not there yet, one file each, on every `up`.
#
# Four folders, so that nobody sees more than its own: server (database and broker), manager,
# worker and grafana. What is there already stays: to bring your own, put it there beforehand, or name
# folders of your own in .env (docs/deploy.md). Runs as root without a network.
set -eu
umask 077
readonly base=/secrets manager=10001 worker=10001 grafana=472

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# Every byte as %XX: any password is then fit for a URL.
escape() { printf %s "$1" | od -An -v -tx1 | tr -d '\n' | sed 's/ /%/g'; }

keep() { # FILE OWNER VALUE: the file, with this value if it is new
    if [ ! -s "$1" ]; then
        printf '%s\n' "$3" >"$1.new"
        mv "$1.new" "$1"
        echo "made $1"
    fi
    chmod 400 "$1"
    chown "$2" "$1"
}

for name in mysql_root_password mysql_password rabbitmq_password; do
    keep "$base/server/$name" 0:0 "$(random)"
done
database="mysql://segue:$(escape "$(cat $base/server/mysql_password)")@mysql:3306/segue"
broker="amqp://segue:$(escape "$(cat $base/server/rabbitmq_password)")@rabbitmq:5672/"
# The account that every Azurite has, with the key that its manual prints; it is no secret.
azurite='DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;BlobEndpoint=http://azurite:10000/devstoreaccount1;'
keep "$base/manager/database_url" $manager "$database"
keep "$base/manager/secret_key" $manager "$(random)"
for who in manager worker; do
    keep "$base/$who/amqp_url" "${!who}" "$broker"
    keep "$base/$who/azurite_connection_string" "${!who}" "$azurite"
    keep "$base/$who/azure_storage_connection_string" "${!who}" '' # none unless you bring one
done
keep "$base/grafana/admin_password" $grafana "$(random)"
chmod 755 $base/server $base/manager $base/worker $base/grafana
