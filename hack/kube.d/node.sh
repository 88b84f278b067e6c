# shellcheck shell=bash
# Sourced by hack/kube: a real node beside the control plane of `up`. containerd with runc and Debian's CNI plugins, kubelet, kube-scheduler, kube-proxy, each with
# an identity of its own. Everything lies in STATE/node and ends with the namespace of `hack/kube netns`; the control groups are those below sluice-node.INODE.

NODE=node1

node_needs() { # says what this machine lacks, and fails
  local one
  [ "$(id -u)" = 0 ] || { say "a node needs root"; return 1; }
  for one in runc nft iptables gcc; do command -v $one >/dev/null || { say "a node needs $one: hack/deps node"; return 1; }; done
  for one in bridge host-local loopback portmap; do [ -x /usr/lib/cni/$one ] || { say "a node needs /usr/lib/cni/$one: hack/deps node"; return 1; }; done
  grep -q '^Seccomp:' /proc/self/status || { say "this kernel has no seccomp"; return 1; }
  grep -q overlay /proc/filesystems || { say "this kernel has no overlay file system"; return 1; }
  grep -qE ' cgroup2? rw' /proc/mounts || { say "no control groups can be made here"; return 1; }
  unshare --net sh -c 'nft add table ip t && nft add chain ip t c "{ type nat hook output priority -100; }" && nft add rule ip t c ip daddr 198.19.0.1 tcp dport 1 dnat to 198.18.0.1:1' 2>/dev/null ||
    { say "this kernel's nftables cannot translate addresses"; return 1; }
}

# The process that holds a Pod's namespaces: waits, and collects who died.
pause_image() {
  printf '%s\n' '#include <signal.h>' '#include <sys/wait.h>' '#include <unistd.h>' 'static void end(int s) { (void)s; _exit(0); }' \
    'int main(void) { signal(SIGINT, end); signal(SIGTERM, end); signal(SIGCHLD, SIG_DFL); for (;;) { while (waitpid(-1, 0, 0) > 0) {} usleep(200000); } }' >"$N/pause.c"
  gcc -Os -s -o "$N/pause" "$N/pause.c"
  "$HERE/image" "$N/pause.tar" --only "$N/pause" --name localhost/pause:1 >/dev/null
}

node_groups() { # makes the Pods' control group in each hierarchy of version 1, or in the one of version 2
  local mount kind options
  while read -r _ mount kind options _; do
    case $kind in
    cgroup)
      mkdir -p "$mount$GROUP"
      case ,$options, in *,cpuset,*) for one in cpus mems; do cat "$mount/cpuset.$one" >"$mount$GROUP/cpuset.$one"; done ;; esac ;;
    cgroup2)
      [ -e "$mount/cgroup.controllers" ] || continue
      mkdir -p "$mount$GROUP"
      for one in cpu cpuset memory pids; do { echo "+$one" >"$mount/cgroup.subtree_control"; } 2>/dev/null || true; done ;;
    esac
  done </proc/mounts
}

node_down() {
  local i file pid
  for file in kubelet kube-proxy kube-scheduler; do stop $file; done
  # The Pods' processes are children of containerd's shims, which outlive it; they are those in our own groups and no others.
  for i in 1 2 3; do
    while read -r pid; do if [ "$pid" -gt 1 ]; then kill -9 "$pid" 2>/dev/null || true; fi; done < <(find /sys/fs/cgroup -path "*$GROUP/*" -name cgroup.procs -exec cat {} + 2>/dev/null)
    sleep 0.$i
  done
  stop containerd
  # What Pods and shims have mounted would keep the folder from being removed.
  awk -v below="$STATE/node/" 'index($2, below) == 1 {print $2}' /proc/mounts | sort -r | while read -r one; do umount -l "$one" || true; done
  find /sys/fs/cgroup -depth -path "*$GROUP*" -type d -exec rmdir {} + 2>/dev/null || true
}

