#!/bin/sh
# What the C clients cost on a microcontroller: code, and RAM for one client. sizes.sh [CFLAG …], as in: sizes.sh -DSLUICE_WINDOW=2
# Needs arm-none-eabi-gcc (Debian: gcc-arm-none-eabi). The library's own needs (memcpy, strlen) are not counted.
set -eu
cd "$(dirname "$0")"
tools=arm-none-eabi-
command -v ${tools}gcc >/dev/null || { echo "sizes.sh: ${tools}gcc is not installed (Debian: apt install gcc-arm-none-eabi)" >&2; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# row NAME HEADER TYPE SOURCES FLAGS…
row() {
  name=$1 header=$2 type=$3 sources=$4
  shift 4
  printf '%-44s' "$name"
  for core in cortex-m0plus cortex-m4; do
    build="${tools}gcc -std=c99 -Wall -Wextra -Werror -pedantic -Os -ffreestanding -mthumb -mcpu=$core -I. $*"
    code=0
    for source in $sources; do
      $build -c "$source" -o "$folder/part.o"
      code=$((code + $(${tools}size "$folder/part.o" | awk 'NR == 2 { print $1 }')))
    done
    printf '#include "%s"\n%s client;\n' "$header" "$type" > "$folder/ram.c"
    $build -fno-common -c "$folder/ram.c" -o "$folder/ram.o"
    printf '%12s' "$code B"
    ram=$(${tools}size "$folder/ram.o" | awk 'NR == 2 { print $2 + $3 }')
  done
  printf '%12s\n' "$ram B"
}

printf '%-44s%12s%12s%12s\n' CLIENT 'CODE M0+' 'CODE M4' RAM
row 'serial' sluice_serial.h sluice_client sluice_serial.c "$@"
row 'serial, with a key' sluice_serial.h sluice_client 'sluice_serial.c sluice_auth.c' -DSLUICE_AUTH=1 "$@"
row 'serial, publishes only, 1 message of 64 B' sluice_serial.h sluice_client sluice_serial.c \
  -DSLUICE_RECEIVE_WINDOW=0 -DSLUICE_WINDOW=1 -DSLUICE_MAX_BODY=64 "$@"
row 'MQTT-SN' sluice_mqttsn.h sluice_sn_client sluice_mqttsn.c -DSLUICE_SN_AUTH=0 "$@"
row 'MQTT-SN, with a key' sluice_mqttsn.h sluice_sn_client 'sluice_mqttsn.c sluice_auth.c' "$@"
