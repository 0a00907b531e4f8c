#!/bin/sh
# Starts Consul with the node's own resolvers as recursors, so that containers that use Consul as their
# DNS server can resolve public names. Passes its arguments to `consul agent`.
# /secrets/agent.json has the secrets of its configuration; everyone on the node can see a command line. /data/tls.json has what
# changes while it runs.
set -eu

# On the host's network, Docker gives a container the node's own resolvers.
# Skip anything that is not an address, and NOT_RECURSOR: Consul's own DNS address, which must not query itself.
for resolver in $(awk '$1 == "nameserver" { print $2 }' /etc/resolv.conf); do
  case $resolver in
    *[!0-9a-fA-F.:]* | "${NOT_RECURSOR:-}") ;;
    *) set -- "-recursor=$resolver" "$@" ;;
  esac
done

# A new agent rejects whatever has no token. One that ran without access control allows it, until `script/up` has given
# everybody a token.
[ -e /data/node-id ] || touch /data/deny
if [ -e /data/deny ]; then policy=deny; else policy=allow; fi
switchyard-tls start
set -- -config-file=/secrets/agent.json -config-file=/data/tls.json "-hcl=acl { enabled = true, default_policy = \"$policy\" }" "$@"
switchyard-acl start &

# From 1.14 on, servers listen on port 8503 for Envoy. Earlier versions reject the option.
if consul agent -help | grep -q -e -grpc-tls-port; then set -- -grpc-tls-port=-1 "$@"; fi

# `docker exec consul consul …` has the operator's token. The agent must not: it would act for everybody who has none.
unset CONSUL_HTTP_TOKEN_FILE
exec consul agent "$@"
