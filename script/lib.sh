# shellcheck shell=bash
# Functions and settings that the scripts share. Source this file; do not run it.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }

# fail PROBLEM CURE: prints both sentences and ends the script.
fail() {
  printf '\033[1;31merror:\033[0m %s\n       %s\n' "$1" "$2" >&2
  exit 1
}

# Prints 32 random hexadecimal digits.
random_hex() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

# The stack, and the engines' state: by default a folder here, so that no account is needed.
stack=${STACK:-dev}
stack_file=Pulumi.$stack.yaml
project=$(sed -n 's/^name: *//p' Pulumi.yaml)
passphrase_file=.switchyard/passphrase
export PULUMI_SKIP_UPDATE_CHECK=1
# Without this, the Pulumi CLI first downloads the plugins of every cloud, whatever the target is.
export PULUMI_OPTION_SKIP_PLUGIN_PRE_INSTALL=true
# For NODE_OPTIONS of the Pulumi CLI, which passes it on to the processes that it starts for resources.
lazily="${NODE_OPTIONS:-} --require \"$PWD/lib/lazy.cjs\""
# CI systems pass a missing secret as an empty variable, which the CLI does not treat as unset.
for variable in PULUMI_ACCESS_TOKEN PULUMI_BACKEND_URL PULUMI_CONFIG_PASSPHRASE; do
  [ -n "${!variable:-}" ] || unset "$variable"
done
if [ -z "${PULUMI_ACCESS_TOKEN:-}" ]; then
  export PULUMI_BACKEND_URL=${PULUMI_BACKEND_URL:-file://$PWD/.switchyard/pulumi}
fi
if [ -z "${PULUMI_CONFIG_PASSPHRASE:-}" ]; then
  export PULUMI_CONFIG_PASSPHRASE_FILE=${PULUMI_CONFIG_PASSPHRASE_FILE:-$PWD/$passphrase_file}
fi

# The engine that runs the program: $ENGINE, or the Pulumi CLI if it is installed, or else the embedded engine.
if [ -z "${ENGINE:-}" ]; then
  if command -v pulumi >/dev/null; then ENGINE=pulumi; else ENGINE=embedded; fi
fi

# engine up|down|outputs|state|config|cancel [ARGUMENT…]: runs a command of the engine on the stack.
engine() {
  local verb=$1
  local -x NODE_OPTIONS=$lazily
  shift
  case $ENGINE:$verb in
    embedded:cancel) rm -f ".switchyard/state/$stack.json.lock" ;;
    embedded:state) cat ".switchyard/state/$stack.json" 2>/dev/null || true ;;
    embedded:*) node -r ./lib/register.cjs engine/main.ts "$verb" --stack "$stack" "$@" ;;
    # Refresh first, so that resources removed by hand come back, as with the embedded engine.
    pulumi:up) pulumi up --stack "$stack" --yes --skip-preview --refresh "$@" ;;
    pulumi:down) pulumi destroy --stack "$stack" --yes --skip-preview "$@" ;;
    pulumi:outputs) pulumi stack output --stack "$stack" "$@" ;;
    pulumi:config) pulumi config --stack "$stack" "$@" ;;
    pulumi:state) pulumi stack export --stack "$stack" ;;
    pulumi:cancel) pulumi cancel --stack "$stack" --yes "$@" ;;
    *) fail "ENGINE is '$ENGINE'." "Use ENGINE=pulumi or ENGINE=embedded, or leave it unset." ;;
  esac
}

