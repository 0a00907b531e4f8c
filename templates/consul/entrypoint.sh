#!/bin/sh
# Starts Consul with the node's own resolvers as recursors, so that containers that use Consul as their
# DNS server can resolve public names. Passes its arguments to `consul agent`.
# GOSSIP_KEY, if set, encrypts the gossip between agents.
set -eu

# On the host's network, Docker gives a container the node's own resolvers.
# Skip anything that is not an address, and NOT_RECURSOR: Consul's own DNS address, which must not query itself.
for resolver in $(awk '$1 == "nameserver" { print $2 }' /etc/resolv.conf); do
  case $resolver in
    *[!0-9a-fA-F.:]* | "${NOT_RECURSOR:-}") ;;
    *) set -- "-recursor=$resolver" "$@" ;;
  esac
done

# Passed in a file, because everyone on the node can see a command line.
if [ -n "${GOSSIP_KEY:-}" ]; then
  (umask 077 && printf '{"encrypt": "%s"}\n' "$GOSSIP_KEY" >/run/gossip.json)
  set -- -config-file=/run/gossip.json "$@"
fi

exec consul agent "$@"
