#!/bin/bash
# qemu+ssh:// to this machine itself: looked at by the hypervisor's word, called unverified, never changed.
. "$(dirname "$0")/checks.sh"
root() { sudo env PATH="$PATH" COLUMNS=160 "$@"; }
uri='qemu+ssh://op@127.0.0.1/system?keyfile=/home/op/.ssh/loop&no_verify=1'
[ -e ~/.ssh/loop ] || ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/loop
cat ~/.ssh/loop.pub >>~/.ssh/authorized_keys
sudo usermod -a -G libvirt op

root pinfold guest start r1 --flavor share --rom /var/lib/pinfold/images/idle.rom >/dev/null
expect "guest list" pinfold guest list -c "$uri"
expect "guest show is right, and unverified" bash -c "pinfold guest show r1 -c '$uri' | tee /dev/stderr | grep -qi unverified"
expect "audit is right, and unverified" bash -c "pinfold audit -c '$uri' | tee /dev/stderr | grep -qi unverified"
expect "host map" pinfold host map -c "$uri"
expect "fit" pinfold fit --flavor share -c "$uri"
expect "guest stop is refused" bash -c "pinfold guest stop r1 -c '$uri' 2>&1 | tee /dev/stderr | grep -q 'remote and read-only'"
expect "guest start is refused" bash -c "pinfold guest start r2 --vcpus 1 --ram 16 --rom /var/lib/pinfold/images/idle.rom -c '$uri' 2>&1 | tee /dev/stderr | grep -q 'own host alone'"
expect "repair is refused" bash -c "pinfold repair -c '$uri' 2>&1 | tee /dev/stderr | grep -q 'remote and read-only'"
expect "a host that does not answer is one sentence" bash -c "pinfold guest list -c 'qemu+ssh://nobody@127.0.0.1:1/system' 2>&1 | tee /dev/stderr | grep -c . | grep -qx 1"
root pinfold guest stop r1 --remove >/dev/null
done_checking
