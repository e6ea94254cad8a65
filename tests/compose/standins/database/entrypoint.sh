#!/bin/bash
# As the entry points of mysql and mariadb: MYSQL_ROOT_PASSWORD, MYSQL_DATABASE, MYSQL_USER,
# MYSQL_PASSWORD, each also from a file (..._FILE, read as root); flags for the server as
# arguments; while it sets itself up the server has no TCP port.
set -euo pipefail
data=/var/lib/mysql socket=/run/mysqld/mysqld.sock

if [ "$(id -u)" = 0 ]; then
    for name in MYSQL_ROOT_PASSWORD MYSQL_DATABASE MYSQL_USER MYSQL_PASSWORD; do
        file=${name}_FILE
        [ -z "${!file:-}" ] || export "$name=$(cat "${!file}")"
        unset "$file"
    done
    mkdir -p /run/mysqld
    find $data /run/mysqld ! -user mysql -exec chown mysql:mysql {} +
    exec setpriv --reuid=mysql --regid=mysql --init-groups bash "$0" "$@"
fi

case ${1:-} in mysqld | mariadbd) shift ;; esac
own=(--datadir=$data --socket=$socket --bind-address=* --skip-name-resolve)
if server=$(command -v mariadbd); then
    client=(mariadb --no-defaults --protocol=socket -S $socket -uroot)
    create() { mariadb-install-db --datadir=$data --auth-root-authentication-method=normal --skip-test-db --skip-name-resolve >/dev/null; }
else
    server=$(command -v mysqld)
    own+=(--mysqlx=0)
    client=(mysql --no-defaults --protocol=socket -S $socket -uroot)
    create() { "$server" --no-defaults --datadir=$data --initialize-insecure; }
fi

# Names are ours, passwords are what somebody chose: quotes are doubled.
quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/\\\\/\\\\\\\\/g; s/'/''/g")"; }

if [ ! -d $data/mysql ]; then
    create
    "$server" --no-defaults "${own[@]}" "$@" --skip-networking &
    pid=$!
    until "${client[@]}" -e 'SELECT 1' >/dev/null 2>&1; do
        kill -0 $pid
        sleep 0.2
    done
    # Nobody gets in without a password: MariaDB makes root for this host's name as well.
    "${client[@]}" -N -e "SELECT CONCAT('DROP USER ', QUOTE(user), '@', QUOTE(host), ';') FROM mysql.user WHERE user IN ('root', '') AND host <> 'localhost'" |
        "${client[@]}"
    "${client[@]}" <<SQL
CREATE DATABASE IF NOT EXISTS \`$MYSQL_DATABASE\`;
CREATE USER '$MYSQL_USER'@'%' IDENTIFIED BY $(quoted "$MYSQL_PASSWORD");
GRANT ALL ON \`$MYSQL_DATABASE\`.* TO '$MYSQL_USER'@'%';
ALTER USER root@localhost IDENTIFIED BY $(quoted "$MYSQL_ROOT_PASSWORD");
FLUSH PRIVILEGES;
SQL
    kill $pid
    wait $pid || true
fi
unset MYSQL_ROOT_PASSWORD MYSQL_PASSWORD
exec "$server" --no-defaults "${own[@]}" "$@"
