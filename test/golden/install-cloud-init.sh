#!/bin/sh
set -e
[ ! -e /var/lib/switchyard/ready ] || exit 0
command -v cloud-init >/dev/null && [ ! -e /etc/cloud/cloud.cfg.d/95-switchyard.cfg ] && exit 0
mkdir -p /etc/cloud/cloud.cfg.d
cat >/etc/cloud/cloud.cfg.d/95-switchyard.cfg <<'END'
datasource_list: [GCE]
network: { config: disabled }
END
export DEBIAN_FRONTEND=noninteractive
# Try until it works: another apt may hold a lock, which "update" does not wait for, or the network may not be up. The guest
# agent runs this script again only at the next boot.
until dpkg --configure -a &&
  apt-get -o Acquire::Retries=5 update &&
  apt-get -o Acquire::Retries=5 -o DPkg::Lock::Timeout=60 install -y --no-install-recommends cloud-init; do
  sleep 5
done
# As in a normal boot, later stages run even if one fails. "up" reads the errors from cloud-init.
cloud-init init --local || :
cloud-init init || :
cloud-init modules --mode=config || :
cloud-init modules --mode=final || :
