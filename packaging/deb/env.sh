#!/bin/sh
# env.sh - makes the package's /etc/segue/segue.env from packaging/segue.env.example: the same
# settings, with those in force that follow from where the package puts things.
#
#   env.sh <segue.env.example >segue.env
set -eu
cat <<'HEAD'
# Settings of Segue, read by task-manager.service and data-processor.service. Take the # away
# from what you change, then: systemctl restart task-manager data-processor
# What is commented out is the default; docs/config.md says the same as a table.
#
# A secret (a database or broker URL with a password) is better kept out of here: see
# "Secrets" in /usr/share/doc/segue/install.md.
HEAD
awk '
    BEGIN {
        RS = ""
        ours["DATABASE_URL"] = "sqlite:/var/lib/segue/db/segue.db"
        ours["STORAGE_URL"] = "file:/var/lib/segue/storage"
        ours["WORKERS"] = "0"
        note["WORKERS"] = "\n# (data-processor.service is the worker on this machine)"
        drop["SEGUE_SUPERVISED"] = drop["HEALTH_SOCKET"] = 1 # the units say these
    }
    NR == 1 { next } # the head of the example
    {
        at = match($0, /\n#[A-Z_]+=/)
        name = substr($0, RSTART + 2, RLENGTH - 3)
        if (!at || name in drop) next
        text = substr($0, 1, RSTART - 1)
        if (name in ours) {
            print "\n" text note[name] "\n" name "=" ours[name]
            delete ours[name]
        } else {
            print "\n" $0
        }
    }
    END {
        for (name in ours) {
            print "env.sh: the example has no " name > "/dev/stderr"
            exit 1
        }
    }'
