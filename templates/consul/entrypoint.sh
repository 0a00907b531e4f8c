#!/bin/sh
# Starts Consul with the node's own resolvers as recursors, so that containers that ask Consul
# still resolve the names of the outside world. Arguments go to `consul agent` as they are.
# GOSSIP_KEY, where it is set, encrypts what agents say to each other.
set -eu

# In the host's network namespace Docker shows a container the node's own resolvers.
# What is not an address is no resolver; NOT_RECURSOR is Consul's own DNS address, which must not ask itself.
for resolver in $(awk '$1 == "nameserver" { print $2 }' /etc/resolv.conf); do
  case $resolver in
    *[!0-9a-fA-F.:]* | "${NOT_RECURSOR:-}") ;;
    *) set -- "-recursor=$resolver" "$@" ;;
  esac
done

# In a file, because a command line is there for everybody on the node to see.
if [ -n "${GOSSIP_KEY:-}" ]; then
  (umask 077 && printf '{"encrypt": "%s"}\n' "$GOSSIP_KEY" >/run/gossip.json)
  set -- -config-file=/run/gossip.json "$@"
fi

exec consul agent "$@"