node_up() { # STATE [IMAGE.tar...]
  [ -z "$(ip -4 route show default)" ] || die "node is only for a namespace without a default route (hack/kube netns)"
  STATE=$(cd "$1" && pwd) URL=$(cat "$1/url")
  shift
  node_needs || exit 1
  build node
  umask 022
  N=$STATE/node GROUP=/sluice-node.$(stat -c %i "$STATE")
  local start=$SECONDS one ctr=("$CACHE/ctr" -a "$N/containerd.sock" -n k8s.io)
  chmod 711 "$STATE"
  mkdir -p "$N/cni" "$N/kubelet" "$N/podlogs" "$N/volplugins"
  pause_image
  node_groups
  cat >"$N/cni/10-d0.conflist" <<EOF
{"cniVersion": "1.0.0", "name": "d0", "plugins": [
  {"type": "bridge", "bridge": "d0", "isGateway": false, "ipMasq": false, "ipam": {"type": "host-local", "dataDir": "$N/ipam",
   "routes": [{"dst": "198.19.0.0/16", "gw": "198.18.0.1"}], "ranges": [[{"subnet": "198.18.0.0/16", "rangeStart": "198.18.2.1", "rangeEnd": "198.18.2.250", "gateway": "198.18.0.1"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}]}
EOF
  cat >"$N/containerd.toml" <<EOF
version = 3
root = "$N/containerd"
state = "$N/containerd-state"
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
  address = "$N/containerd.sock"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "localhost/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["/usr/lib/cni"]
  conf_dir = "$N/cni"
EOF
  # containerd finds its shim by PATH.
  PATH="$CACHE:$PATH" launch containerd -c "$N/containerd.toml"
  await containerd 30 "${ctr[@]}" version
  for one in "$N/pause.tar" "$@"; do "${ctr[@]}" images import "$one" >/dev/null 2>&1 || die "$one cannot be imported"; done
  # What a kubelet would set for the whole machine, it reads here as set already.
  for one in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    echo "${one#*=}" >"$N/${one//\//_}"
    mountpoint -q "/proc/sys/${one%=*}" || mount --bind "$N/${one//\//_}" "/proc/sys/${one%=*}"
  done
  # Addresses of Services are this machine's to translate, for Pods and for who asks here.
  ip route replace 198.19.0.0/16 dev d0
  echo 1 >/proc/sys/net/ipv4/ip_forward
  [ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
  cat >"$N/kubelet.yaml" <<EOF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 198.18.0.1
healthzBindAddress: 127.0.0.1
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $STATE/ca.crt}}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://$N/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: $GROUP
failCgroupV1: false
failSwapOn: false
resolvConf: ""
clusterDomain: cluster.local
makeIPTablesUtilChains: false
podLogsDir: $N/podlogs
volumePluginDir: $N/volplugins
localStorageCapacityIsolation: false
syncFrequency: 10s
nodeStatusUpdateFrequency: 4s
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
EOF
  (umask 077 && make_cert node "/O=system:nodes/CN=system:node:$NODE" clientAuth && make_kubeconfig node.kubeconfig node node &&
    make_cert scheduler /CN=system:kube-scheduler clientAuth && make_kubeconfig scheduler.kubeconfig scheduler scheduler &&
    make_cert proxy /CN=system:kube-proxy clientAuth && make_kubeconfig proxy.kubeconfig proxy proxy)
  launch kube-scheduler --kubeconfig "$STATE/scheduler.kubeconfig" --leader-elect=false --bind-address 127.0.0.1 --secure-port 10259 \
    --authentication-kubeconfig "$STATE/scheduler.kubeconfig" --authorization-kubeconfig "$STATE/scheduler.kubeconfig"
  launch kubelet --config "$N/kubelet.yaml" --kubeconfig "$STATE/node.kubeconfig" --root-dir "$N/kubelet" --cert-dir "$N/pki" --hostname-override $NODE --node-ip 198.18.0.1 --v 2
  local ask=("$CACHE/kubectl" --kubeconfig "$STATE/admin.kubeconfig")
  await kubelet 90 "${ask[@]}" wait "node/$NODE" --for=condition=Ready --timeout=1s
  launch kube-proxy --kubeconfig "$STATE/proxy.kubeconfig" --proxy-mode nftables --hostname-override $NODE --cluster-cidr 198.18.0.0/16 --bind-address 198.18.0.1 \
    --healthz-bind-address 127.0.0.1:10256 --metrics-bind-address 127.0.0.1:10249 --conntrack-max-per-core 0 --conntrack-tcp-timeout-established 0
  await kube-proxy 30 curl -fsS -m 1 http://127.0.0.1:10256/healthz
  say "$NODE is Ready after $((SECONDS - start)) s"
}
