#!/bin/bash
# docs/how-to/fleet-on-postgresql.md, followed to the letter on one machine that is database, two APIs and host at once.
# Files and units are taken from the page itself. Usage: service.sh set-up | after-reboot
. "$(dirname "$0")/checks.sh"
private=/var/lib/pinfold-check  # what root alone may read, and what has to outlast a reboot
root() { sudo env PATH="$PATH" COLUMNS=160 OS_CLIENT_CONFIG_FILE=$private/clouds.yaml OS_CLOUD=pinfold "$@"; }
export -f root
export private
secrets="db-secret-7391 admin-secret-2846"

install_block() { # install_block WORDS PATH [SED SCRIPT]
    block "$1" | sed "${3:-}" | sudo tee "$2" >/dev/null
}
state_of() { root pinfold server show "$1" --json | python3 -c 'import json, sys; found = json.load(sys.stdin); found = found.get("server", found); print(found["status"])'; }
is() { test "$(state_of "$1")" = "$2"; }
pins() { sudo virsh -q dumpxml "$(sudo virsh -q list --name | head -n 1)" | grep -E '<(vcpupin|emulatorpin)'; }
qemu_pid() { pgrep -f 'qemu-system.*guest=instance-' | head -n 1; }
log_is_clean() { # no secret, no token, no traceback
    sudo journalctl -u 'pinfold-*' --no-pager >/tmp/journal
    token=$(sudo cat /etc/pinfold/agent.token)
    for word in $secrets "$token" Traceback; do
        ! grep -qF -e "$word" /tmp/journal || { echo "the journal holds $word"; grep -F -e "$word" /tmp/journal | head -n 5; return 1; }
    done
}
no_secret_in_process_lists() {
    for word in $secrets "$(sudo cat /etc/pinfold/agent.token)"; do ! ps axww -o args | grep -v grep | grep -qF -e "$word" || { echo "$word"; return 1; }; done
}
export -f state_of is
export secrets

if [ "$1" = set-up ]; then
    # ---- names and certificates, which the page takes for granted ----
    echo '127.0.0.2 api.example
127.0.0.3 api.example
127.0.0.1 db.example' | sudo tee -a /etc/hosts >/dev/null
    sudo sed -i '/^127.0.1.1/s/ api.example db.example//' /etc/hosts
    sudo mkdir -p /etc/pinfold
    sudo install -d -m 700 "$private" "$private/ca"
    sudo sh -c 'cd "$1" && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=test \
        -addext keyUsage=critical,keyCertSign && openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tls.key -out tls.csr -subj /CN=api.example &&
        printf "subjectAltName=DNS:api.example" >san && openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile san -out tls.crt &&
        cp ca.crt tls.crt tls.key /etc/pinfold/' sh "$private/ca" >/dev/null 2>&1

    expect "a clone and its set-up" sudo bash -ec "$(block 'A clone in' | grep -v -e 'git clone' -e bin/setup)"

    # ---- the databases ----
    sudo systemctl start postgresql
    sudo -u postgres psql -q -c "CREATE ROLE pinfold LOGIN PASSWORD 'db-secret-7391'"  # createuser --pwprompt asks at a terminal
    expect "databases" sudo bash -ec "$(block '## The databases' | grep -v -e apt-get -e createuser)"

    # ---- the API, twice ----
    expect "user and folders" sudo bash -ec "$(block '## The API')"
    install_block '/etc/pinfold/api.conf' /etc/pinfold/api.conf 's/PASSWORD/db-secret-7391/; s/0\.0\.0\.0/127.0.0.2/'
    expect "modes" sudo bash -ec "$(block 'may be read')"
    echo admin-secret-2846 | sudo tee /etc/pinfold/admin.password >/dev/null
    expect "account" sudo env PATH="$PATH" bash -ec "cd /etc/pinfold; $(block 'An account is a line'); chmod 600 admin.password"
    install_block '/etc/systemd/system/pinfold-api.service`' /etc/systemd/system/pinfold-api.service
    sed 's/ --config/ --listen 127.0.0.3 --config/' /etc/systemd/system/pinfold-api.service | sudo tee /etc/systemd/system/pinfold-api2.service >/dev/null
    expect "systemd-analyze verify" bash -c 'systemd-analyze verify /etc/systemd/system/pinfold-api.service 2>&1 | grep -i pinfold; test ${PIPESTATUS[1]} = 1'
    expect "enable --now" sudo bash -ec 'systemctl daemon-reload; systemctl enable --now pinfold-api'
    expect "it is active when the command returns" systemctl is-active pinfold-api
    expect "and answers at once" curl -fsS --cacert /etc/pinfold/ca.crt --resolve api.example:8774:127.0.0.2 https://api.example:8774/healthz
    expect "the second API" sudo systemctl enable --now pinfold-api2

    # ---- clients ----
    expect "clouds.yaml" sudo env PATH="$PATH" bash -ec "umask 077; cd $private; cp /etc/pinfold/admin.password .; $(block '## Clients' | grep '^pinfold'); chmod 0600 clouds.yaml"
    expect "openstack hypervisor list" root openstack hypervisor list

    # ---- the host ----
    expect "host add" root bash -ec "cd $private; $(block 'Make it known')"
    sudo install -m 600 "$private/c01.token" /etc/pinfold/agent.token
    install_block 'There, `/etc/pinfold/pinfold.conf`' /etc/pinfold/pinfold.conf 's/0-1,16-17/0-1/; s/2-15,18-31/2-7/; s/^host = c01/&\nreserved_host_memory_mb = 256/'
    install_block '/etc/systemd/system/pinfold-agent.service`' /etc/systemd/system/pinfold-agent.service
    expect "systemd-analyze verify" bash -c 'systemd-analyze verify /etc/systemd/system/pinfold-agent.service 2>&1 | grep -i pinfold; test ${PIPESTATUS[1]} = 1'
    expect "enable --now" sudo bash -ec 'systemctl enable --now libvirtd; systemctl daemon-reload; systemctl enable --now pinfold-agent'
    up='root pinfold host list --json | grep -q "\"up\""'
    expect "the host is up" soon 90 bash -c "$up"
    root pinfold host list
    systemd-analyze security pinfold-api pinfold-agent --no-pager 2>/dev/null | grep Overall

    # ---- a guest, and what must not touch it ----
    sudo /opt/pinfold/.venv/bin/python -c "
