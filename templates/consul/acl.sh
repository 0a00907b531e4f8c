#!/bin/sh
# Consul's access control: gives the cluster its policies and tokens, which `script/up` writes to /secrets. Tokens are only
# ever in files and in requests, never in arguments, where everyone on the node could read them.
set -eu

secrets=/secrets
data=/data
address=${CONSUL_HTTP_ADDR:-127.0.0.1:8500}

say() { printf '%s\n' "$*" >&2; }

# exchange METHOD PATH TOKEN BODY: prints Consul's whole answer. TOKEN and BODY are files.
# Consul's own image has curl, and one made of Debian's packages has bash.
exchange() {
  if command -v curl >/dev/null; then
    printf 'header = "X-Consul-Token: %s"\n' "$(cat "$3")" |
      curl -sSi -m 10 --http1.0 -K - -X "$1" --data-binary "@$4" "http://$address/v1/$2"
  else
    # shellcheck disable=SC2016
    timeout 10 bash -c '
      exec 3<>"/dev/tcp/$5/$6"
      {
        printf "%s /v1/%s HTTP/1.0\r\nX-Consul-Token: %s\r\n" "$1" "$2" "$(cat "$3")"
        printf "Content-Length: %s\r\n\r\n" "$(wc -c <"$4")"
        cat "$4"
      } >&3
      cat <&3' - "$@" "${address%:*}" "${address##*:}"
  fi
}

# request METHOD PATH TOKEN [BODY]: prints the body of Consul's answer. Unless its status is 200, prints it as an error and fails.
request() {
  answer=$(exchange "$1" "$2" "$3" "${4:-/dev/null}" 2>&1) || {
    say "Consul at $address does not answer: $answer"
    return 1
  }
  body=$(printf '%s\n' "$answer" | sed '1,/^\r*$/d')
  case $answer in
    HTTP/1.?\ 200*) printf '%s\n' "$body" ;;
    *)
      say "Consul answered ${answer%%
*} to $1 $2: $body"
      return 1
      ;;
  esac
}

# The file with a token that may manage policies and tokens. During a rotation that is the previous one.
manager() {
  for file in "$secrets/management" "$secrets/previous"; do
    [ -s "$file" ] || continue
    if request GET acl/token/self "$file" >/dev/null 2>&1; then
      printf '%s\n' "$file"
      return
    fi
  done
  request GET acl/token/self "$secrets/management" >/dev/null
}

# The ID of a policy; nothing if it does not exist.
policy_id() { request GET "acl/policy/name/$1" "$2" 2>/dev/null | grep -o '"ID":"[^"]*"' | head -n 1 | cut -d'"' -f4; }

apply() {
  # A new agent and `script/up` may both do this.
  exec 9>"$data/acl.lock"
  flock 9
  by=$(manager)
  for file in "$secrets"/policies/*.json; do
    [ -s "$file" ] || continue
    name=$(basename "$file" .json)
    id=$(policy_id "$name" "$by") || id=
    request PUT "acl/policy${id:+/$id}" "$by" "$file" >/dev/null
  done
  if [ "$by" != "$secrets/management" ]; then
    request PUT acl/token "$by" "$secrets/management.json" >/dev/null
    by=$secrets/management
  fi
  for file in "$secrets"/tokens/*.json; do
    [ -s "$file" ] || continue
    id=$(basename "$file" .json)
    if request GET "acl/token/$id" "$by" >/dev/null 2>&1; then path=acl/token/$id; else path=acl/token; fi
    request PUT "$path" "$by" "$file" >/dev/null
  done
}

# Gives the agent its own token, with which it keeps its node up to date.
agent() { request PUT agent/token/agent "$secrets/operator" "$secrets/agent-token.json" >/dev/null; }

# rights TOKEN RIGHTS true|false: which of the rights the token has (true) or lacks (false).
rights() {
  authorized=$(request POST internal/acl/authorize "$1" "$2") || return 1
  printf '%s\n' "$authorized" | tr '{}' '\n\n' | grep "\"Allow\":$3" |
    sed 's/.*"Resource":"\([^"]*\)".*"Access":"\([^"]*\)".*/\1:\2/' | tr '\n' ' '
}

# Fails with status 2 if a token lacks rights that it needs, or if somebody without a token has rights.
check() {
  status=0
  for file in "$secrets"/rights/*.json; do
    [ -s "$file" ] || continue
    name=$(basename "$file" .json)
    token=$secrets/$name
    [ -e "$token" ] || token=/dev/null
    lacks=$(rights "$token" "$file" false 2>&1) || lacks="all rights: $lacks"
    [ -z "$lacks" ] || { say "Consul's token \"$name\" lacks $lacks"; status=2; }
  done
  if [ -e "$data/deny" ]; then
    has=$(rights /dev/null "$secrets/denied.json" true) || return 1
    [ -z "$has" ] || { say "Without a token, everybody has in Consul $has"; status=2; }
  fi
  return "$status"
}

# Waits until all services of this agent are registered with Registrator's token or the operator's, and prints the others: once
# nobody may do anything without a token, Consul no longer takes changes of those.
settle() {
  left=15
  while [ "$left" -gt 0 ] && [ -n "$(strays)" ]; do
    sleep 1
    left=$((left - 1))
  done
  strays
}

strays() {
  [ -d "$data/services" ] || return 0
  for file in $(grep -rLF -f "$secrets/registrator" -f "$secrets/operator" "$data/services" || true); do
    sed -n 's/.*"Service":{[^{}]*"ID":"\([^"]*\)".*/\1/p' "$file"
  done
}

# Removes the tokens of earlier generations.
prune() {
  by=$secrets/management
  if [ -s "$secrets/previous" ]; then
    # The leader makes the first one itself, with an ID of its own.
    id=$(request GET acl/token/self "$secrets/previous" 2>/dev/null | grep -o '"AccessorID":"[^"]*"' | cut -d'"' -f4) || id=
    [ -z "$id" ] || request DELETE "acl/token/$id" "$by" >/dev/null
  fi
  listed=$(CONSUL_HTTP_TOKEN_FILE=$by consul acl token list)
  ids=$(printf '%s\n' "$listed" | awk '/^AccessorID:/ { id = $2 } /^Description: *Switchyard / { print id }')
  for id in $ids; do
    if [ ! -s "$secrets/tokens/$id.json" ] && ! grep -q "$id" "$secrets/management.json"; then
      request DELETE "acl/token/$id" "$by" >/dev/null
    fi
  done
}

# Runs beside an agent that starts. A cluster that lost its data gets its policies and tokens back.
start() {
  until request GET status/leader /dev/null 2>/dev/null | grep -q :; do sleep 0.2; done
  if [ -e "$secrets/management.json" ]; then
    until manager >/dev/null 2>&1; do sleep 0.2; done
    until [ -n "$(policy_id switchyard-operator "$(manager)")" ] || "$0" apply; do sleep 1; done
  fi
  until agent 2>/dev/null; do sleep 0.5; done
}

case ${1:-} in
  apply | agent | check | settle | prune | start) "$1" ;;
  # Whether this agent rejects whatever has no token.
  denies) [ -e "$data/deny" ] ;;
  deny) touch "$data/deny" ;;
  *)
    say "usage: switchyard-acl apply|agent|check|settle|prune|start|denies|deny"
    exit 64
    ;;
esac
