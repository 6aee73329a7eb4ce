#!/bin/bash
# boot.sh NAME ROOT FOLDER HOSTNAME NAMESPACE: run a host until it powers off. FOLDER holds upper, work and root.
#
# In a mount namespace of its own, so that the overlay and the view of the control groups vanish with it. Ends with its parent.
exec setpriv --pdeathsig TERM unshare -m --propagation private bash -euc '
  name=$1 root=$2 folder=$3 hostname=$4 namespace=$5
  umount -R /sys/fs/cgroup
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  mkdir -p "/sys/fs/cgroup/ipa/$name"
  echo $$ >"/sys/fs/cgroup/ipa/$name/cgroup.procs"
  mount -t tmpfs -o mode=755 tmpfs /run/systemd
  mount -t overlay overlay -o "lowerdir=$root,upperdir=$folder/upper,workdir=$folder/work" "$folder/root"
  exec setpriv --pdeathsig TERM systemd-nspawn --quiet -D "$folder/root" -M "ipa-$name" --hostname="$hostname" \
    --network-namespace-path="/run/netns/$namespace" --register=no --keep-unit --resolv-conf=off --timezone=off \
    --link-journal=no --console=pipe -b' boot "$@"
