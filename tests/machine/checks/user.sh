#!/bin/bash
# A user with sudo and a clone: the demonstration, the quick tests, and the policy table and the driver on real guests under cgroup v2.
. "$(dirname "$0")/checks.sh"
cd ~/pinfold || exit 1
export HOME=/home/op
workers=${MACHINE_WORKERS:-3}

expect "cgroup v2 holds the cpuset controller" grep -q cpuset /sys/fs/cgroup/cgroup.controllers
expect "nobody here is root" test "$(id -u)" != 0
expect "a second bin/setup has nothing to do and succeeds" bin/setup --tests
expect "bin/demo" bash -c 'bin/demo >/tmp/demo.out 2>&1 || { tail -n 30 /tmp/demo.out; exit 1; }'
expect "bin/test --quick" bash -c "bin/test --quick -q -n $workers >/tmp/quick.out 2>&1 || { tail -n 25 /tmp/quick.out; exit 1; }"
expect "the policies and the driver on real guests" bash -c "
    bin/test -q -n $workers tests/real/host/test_policies.py tests/real/driver >/tmp/real.out 2>&1 || { tail -n 25 /tmp/real.out; exit 1; }"
expect "nothing of root's is left in the clone" bash -c 'test -z "$(find . -not -user op -print -quit)"'
tail -n 1 /tmp/quick.out /tmp/real.out
done_checking
