# shellcheck shell=bash
# Sourced by the scripts that talk to the database of a configuration file.

# setting FILE KEY DEFAULT: the value of a key; the environment wins, as in the programs.
setting() {
  local value
  value=${!2-}
  [ -n "$value" ] || value=$(sed -nE "s/^[[:space:]]*$2[[:space:]]*=[[:space:]]*(.*[^[:space:]])[[:space:]]*$/\1/p" "$1" | tail -1)
  printf '%s' "${value:-$3}"
}

# open_client FILE: afterwards `client` runs the command-line client on that database. The password goes through a file
# only its owner can read, never over the command line. The folder is removed when the script ends.
open_client() {
  local socket
  client_folder=$(mktemp -d)
  trap 'rm -rf "$client_folder"' EXIT
  socket=$(setting "$1" DB_SOCKET "")
  {
    echo '[client]'
    if [ -n "$socket" ]; then
      printf 'socket="%s"\n' "$socket"
    else
      printf 'host="%s"\nport=%s\nprotocol=tcp\n' "$(setting "$1" DB_HOST 127.0.0.1)" "$(setting "$1" DB_PORT 3306)"
    fi
    printf 'user="%s"\npassword="%s"\n' "$(setting "$1" DB_USER gamepicker)" "$(setting "$1" DB_PASSWORD "")"
    echo 'default-character-set=utf8mb4'
  } | (umask 077 && cat >"$client_folder/client.cnf")
  client_database=$(setting "$1" DB_NAME gamepicker)
}

client() { mariadb --defaults-file="$client_folder/client.cnf" --database="$client_database" "$@"; }
