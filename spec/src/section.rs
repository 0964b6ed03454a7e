//! Section names of programs: which program and attach type each means (libbpf 1.7, `section_defs`).
//!
//! The rows are `data/sections.toml`'s; a test compares the two.

use crate::uapi::{AttachType, ProgType};

/// What a section name says about the programs in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SectionDef {
    /// `x` matches itself only, `x+` also `x/anything`.
    pub pattern: &'static str,
    pub prog_type: ProgType,
    /// `None` where the loader passes 0.
    pub attach_type: Option<AttachType>,
    flags: u8,
}

const SLEEPABLE: u8 = 1;
const ATTACH_BTF: u8 = 2;
const XDP_FRAGS: u8 = 4;
const USDT: u8 = 8;

const fn row(pattern: &'static str, prog_type: ProgType, attach_type: Option<AttachType>, flags: u8) -> SectionDef {
    SectionDef { pattern, prog_type, attach_type, flags }
}

impl SectionDef {
    /// Loaded with `BPF_F_SLEEPABLE`.
    pub const fn is_sleepable(&self) -> bool {
        self.flags & SLEEPABLE != 0
    }

    /// Names a kernel function, hook or type after the slash, whose BTF id is passed on.
    pub const fn attaches_by_btf(&self) -> bool {
        self.flags & ATTACH_BTF != 0
    }

    /// Loaded with `BPF_F_XDP_HAS_FRAGS`.
    pub const fn has_xdp_frags(&self) -> bool {
        self.flags & XDP_FRAGS != 0
    }

    /// Statically defined tracing probe: attaches as `uprobe_multi` where the kernel has that.
    pub const fn is_usdt(&self) -> bool {
        self.flags & USDT != 0
    }

    /// True if a section of this name (without a leading `?`) is meant.
    pub fn matches(&self, section: &str) -> bool {
        match self.pattern.strip_suffix('+') {
            Some(stem) => section.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            None => section == self.pattern,
        }
    }

    /// The first row that matches, as libbpf picks.
    pub fn find(section: &str) -> Option<&'static SectionDef> {
        SECTION_DEFS.iter().find(|d| d.matches(section))
    }
}

