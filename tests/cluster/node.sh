# How a node of the test cluster begins: its network, then its programs.
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# network NUMBER: a network namespace at the bridge, without a way out, and the way to its Pods from the host and from the
# nodes before it.
network() {
    at "$1"
    local link=turnpike$1 other
    ip netns add "$netns"
    ip link add "$link" type veth peer name eth0 netns "$netns"
    ip link set "$link" master "$bridge" up
    inside ip link set lo up
    inside ip addr add "$node_ip/24" dev eth0
    inside ip link set eth0 up
    inside sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
    if [ -n "$node_ip6" ]; then
        inside sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
        inside ip addr add "$node_ip6/64" dev eth0 nodad
        inside ip route add "$services6" dev lo
        ip route add "$pods6" via "$node_ip6"
    fi
    # The node itself reaches Services, too: its packets are rewritten after a route was found for them.
    inside ip route add "$services" dev lo src "$node_ip"
    ip route add "$pods" via "$node_ip"
    for other in $(seq $((number - 1))); do
        way "$other" "$1"
        way "$1" "$other"
    done
}

# way FROM TO: from one node to the Pods of another.
way() (
    at "$2"
    there=$pods via=$node_ip there6=$pods6 via6=$node_ip6
    at "$1"
    inside ip route add "$there" via "$via"
    [ -z "$there6" ] || inside ip route add "$there6" via "$via6"
)

# run_node NUMBER: containerd, kubelet and kube-proxy, until the API server knows that the node is ready.
run_node() {
    at "$1"
    "$here/configuration.sh" "$1"
    # The kubelet of a node must not take the Pods of another for its own.
    local hierarchy
    for hierarchy in $(awk '$3 ~ /^cgroup2?$/ {print $2}' /proc/mounts); do mkdir -p "$hierarchy/$node"; done
    start "containerd-$1" "$state/bin/containerd" --config "$node_state/containerd.toml"
    "$here/image.sh" pause
    start "kubelet-$1" "$state/bin/kubernetes" kubelet --kubeconfig "$state/$node.kubeconfig" \
        --config "$node_state/kubelet.yaml" --hostname-override "$node" --node-ip "$node_ip${node_ip6:+,$node_ip6}" --root-dir "$node_state/kubelet"
    start "proxy-$1" "$state/bin/kubernetes" kube-proxy --config "$node_state/proxy.yaml"
    until_true 60 "$node" sh -c "kubectl get node $node | grep -q ' Ready '"
}
