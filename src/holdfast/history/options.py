# SPDX-License-Identifier: Apache-2.0
"""Which configuration option a kfunc hangs on.

A table by name, from the Makefiles and #ifdefs of the kernel; what it says of a kfunc is only told where the
configurations of the builds at hand agree with it (:class:`holdfast.history.life.Lives`).
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Final

__all__ = ["OPTIONS", "option_of"]

OPTIONS: Final[tuple[tuple[str, str, str], ...]] = (
    # name or glob, option, where the kernel's source says so (7.1 where no release is named)
    ("hid_bpf_*", "CONFIG_HID_BPF", "drivers/hid/bpf/Makefile"),
    ("scx_bpf_*", "CONFIG_SCHED_CLASS_EXT", "kernel/sched/build_policy.c"),
    ("__scx_bpf_*", "CONFIG_SCHED_CLASS_EXT", "kernel/sched/build_policy.c"),
    ("bpf_iter_scx_dsq_*", "CONFIG_SCHED_CLASS_EXT", "kernel/sched/build_policy.c"),
    ("bpf_ct_set_nat_info", "CONFIG_NF_NAT", "net/netfilter/Makefile"),
    ("bpf_ct_*", "CONFIG_NF_CONNTRACK", "net/netfilter/Makefile"),
    ("bpf_skb_ct_*", "CONFIG_NF_CONNTRACK", "net/netfilter/Makefile"),
    ("bpf_xdp_ct_*", "CONFIG_NF_CONNTRACK", "net/netfilter/Makefile"),
    ("bpf_xdp_flow_lookup", "CONFIG_NF_FLOW_TABLE", "net/netfilter/Makefile"),
    ("bpf_skb_[gs]et_xfrm_info", "CONFIG_XFRM_INTERFACE", "net/xfrm/Makefile"),
    ("bpf_xdp_*_xfrm_state*", "CONFIG_XFRM", "net/xfrm/Makefile"),
    ("bpf_skb_[gs]et_fou_encap", "CONFIG_NET_FOU", "net/ipv4/Makefile"),
    ("bpf_crypto_*", "CONFIG_CRYPTO", "kernel/bpf/Makefile"),
    ("bpf_qdisc_*", "CONFIG_NET_SCH_BPF", "net/sched/Makefile"),
    ("bbr_*", "CONFIG_TCP_CONG_BBR", "net/ipv4/Makefile"),
    ("cubictcp_*", "CONFIG_TCP_CONG_CUBIC", "net/ipv4/Makefile"),
    ("dctcp_*", "CONFIG_TCP_CONG_DCTCP", "net/ipv4/Makefile"),
    ("bpf_lookup_user_key", "CONFIG_KEYS", "kernel/bpf/helpers.c"),
    ("bpf_lookup_system_key", "CONFIG_KEYS", "kernel/bpf/helpers.c"),
    ("bpf_key_put", "CONFIG_KEYS", "kernel/bpf/helpers.c"),
    ("bpf_verify_pkcs7_signature", "CONFIG_SYSTEM_DATA_VERIFICATION", "kernel/bpf/helpers.c"),
    ("bpf_get_fsverity_digest", "CONFIG_FS_VERITY", "fs/verity/Makefile"),
    ("bpf_get_task_exe_file", "CONFIG_BPF_LSM", "fs/Makefile"),
    ("bpf_put_file", "CONFIG_BPF_LSM", "fs/Makefile"),
    ("bpf_path_d_path", "CONFIG_BPF_LSM", "fs/Makefile"),
    ("bpf_*_dentry_xattr", "CONFIG_BPF_LSM", "fs/Makefile"),
    ("bpf_cgroup_read_xattr", "CONFIG_BPF_LSM", "fs/Makefile, kernel/bpf/helpers.c"),
    ("crash_kexec", "CONFIG_CRASH_DUMP", "kernel/bpf/helpers.c"),
    ("bpf_iter_dmabuf_*", "CONFIG_DMA_SHARED_BUFFER", "kernel/bpf/helpers.c"),
    ("bpf_cgroup_*", "CONFIG_CGROUPS", "kernel/bpf/helpers.c"),
    ("bpf_task_under_cgroup", "CONFIG_CGROUPS", "kernel/bpf/helpers.c"),
    ("bpf_task_get_cgroup1", "CONFIG_CGROUPS", "kernel/bpf/helpers.c"),
    ("bpf_iter_css_*", "CONFIG_CGROUPS", "kernel/bpf/helpers.c"),
    ("css_rstat_*", "CONFIG_CGROUPS", "kernel/cgroup/Makefile"),
    ("cgroup_rstat_*", "CONFIG_CGROUPS", "kernel/cgroup/Makefile"),
    ("bpf_send_signal_task", "CONFIG_BPF_EVENTS", "kernel/bpf/helpers.c"),
    ("bpf_probe_read_*_dynptr", "CONFIG_BPF_EVENTS", "kernel/bpf/helpers.c"),
    ("bpf_copy_from_user_*dynptr", "CONFIG_BPF_EVENTS", "kernel/bpf/helpers.c"),
    ("bpf_get_lowcore", "CONFIG_S390", "kernel/bpf/helpers.c"),
)


def option_of(name: str) -> tuple[str, str] | None:
    """The option and the file that says so; None for a kfunc that hangs on none that is known here.

    That BPF itself is compiled in (CONFIG_BPF_SYSCALL, CONFIG_DEBUG_INFO_BTF) goes without saying.
    """
    for pattern, option, source in OPTIONS:
        if name.startswith(pattern.partition("*")[0].partition("[")[0]) and fnmatchcase(name, pattern):
            return option, source
    return None
