#!/bin/sh
# Processes of this node, in pods or not, whose resolv.conf names one of these addresses: PID and name, a line each.
#   who_asks.sh ADDRESS...
# A pod's resolv.conf is the pod's: it may be a FIFO or have no end.
set -u
for process in /proc/[0-9]*; do
    for address; do
        if timeout 2 grep --quiet --no-messages --devices=skip --fixed-strings --word-regexp -e "$address" \
            "$process/root/etc/resolv.conf"; then
            echo "${process#/proc/} $(cat "$process/comm" 2>/dev/null)"
            break
        fi
    done
done
