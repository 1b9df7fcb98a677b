#!/bin/sh
# Asks as a pod would: from a network namespace of its own, joined to this node by a veth pair. Of it stays an empty
# /run/netns at most, which ip-netns(8) has made.
#   pod_query.sh NAME SERVER NODE_IP POD_IP
set -eu
name=$1 server=$2 node=$3 pod=$4
space=nodedns-verify link=nodedns-verify

remove() {
    ip netns delete "$space" 2>/dev/null || true # its end of the pair goes with it, and so does the other
    ip link delete "$link" 2>/dev/null || true
}
trap remove EXIT
trap 'exit 1' HUP INT TERM
remove # what a killed run has left

ip netns add "$space"
ip link add "$link" type veth peer name eth0 netns "$space"
case $node in *:*) nodad=nodad any=::/0 ;; *) nodad='' any=0.0.0.0/0 ;; esac
ip address add "$node" peer "$pod" dev "$link" $nodad
ip link set "$link" up
ip -n "$space" address add "$pod" peer "$node" dev eth0 $nodad
ip -n "$space" link set eth0 up
ip -n "$space" route add "$any" via "$node" dev eth0

for way in '' --tcp; do
    nsenter --net="/run/netns/$space" nodedns query --server="$server" "$name" $way
done
