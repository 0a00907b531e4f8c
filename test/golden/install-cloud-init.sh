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
apt-get -o Acquire::Retries=5 update
apt-get -o Acquire::Retries=5 install -y --no-install-recommends cloud-init
cloud-init init --local
cloud-init init
cloud-init modules --mode=config
cloud-init modules --mode=final