# The folder with the Pulumi CLI's state. Fails if a service keeps the state.
backend_folder() {
  local url=${PULUMI_BACKEND_URL:-}
  [[ $url = file://* ]] || return 1
  url=${url#file://}
  url=${url%%\?*}
  printf %s "${url/#\~/$HOME}/.pulumi"
}

# Removes the locks of runs of the Pulumi CLI that were killed on this machine. Ends the script if any other run has a lock.
unlock() {
  local folder lock pid host
  folder=$(backend_folder) || return 0
  for lock in "$folder/locks/organization/$project/$stack"/*.json; do
    read -r pid host <<<"$(sed -n 's/.*"pid":\([0-9]*\).*"hostname":"\([^"]*\)".*/\1 \2/p' "$lock" 2>/dev/null)"
    [ -n "$host" ] || continue # there is none, or it has just been removed
    if [ "$host" != "$(hostname)" ] || grep -qs pulumi "/proc/$pid/comm"; then
      fail "Process $pid on $host is working on stack $stack." \
        "Wait until it ends, or stop it with Ctrl-C. If it no longer exists, remove its lock with script/cancel."
    fi
    rm -f "$lock"*
    say "removed the lock of an earlier run (process $pid) that no longer exists"
  done
}

# Forgets what a killed run of the Pulumi CLI was creating, if the program finds all of it again: everything in Docker. The CLI
# would warn about it on every run.
forget_pending() {
  local state
  state=$(backend_folder)/stacks/$project/$stack.json || return 0
  grep -qs '"pending_operations"' "$state" && node -e '
    const { checkpoint } = JSON.parse(require("node:fs").readFileSync(process.argv[1], "utf8"));
    const types = (checkpoint.latest?.pending_operations ?? []).map(({ resource }) => resource.type);
    process.exit(types.length > 0 && types.every((type) => /^(docker|pulumi-nodejs):(?!.*VirtualBox)/.test(type)) ? 0 : 1);
  ' "$state" || return 0
  say "continuing an earlier run that was interrupted"
  pulumi refresh --stack "$stack" --yes --skip-preview --clear-pending-creates >/dev/null || true # `up` says why
}

# Removes containers and services of the stack on this machine's engine that are not in its state. Fails if there are none.
remove_leftovers() {
  local label=label=switchyard.owner=$project/$stack ids id state removed=false
  # `docker service` fails on an engine without a Swarm.
  ids=$({ docker ps -aq --no-trunc --filter "$label"; docker service ls -q --filter "$label"; } 2>/dev/null) || true
  [ -n "$ids" ] && state=$(engine state) || return 1
  for id in $ids; do
    [[ $state != *$id* ]] || continue
    $removed || say "removing what an interrupted run left"
    removed=true
    docker rm -fv "$id" >/dev/null 2>&1 || docker service rm "$id" >/dev/null || true
  done
  $removed
}

# Removes volumes of the stack's services that are on this machine, which an earlier run may have kept, or says that they stay.
after_volumes() {
  local names
  names=$(docker volume ls -q --filter "label=switchyard.owner=$project/$stack" 2>/dev/null) || true
  [ -n "$names" ] || return 0
  if [ "$1" = remove ]; then
    xargs docker volume rm <<<"$names" >/dev/null
  else
    say "kept the volumes ${names//$'\n'/, }: remove them, and their data, with script/down --volumes"
  fi
}

# backups backup|restore [ARGUMENT…]: runs a command on the stack's backups. Secrets go to it on a pipe.
backups() {
  local secrets state
  script/bootstrap packages
  state=$(engine state) && secrets=$(engine config get secrets 2>/dev/null) || secrets=
  STACK=$stack node -r ./lib/register.cjs backup/main.ts "$@" 3<<<"${state:-}" 4< <(printf %s "$secrets")
}

# Starts the stack's VirtualBox machines that are off. Says which it could not start, and fails, if there are any.
start_machines() {
  local state
  command -v VBoxManage >/dev/null && state=$(engine state 2>/dev/null) && [[ $state = *VirtualBoxVm* ]] || return 0
  node -r ./lib/register.cjs components/nodes/virtualbox/start.ts <<<"$state"
}

# Creates a passphrase unless there is one. Fails if the stack already has secrets, which a new passphrase could not decrypt.
make_passphrase() {
  if [ -n "${PULUMI_CONFIG_PASSPHRASE:-}" ] || [ -f "$PULUMI_CONFIG_PASSPHRASE_FILE" ]; then return; fi
  ! grep -qs '^encryptionsalt:' "$stack_file" || return 1
  mkdir -p .switchyard
  (umask 077 && random_hex >"$PULUMI_CONFIG_PASSPHRASE_FILE.new")
  mv "$PULUMI_CONFIG_PASSPHRASE_FILE.new" "$PULUMI_CONFIG_PASSPHRASE_FILE"
}

missing_passphrase() {
  fail "$stack_file contains secrets, but their passphrase is missing." \
    "Put it into $passphrase_file, or set PULUMI_CONFIG_PASSPHRASE."
}

require_stack_file() {
  [ -f "$stack_file" ] || fail "There is no $stack_file." "Copy Pulumi.dev.yaml to it and edit it, or set STACK to another stack."
}

# Makes what the engine needs to read and write the stack's secrets.
open_stack() {
  require_stack_file
  make_passphrase || missing_passphrase
  if [ "$ENGINE" = pulumi ]; then
    mkdir -p .switchyard/pulumi
    pulumi stack select "$stack" >/dev/null 2>&1 || {
      pulumi stack select --create "$stack" >/dev/null
      created=true
    }
  fi
}

# Prepares the machine and the stack for an engine: passphrase, VirtualBox machines, password of the statistics page, base images.
# Sets machines_off if a VirtualBox machine could not be started.
prepare() {
  require_stack_file
  script/bootstrap
  open_stack
  if [ "$ENGINE" = pulumi ]; then unlock; fi
  # Before the state is refreshed, which needs every node.
  start_machines || machines_off=true
  if [ "$ENGINE" = pulumi ] && [ -z "${machines_off:-}" ]; then forget_pending; fi
  set_default statsPassword "$(random_hex)" --secret
  local key value
  while read -r key value; do
    grep -q "default: $value\$" Pulumi.yaml || set_default "$key" "$value"
  done <.switchyard/bases
}

# Removes a stack that `prepare` has just created, unless something was deployed. Its file stays.
discard_new() {
  if [ -n "${created:-}" ]; then pulumi stack rm --stack "$stack" --yes --preserve-config >/dev/null 2>&1 || true; fi
}

# set_default KEY VALUE [FLAG]: sets a key of the stack unless it is already set. The value goes to the engine on standard
# input, because every user of the machine can read command lines.
set_default() {
  local key=$1 value=$2
  shift 2
  grep -q "^ *switchyard:$key:" "$stack_file" || printf '%s' "$value" | engine config set "$@" "$key"
}
