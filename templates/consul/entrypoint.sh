#!/bin/sh
# Starts Consul with the node's own resolvers as recursors, so that containers that ask Consul
# still resolve the names of the outside world. Arguments go to `consul agent` as they are.
set -eu

# In the host's network namespace Docker shows a container the node's own resolvers.
# What is not an address is no resolver; NOT_RECURSOR is Consul's own DNS address, which must not ask itself.
for resolver in $(awk '$1 == "nameserver" { print $2 }' /etc/resolv.conf); do
  case $resolver in
    *[!0-9a-fA-F.:]* | "${NOT_RECURSOR:-}") ;;
    *) set -- "-recursor=$resolver" "$@" ;;
  esac
done

exec consul agent "$@"
