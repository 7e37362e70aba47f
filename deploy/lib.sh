# shellcheck shell=bash
# Sourced by the scripts of this folder and by tests/run.

die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# install_packages FILE...: installs what the lists name and the machine lacks. Servers among them are not started: an
# instance brings its own, and the system's ports stay free.
install_packages() {
  local missing=() name as_root=() policy=/usr/sbin/policy-rc.d
  while read -r name; do
    # Asked of dpkg by name; a program that is there from elsewhere (node, npm) counts too.
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'ok installed' && continue
    case "$name" in nodejs) command -v node >/dev/null && continue ;; npm) command -v npm >/dev/null && continue ;; esac
    missing+=("$name")
  done < <(sed -E 's/#.*//; /^[[:space:]]*$/d' "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "these packages are missing and there is no sudo to install them: ${missing[*]}"
    as_root=(sudo)
  fi
  echo "installing ${#missing[@]} packages: ${missing[*]}"
  local log made_policy=0
  log=$(mktemp)
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    made_policy=1
  fi
  local ok=1
  { "${as_root[@]}" apt-get update &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } \
    >"$log" 2>&1 </dev/null || ok=0
  [ "$made_policy" -eq 0 ] || "${as_root[@]}" rm -f "$policy"
  [ "$ok" -eq 1 ] || { tail -20 "$log" >&2; die "installing packages failed"; }
  rm -f "$log"
}

# instance_folder DIR: its absolute path, without links.
instance_folder() { realpath -m "$1"; }

# command_line PID: its words, each followed by a space; nothing when it is gone.
command_line() { { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null || true; }

# instance_pids DIR: every process of the instance, by the folder in its command line. The spellings are exact words, so
# that /srv/a does not find /srv/ab.
instance_pids() {
  local dir=$1 pid
  for pid in $(pgrep -f -- "$dir/" || true); do
    [ "$pid" != $$ ] && [ "$pid" != "$BASHPID" ] || continue
    case "$(command_line "$pid")" in
      *supervisord*" $dir/supervisord.conf "* | *mariadbd*"=$dir/database/"* | *handler*" $dir/gamepicker.conf "* | \
        *relay*" $dir/gamepicker.conf "* | *nginx*"$dir/nginx/nginx.conf"*) echo "$pid" ;;
    esac
  done
  # nginx workers do not carry the folder; they are children, or orphans, of a master whose group was noted.
  if [ -r "$dir/nginx/group" ]; then nginx_group "$(cat "$dir/nginx/group")"; fi
}

# nginx_group PGID: the nginx processes of that group (a number that was taken over by others has none).
nginx_group() { pgrep -g "$1" -x nginx || true; }

control() { supervisorctl -c "$1/supervisord.conf" "${@:2}"; }

# for_each_relay COUNT FORMAT: a line for each number from 1, which stands for every %s of the format.
for_each_relay() {
  local number
  for number in $(seq "$1"); do printf '%s\n' "${2//%s/$number}"; done
}

# ops_address DIR NAME: where the relay of that name (2b) answers to its operator; nothing when no port is configured. Two
# ports for each relay, from the configured one on: while one replaces the other, both run.
ops_address() {
  local base number=${2%[ab]} second=0
  base=$(setting "$1/gamepicker.conf" RELAY_OPS_LISTEN "")
  case "$2" in *b) second=1 ;; esac
  [ -z "$base" ] || printf '%s:%s' "${base%:*}" $((${base##*:} + 2 * (number - 1) + second))
}

# running_relay DIR NUMBER: which of its two programs runs, as 1a; nothing when none does.
running_relay() {
  { control "$1" status "relay-$2a" "relay-$2b" 2>/dev/null || true; } |
    sed -nE 's/^relay-([0-9]+[ab]) +(RUNNING|STARTING|BACKOFF) .*/\1/p' | head -n 1
}

# supervisor_runs DIR
supervisor_runs() {
  local pid
  pid=$(cat "$1/supervisord.pid" 2>/dev/null) && command_line "$pid" | grep -qF " $1/supervisord.conf "
}

# wait_gone SECONDS DIR: until no process of the instance is left.
wait_gone() {
  local end=$((SECONDS + $1))
  while [ -n "$(instance_pids "$2")" ]; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

# stop_instance DIR: everything of it, gracefully first.
stop_instance() {
  local dir=$1 pids
  if supervisor_runs "$dir"; then
    control "$dir" shutdown >/dev/null 2>&1 || true
    wait_gone 30 "$dir" && return 0
  fi
  for signal in TERM KILL; do
    pids=$(instance_pids "$dir")
    [ -n "$pids" ] || return 0
    # shellcheck disable=SC2086  # a list
    kill -s "$signal" $pids 2>/dev/null || true
    wait_gone 10 "$dir" && return 0
  done
  die "these processes do not end: $(instance_pids "$dir" | tr '\n' ' ')"
}