/// Every row, in libbpf's order.
#[rustfmt::skip]
pub static SECTION_DEFS: &[SectionDef] = &[
    row("socket", ProgType::SocketFilter, None, 0),
    row("sk_reuseport/migrate", ProgType::SkReuseport, Some(AttachType::SkReuseportSelectOrMigrate), 0),
    row("sk_reuseport", ProgType::SkReuseport, Some(AttachType::SkReuseportSelect), 0),
    row("kprobe+", ProgType::Kprobe, None, 0),
    row("uprobe+", ProgType::Kprobe, None, 0),
    row("uprobe.s+", ProgType::Kprobe, None, SLEEPABLE),
    row("kretprobe+", ProgType::Kprobe, None, 0),
    row("uretprobe+", ProgType::Kprobe, None, 0),
    row("uretprobe.s+", ProgType::Kprobe, None, SLEEPABLE),
    row("kprobe.multi+", ProgType::Kprobe, Some(AttachType::TraceKprobeMulti), 0),
    row("kretprobe.multi+", ProgType::Kprobe, Some(AttachType::TraceKprobeMulti), 0),
    row("kprobe.session+", ProgType::Kprobe, Some(AttachType::TraceKprobeSession), 0),
    row("uprobe.multi+", ProgType::Kprobe, Some(AttachType::TraceUprobeMulti), 0),
    row("uretprobe.multi+", ProgType::Kprobe, Some(AttachType::TraceUprobeMulti), 0),
    row("uprobe.session+", ProgType::Kprobe, Some(AttachType::TraceUprobeSession), 0),
    row("uprobe.multi.s+", ProgType::Kprobe, Some(AttachType::TraceUprobeMulti), SLEEPABLE),
    row("uretprobe.multi.s+", ProgType::Kprobe, Some(AttachType::TraceUprobeMulti), SLEEPABLE),
    row("uprobe.session.s+", ProgType::Kprobe, Some(AttachType::TraceUprobeSession), SLEEPABLE),
    row("ksyscall+", ProgType::Kprobe, None, 0),
    row("kretsyscall+", ProgType::Kprobe, None, 0),
    row("usdt+", ProgType::Kprobe, None, USDT),
    row("usdt.s+", ProgType::Kprobe, None, SLEEPABLE | USDT),
    row("tc/ingress", ProgType::SchedCls, Some(AttachType::TcxIngress), 0),
    row("tc/egress", ProgType::SchedCls, Some(AttachType::TcxEgress), 0),
    row("tcx/ingress", ProgType::SchedCls, Some(AttachType::TcxIngress), 0),
    row("tcx/egress", ProgType::SchedCls, Some(AttachType::TcxEgress), 0),
    row("tc", ProgType::SchedCls, None, 0),
    row("classifier", ProgType::SchedCls, None, 0),
    row("action", ProgType::SchedAct, None, 0),
    row("netkit/primary", ProgType::SchedCls, Some(AttachType::NetkitPrimary), 0),
    row("netkit/peer", ProgType::SchedCls, Some(AttachType::NetkitPeer), 0),
    row("tracepoint+", ProgType::Tracepoint, None, 0),
    row("tp+", ProgType::Tracepoint, None, 0),
    row("raw_tracepoint+", ProgType::RawTracepoint, None, 0),
    row("raw_tp+", ProgType::RawTracepoint, None, 0),
    row("raw_tracepoint.w+", ProgType::RawTracepointWritable, None, 0),
    row("raw_tp.w+", ProgType::RawTracepointWritable, None, 0),
    row("tp_btf+", ProgType::Tracing, Some(AttachType::TraceRawTp), ATTACH_BTF),
    row("fentry+", ProgType::Tracing, Some(AttachType::TraceFentry), ATTACH_BTF),
    row("fmod_ret+", ProgType::Tracing, Some(AttachType::ModifyReturn), ATTACH_BTF),
    row("fexit+", ProgType::Tracing, Some(AttachType::TraceFexit), ATTACH_BTF),
    row("fentry.s+", ProgType::Tracing, Some(AttachType::TraceFentry), SLEEPABLE | ATTACH_BTF),
    row("fmod_ret.s+", ProgType::Tracing, Some(AttachType::ModifyReturn), SLEEPABLE | ATTACH_BTF),
    row("fexit.s+", ProgType::Tracing, Some(AttachType::TraceFexit), SLEEPABLE | ATTACH_BTF),
    row("freplace+", ProgType::Ext, None, ATTACH_BTF),
    row("lsm+", ProgType::Lsm, Some(AttachType::LsmMac), ATTACH_BTF),
    row("lsm.s+", ProgType::Lsm, Some(AttachType::LsmMac), SLEEPABLE | ATTACH_BTF),
    row("lsm_cgroup+", ProgType::Lsm, Some(AttachType::LsmCgroup), ATTACH_BTF),
    row("iter+", ProgType::Tracing, Some(AttachType::TraceIter), ATTACH_BTF),
    row("iter.s+", ProgType::Tracing, Some(AttachType::TraceIter), SLEEPABLE | ATTACH_BTF),
    row("syscall", ProgType::Syscall, None, SLEEPABLE),
    row("xdp.frags/devmap", ProgType::Xdp, Some(AttachType::XdpDevmap), XDP_FRAGS),
    row("xdp/devmap", ProgType::Xdp, Some(AttachType::XdpDevmap), 0),
    row("xdp.frags/cpumap", ProgType::Xdp, Some(AttachType::XdpCpumap), XDP_FRAGS),
    row("xdp/cpumap", ProgType::Xdp, Some(AttachType::XdpCpumap), 0),
    row("xdp.frags", ProgType::Xdp, Some(AttachType::Xdp), XDP_FRAGS),
    row("xdp", ProgType::Xdp, Some(AttachType::Xdp), 0),
    row("perf_event", ProgType::PerfEvent, None, 0),
    row("lwt_in", ProgType::LwtIn, None, 0),
    row("lwt_out", ProgType::LwtOut, None, 0),
    row("lwt_xmit", ProgType::LwtXmit, None, 0),
    row("lwt_seg6local", ProgType::LwtSeg6local, None, 0),
    row("sockops", ProgType::SockOps, Some(AttachType::CgroupSockOps), 0),
    row("sk_skb/stream_parser", ProgType::SkSkb, Some(AttachType::SkSkbStreamParser), 0),
    row("sk_skb/stream_verdict", ProgType::SkSkb, Some(AttachType::SkSkbStreamVerdict), 0),
    row("sk_skb/verdict", ProgType::SkSkb, Some(AttachType::SkSkbVerdict), 0),
    row("sk_skb", ProgType::SkSkb, None, 0),
    row("sk_msg", ProgType::SkMsg, Some(AttachType::SkMsgVerdict), 0),
    row("lirc_mode2", ProgType::LircMode2, Some(AttachType::LircMode2), 0),
    row("flow_dissector", ProgType::FlowDissector, Some(AttachType::FlowDissector), 0),
    row("cgroup_skb/ingress", ProgType::CgroupSkb, Some(AttachType::CgroupInetIngress), 0),
    row("cgroup_skb/egress", ProgType::CgroupSkb, Some(AttachType::CgroupInetEgress), 0),
    row("cgroup/skb", ProgType::CgroupSkb, None, 0),
    row("cgroup/sock_create", ProgType::CgroupSock, Some(AttachType::CgroupInetSockCreate), 0),
    row("cgroup/sock_release", ProgType::CgroupSock, Some(AttachType::CgroupInetSockRelease), 0),
    row("cgroup/sock", ProgType::CgroupSock, Some(AttachType::CgroupInetSockCreate), 0),
    row("cgroup/post_bind4", ProgType::CgroupSock, Some(AttachType::CgroupInet4PostBind), 0),
    row("cgroup/post_bind6", ProgType::CgroupSock, Some(AttachType::CgroupInet6PostBind), 0),
    row("cgroup/bind4", ProgType::CgroupSockAddr, Some(AttachType::CgroupInet4Bind), 0),
    row("cgroup/bind6", ProgType::CgroupSockAddr, Some(AttachType::CgroupInet6Bind), 0),
    row("cgroup/connect4", ProgType::CgroupSockAddr, Some(AttachType::CgroupInet4Connect), 0),
    row("cgroup/connect6", ProgType::CgroupSockAddr, Some(AttachType::CgroupInet6Connect), 0),
    row("cgroup/connect_unix", ProgType::CgroupSockAddr, Some(AttachType::CgroupUnixConnect), 0),
    row("cgroup/sendmsg4", ProgType::CgroupSockAddr, Some(AttachType::CgroupUdp4Sendmsg), 0),
    row("cgroup/sendmsg6", ProgType::CgroupSockAddr, Some(AttachType::CgroupUdp6Sendmsg), 0),
    row("cgroup/sendmsg_unix", ProgType::CgroupSockAddr, Some(AttachType::CgroupUnixSendmsg), 0),
    row("cgroup/recvmsg4", ProgType::CgroupSockAddr, Some(AttachType::CgroupUdp4Recvmsg), 0),
    row("cgroup/recvmsg6", ProgType::CgroupSockAddr, Some(AttachType::CgroupUdp6Recvmsg), 0),
    row("cgroup/recvmsg_unix", ProgType::CgroupSockAddr, Some(AttachType::CgroupUnixRecvmsg), 0),
    row("cgroup/getpeername4", ProgType::CgroupSockAddr, Some(AttachType::CgroupInet4Getpeername), 0),
    row("cgroup/getpeername6", ProgType::CgroupSockAddr, Some(AttachType::CgroupInet6Getpeername), 0),
    row("cgroup/getpeername_unix", ProgType::CgroupSockAddr, Some(AttachType::CgroupUnixGetpeername), 0),
    row("cgroup/getsockname4", ProgType::CgroupSockAddr, Some(AttachType::CgroupInet4Getsockname), 0),
    row("cgroup/getsockname6", ProgType::CgroupSockAddr, Some(AttachType::CgroupInet6Getsockname), 0),
    row("cgroup/getsockname_unix", ProgType::CgroupSockAddr, Some(AttachType::CgroupUnixGetsockname), 0),
    row("cgroup/sysctl", ProgType::CgroupSysctl, Some(AttachType::CgroupSysctl), 0),
    row("cgroup/getsockopt", ProgType::CgroupSockopt, Some(AttachType::CgroupGetsockopt), 0),
    row("cgroup/setsockopt", ProgType::CgroupSockopt, Some(AttachType::CgroupSetsockopt), 0),
    row("cgroup/dev", ProgType::CgroupDevice, Some(AttachType::CgroupDevice), 0),
    row("struct_ops+", ProgType::StructOps, None, 0),
    row("struct_ops.s+", ProgType::StructOps, None, SLEEPABLE),
    row("sk_lookup", ProgType::SkLookup, Some(AttachType::SkLookup), 0),
    row("netfilter", ProgType::Netfilter, Some(AttachType::Netfilter), 0),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn value(line: &str) -> &str {
        line.split_once('=').map_or("", |(_, v)| v.trim().trim_matches('"'))
    }

    #[test]
    fn table_is_the_data_file() {
        let text = include_str!("../data/sections.toml");
        let blocks: Vec<&str> = text.split("[[section]]").skip(1).collect();
        assert_eq!(blocks.len(), SECTION_DEFS.len());
        for (block, def) in blocks.iter().zip(SECTION_DEFS) {
            let field = |key: &str| block.lines().find(|l| l.starts_with(key)).map(value);
            assert_eq!(field("name"), Some(def.pattern));
            assert_eq!(field("prog").and_then(ProgType::from_name), Some(def.prog_type), "{}", def.pattern);
            assert_eq!(field("attach").and_then(AttachType::from_name), def.attach_type, "{}", def.pattern);
            let flags = field("flags").unwrap_or("");
            assert_eq!(flags.contains("sleepable"), def.is_sleepable(), "{}", def.pattern);
            assert_eq!(flags.contains("attach_btf"), def.attaches_by_btf(), "{}", def.pattern);
            assert_eq!(flags.contains("xdp_frags"), def.has_xdp_frags(), "{}", def.pattern);
            assert_eq!(flags.contains("usdt"), def.is_usdt(), "{}", def.pattern);
        }
    }

    #[test]
    fn plus_means_itself_or_a_slash() {
        assert_eq!(SectionDef::find("kprobe/do_unlink").map(|d| d.pattern), Some("kprobe+"));
        assert_eq!(SectionDef::find("kprobe").map(|d| d.pattern), Some("kprobe+"));
        assert_eq!(SectionDef::find("kprobes"), None);
        assert_eq!(SectionDef::find("xdp/anything"), None);
        assert_eq!(SectionDef::find("xdp.frags").map(|d| d.has_xdp_frags()), Some(true));
    }
}
