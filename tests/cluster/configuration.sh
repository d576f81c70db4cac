#!/usr/bin/env bash
# Configuration files of containerd, kubelet and kube-proxy for the node of this number, and of CoreDNS.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
at "$1"
mkdir -p "$node_state" "$node_run"
cd "$node_state"

# The machine may lack AppArmor, hugetlb and the right to lower OOM scores.
cat >containerd.toml <<TOML
version = 3
root = "$node_state/containerd"
state = "$node_run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "$node_run/containerd.sock"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "localhost/turnpike/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
disable_apparmor = true
restrict_oom_score_adj = true
disable_hugetlb_controller = true
tolerate_missing_hugetlb_controller = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "$node_state/cni"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "/usr/sbin/runc"
SystemdCgroup = false
TOML

# Every Pod has a link of its own to the node, so that all of its traffic is routed and kube-proxy sees the answers, too.
mkdir -p cni
ranges6='' routes6=''
if [ -n "$pods6" ]; then ranges6=", [{\"subnet\": \"$pods6\"}]" routes6=', {"dst": "::/0"}'; fi
cat >cni/10-ptp.conflist <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local", "dataDir": "$node_state/ipam",
    "ranges": [[{"subnet": "$pods"}]$ranges6], "routes": [{"dst": "0.0.0.0/0"}$routes6]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON

: >resolv.conf
cat >kubelet.yaml <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $node_ip
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $state/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $state/$node.crt
tlsPrivateKeyFile: $state/$node.key
containerRuntimeEndpoint: unix://$node_run/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$node
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
clusterDNS: [$dns_ip]
clusterDomain: cluster.local
resolvConf: $node_state/resolv.conf
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 64Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
registerNode: true
# Changed Secrets reach Pods soon.
syncFrequency: 5s
# What is killed again and again starts again soon, and not after five minutes.
crashLoopBackOff: {maxContainerRestartPeriod: 10s}
maxPods: 200
podLogsDir: $node_state/pods-log
shutdownGracePeriod: 0s
YAML
cat >proxy.yaml <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
hostnameOverride: $node
clientConnection: {kubeconfig: $state/proxy.kubeconfig}
clusterCIDR: 10.244.0.0/16${pods6:+,fd00:244::/48}
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
YAML
cat >"$state/Corefile" <<CONF
.:53 {
    bind $dns_ip
    kubernetes cluster.local {
        kubeconfig $state/dns.kubeconfig
    }
    cache 5
}
CONF
