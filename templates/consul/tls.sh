#!/bin/sh
# TLS between Consul's agents. Each keeps in a file of its configuration how far it is:
# 1. it takes TLS, and itself connects without: so starts one with data of a time without TLS, for the others may not take it;
# 2. it takes both, and itself connects with TLS only: so starts a new one;
# 3. it takes TLS only, once `script/up` has seen that all others are at 2.
set -eu

state=/data/tls.json
secrets=/secrets/tls
out='"verify_outgoing": true, "verify_server_hostname": true'

write() {
  printf '%s\n' "$1" >"$state.new"
  mv "$state.new" "$state"
}

# Before the agent.
start() {
  if [ -s "$state" ]; then return; fi
  if [ -e /data/node-id ]; then write '{}'; else encrypt; fi
}

# The agent connects with TLS only, from its next start.
encrypt() { write "{ $out }"; }

# Fails if the agent could not load its certificates: an agent that fails to reread them has deregistered its services by then.
check() {
  said=$(CONSUL_CACERT=$secrets/authorities.pem CONSUL_CLIENT_CERT=$secrets/certificate.pem \
    CONSUL_CLIENT_KEY=$secrets/key.pem consul members 2>&1) || true
  case $said in
    # What it says without having asked the agent.
    *"Error connecting to Consul agent"*)
      printf 'The certificates in %s are broken: %s\n' "$secrets" "$said" >&2
      return 1
      ;;
  esac
}

# From now on, the agent takes TLS only.
require() {
  check
  write "{ $out, \"verify_incoming_rpc\": true }"
  consul reload
  # That made the agent forget its token.
  switchyard-acl agent
}

case ${1:-} in
  start | encrypt | require) "$1" ;;
  encrypts) grep -q verify_outgoing "$state" ;;
  requires) grep -q verify_incoming_rpc "$state" ;;
  # Rereads the certificates, without a token for that: with certificates that have ended, there is nobody to ask about tokens.
  reload)
    check
    kill -HUP 1
    ;;
  *)
    printf 'usage: switchyard-tls start|encrypt|require|encrypts|requires|reload\n' >&2
    exit 64
    ;;
esac
