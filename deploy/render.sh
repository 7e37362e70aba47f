# shellcheck shell=bash
# Sourced by deploy/up: writes the configuration files of an instance from its variables (dir, sockets, port, root, build,
# service_user, relays).

: "${dir:?}" "${port:?}" "${root:?}"  # set by deploy/up, and before the first function is called:
declare build service_user sockets relays
# shellcheck source=sql/client.sh
. "$root/sql/client.sh"

# shellcheck disable=SC2034  # used by deploy/up
handler_groups=(auth games sessions picker stats votes webhooks)

# Each relay has a socket and two programs, a and b. One of them runs; a deploy starts the other one, which takes the
# socket over, and then stops the first.
nudges() { for_each_relay "$relays" "$sockets/nudge-%s.sock" | paste -sd,; }

# The keys are made once. The limits are high, so that one person may try it with thousands of sockets from one machine.
write_config() {
  local file=$dir/gamepicker.conf
  if [ ! -s "$file" ]; then
    (
      umask 077
      cat >"$file.new" <<CONF
# Made by deploy/up. Every key is explained in deploy/gamepicker.conf.example.
ADMIN_KEY=$(openssl rand -hex 16)
JWT_SECRET=$(openssl rand -hex 32)
SECRET_KEY=$(openssl rand -hex 32)
DB_SOCKET=$sockets/db.sock
DB_NAME=gamepicker
DB_USER=gamepicker
DB_PASSWORD=$(openssl rand -hex 16)
HANDLER_SOCKETS=$sockets
RELAY_SOCKET=$sockets/relay-1.sock
RELAY_NUDGE=$(nudges)
RELAY_MAX_CONNECTIONS=20000
RELAY_MAX_CONNECTIONS_PER_ADDRESS=20000
WEBHOOK_ALLOW_PRIVATE=true
LIMIT_REQUESTS_PER_SECOND=100000
LIMIT_LOGINS_PER_MINUTE=60000
LIMIT_HANDSHAKES_PER_MINUTE=600000
LIMIT_CONNECTIONS_PER_ADDRESS=20000
CONF
    )
    mv "$file.new" "$file"
  else
    # The sockets may have moved to another folder since.
    sed -i -E "s|^(DB_SOCKET)=.*|\1=$sockets/db.sock|; s|^(HANDLER_SOCKETS)=.*|\1=$sockets|;
      s|^(RELAY_SOCKET)=.*|\1=$sockets/relay-1.sock|; s|^(RELAY_NUDGE)=.*|\1=$(nudges)|" "$file"
  fi
  chmod 600 "$file"
  [ "$(id -u)" -ne 0 ] || chown "$service_user:" "$file"
}

# limit KEY: a limit of the configuration, with the default of the example file.
limit() { setting "$dir/gamepicker.conf" "$1" "$(setting "$root/deploy/gamepicker.conf.example" "$1" "")"; }

# render TEMPLATE TARGET: fills the @NAME@s of a template.
render() {
  local files workers
  files=$(ulimit -Hn)
  [ "$files" != unlimited ] || files=1048576
  workers=$(nproc)
  sed -e "s|@RELAYS@|$(for_each_relay "$relays" "server unix:$sockets/relay-%s.sock max_fails=0;" | paste -sd' ')|g" \
    -e "s|@DIR@|$dir|g" -e "s|@SOCKETS@|$sockets|g" -e "s|@PORT@|$port|g" -e "s|@ROOT@|$root|g" \
    -e "s|@FILES@|$files|g" -e "s|@WORKERS@|$workers|g" -e "s|@CONNECTIONS@|$((files - 100))|g" \
    -e "s|@USER@|$([ "$(id -u)" -ne 0 ] || echo "user $service_user;")|g" \
    -e "s|@ORIGIN@|$(limit CORS_ORIGIN)|g" -e "s|@BODY@|$(limit MAX_BODY_BYTES)|g" \
    -e "s|@REQUESTS@|$(limit LIMIT_REQUESTS_PER_SECOND)|g" -e "s|@LOGINS@|$(limit LIMIT_LOGINS_PER_MINUTE)|g" \
    -e "s|@HANDSHAKES@|$(limit LIMIT_HANDSHAKES_PER_MINUTE)|g" \
    -e "s|@CONNECTIONS_PER_ADDRESS@|$(limit LIMIT_CONNECTIONS_PER_ADDRESS)|g" "$1" >"$2"
}

render_nginx() {
  local file
  for file in nginx.conf fastcgi.conf error.conf; do render "$root/nginx/$file.in" "$dir/nginx/$file"; done
  cp /etc/nginx/mime.types "$dir/nginx/mime.types"
}

# program NAME PRIORITY COMMAND [ENVIRONMENT]: one section. What dies is started again at once; what dies while starting, after a pause
# that grows by a second each time.
program() {
  cat <<CONF

[program:$1]
command=$3
priority=$2
autostart=$([ "$1" = database ] && echo true || echo false)
autorestart=true
startsecs=1
startretries=100
stopwaitsecs=15
killasgroup=true
$([ "$(id -u)" -ne 0 ] || [ "$1" = nginx ] || echo "user=$service_user")
environment=LIBFCGI_OS_CLOSE_POLL_TIMEOUT="0"${4:+,$4}
redirect_stderr=true
stdout_logfile=$dir/log/$1.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
CONF
}

# relay_environment NAME: what its programs do not share.
relay_environment() {
  local number=${1%[ab]} ops
  printf 'RELAY_SOCKET="%s",RELAY_NUDGE_BIND="%s"' "$sockets/relay-$number.sock" "$sockets/nudge-$number.sock"
  ops=$(ops_address "$dir" "$1")
  [ -z "$ops" ] || printf ',RELAY_OPS_LISTEN="%s"' "$ops"
}

render_supervisor() {
  local group relay
  {
    cat <<CONF
; Made by deploy/up.
[supervisord]
logfile=$dir/log/supervisord.log
logfile_maxbytes=5MB
logfile_backups=1
pidfile=$dir/supervisord.pid
childlogdir=$dir/log
minfds=$(ulimit -Hn | sed 's/unlimited/1048576/')
minprocs=64
$([ "$(id -u)" -ne 0 ] || echo user=root)

[unix_http_server]
file=$sockets/supervisor.sock
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://$sockets/supervisor.sock
CONF
    # The log is flushed at every commit: what was answered is on the disk.
    program database 10 "$(command -v mariadbd) --no-defaults --user=$service_user --datadir=$dir/database/data --socket=$sockets/db.sock --pid-file=$sockets/db.pid --skip-networking --skip-name-resolve --innodb-flush-log-at-trx-commit=1 --innodb-buffer-pool-size=64M --character-set-server=utf8mb4 --default-time-zone=+00:00 --local-infile=1 --max-connections=2000 --performance-schema=OFF"
    for group in "${handler_groups[@]}"; do
      program "handler-$group" 20 "$build/handlers/handler --config $dir/gamepicker.conf --resource $group"
    done
    for relay in $(for_each_relay "$relays" "%sa %sb"); do
      program "relay-$relay" 30 "$build/relay/relay --config $dir/gamepicker.conf" "$(relay_environment "$relay")"
    done
    program nginx 40 "$root/deploy/run-nginx $dir"
  } >"$dir/supervisord.conf"
  chmod 600 "$dir/supervisord.conf"
}