from pathlib import Path
from pinfold.lab import rom
rom.write(Path('/srv/pinfold/images/idle.rom'))"
    sudo chmod 644 /srv/pinfold/images/idle.rom
    expect "flavor" root pinfold flavor create rt.share --vcpus 2 --ram 32 --disk 0 -p hw:cpu_policy=dedicated -p hw:emulator_threads_policy=share
    expect "server create --wait" root pinfold server create vm1 --flavor rt.share --image idle --wait
    expect "a second one, stopped" root bash -ec "pinfold server create vm2 --flavor rt.share --image idle --wait && pinfold server stop vm2 --wait"
    pid=$(qemu_pid)
    expect "the guest is not the agent's: machine.slice" grep -q machine.slice "/proc/$pid/cgroup"
    expect "restart of the agent" sudo systemctl restart pinfold-agent
    expect "the guest goes on" kill -0 "$pid"
    expect "stop of the agent is quick and clean" bash -c 'time sudo systemctl stop pinfold-agent; systemctl show pinfold-agent -p Result | grep -q success'
    expect "the guest goes on" kill -0 "$pid"
    expect "start of the agent" sudo systemctl start pinfold-agent
    expect "stop of an API is clean" bash -c 'sudo systemctl stop pinfold-api; systemctl show pinfold-api -p Result | grep -q success'
    expect "the other one serves" root pinfold server list
    expect "start of the API" sudo systemctl start pinfold-api
    expect "kill -9 of the agent: systemd starts it again" bash -c 'sudo systemctl kill -s KILL pinfold-agent; sleep 4; systemctl is-active pinfold-agent'
    expect "restart of libvirtd" sudo systemctl restart libvirtd
    expect "the guest goes on" kill -0 "$pid"
    expect "restart of PostgreSQL" sudo systemctl restart postgresql
    expect "everything answers again" soon 60 bash -c "is vm1 ACTIVE"
    expect "a third server" root pinfold server create vm3 --flavor rt.share --image idle --wait
    expect "and it is gone again" root pinfold server delete vm3 --wait
    expect "audit on the host" root pinfold audit
    pins | sudo tee "$private/pins"
else
    expect "PostgreSQL, APIs and agent are up" soon 120 systemctl is-active postgresql pinfold-api pinfold-api2 pinfold-agent libvirtd
    expect "vm1 runs again" soon 120 bash -c "is vm1 ACTIVE"
    expect "in a new process, on the same pCPUs" bash -c "$(declare -f pins); diff <(pins) <(sudo cat $private/pins)"
    expect "vm2 is still off" is vm2 SHUTOFF
    expect "and starts" root pinfold server start vm2 --wait
    expect "audit finds nothing" root pinfold audit
    expect "no start was missed at boot" bash -c "systemctl --failed --no-legend | grep pinfold; test \${PIPESTATUS[1]} = 1"
    expect "the journal of this boot can be sorted" bash -c "sudo journalctl -b -u pinfold-agent -u pinfold-api -u pinfold-api2 -p warning --no-pager | tee /dev/stderr | wc -l | awk '\$1 > 40 { exit 1 }'"
fi
expect "the journal holds no secret and no traceback" log_is_clean
expect "nor do process lists" no_secret_in_process_lists
sudo journalctl -u 'pinfold-*' -b --no-pager | tail -n 12
done_checking
