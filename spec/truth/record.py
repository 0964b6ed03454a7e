#!/usr/bin/env python3
"""Ask the running kernel for the truth that the tables of this crate are tested against.

    sudo python3 record.py helpers|attach|ctx|returns|kfuncs|maps|mixed|caps [OUT]

Loads tiny programs and closes them at once: nothing is attached, pinned or run.
Writes OUT or <release>/<what>.txt beside this file; formats are in README.md.
"""
import ctypes, os, random, struct, sys

HERE = os.path.dirname(os.path.abspath(__file__))
PROG = ("unspec socket_filter kprobe sched_cls sched_act tracepoint xdp perf_event cgroup_skb cgroup_sock "
        "lwt_in lwt_out lwt_xmit sock_ops sk_skb cgroup_device sk_msg raw_tracepoint cgroup_sock_addr "
        "lwt_seg6local lirc_mode2 sk_reuseport flow_dissector cgroup_sysctl raw_tracepoint_writable "
        "cgroup_sockopt tracing struct_ops ext lsm sk_lookup syscall netfilter").split()
ATTACH = ("cgroup_inet_ingress cgroup_inet_egress cgroup_inet_sock_create cgroup_sock_ops sk_skb_stream_parser "
          "sk_skb_stream_verdict cgroup_device sk_msg_verdict cgroup_inet4_bind cgroup_inet6_bind "
          "cgroup_inet4_connect cgroup_inet6_connect cgroup_inet4_post_bind cgroup_inet6_post_bind "
          "cgroup_udp4_sendmsg cgroup_udp6_sendmsg lirc_mode2 flow_dissector cgroup_sysctl cgroup_udp4_recvmsg "
          "cgroup_udp6_recvmsg cgroup_getsockopt cgroup_setsockopt trace_raw_tp trace_fentry trace_fexit "
          "modify_return lsm_mac trace_iter cgroup_inet4_getpeername cgroup_inet6_getpeername "
          "cgroup_inet4_getsockname cgroup_inet6_getsockname xdp_devmap cgroup_inet_sock_release xdp_cpumap "
          "sk_lookup xdp sk_skb_verdict sk_reuseport_select sk_reuseport_select_or_migrate perf_event "
          "trace_kprobe_multi lsm_cgroup struct_ops netfilter tcx_ingress tcx_egress trace_uprobe_multi "
          "cgroup_unix_connect cgroup_unix_sendmsg cgroup_unix_recvmsg cgroup_unix_getpeername "
          "cgroup_unix_getsockname netkit_primary netkit_peer trace_kprobe_session trace_uprobe_session").split()
ERRNO = {1: "EPERM", 2: "ENOENT", 3: "ESRCH", 7: "E2BIG", 9: "EBADF", 12: "ENOMEM", 13: "EACCES", 14: "EFAULT", 16: "EBUSY",
         22: "EINVAL", 28: "ENOSPC", 34: "ERANGE", 95: "EOPNOTSUPP", 524: "ENOTSUPP"}
SLEEPABLE = 1 << 4

libc = ctypes.CDLL(None, use_errno=True)
SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
LOG = ctypes.create_string_buffer(1 << 16)
LICENSE = {True: ctypes.create_string_buffer(b"GPL"), False: ctypes.create_string_buffer(b"MIT")}
INSNS = ctypes.create_string_buffer(8 * 64)
ATTR = ctypes.create_string_buffer(160)


def insn(code, dst=0, src=0, off=0, imm=0):
    return struct.pack("<BBhi", code, dst | src << 4, off, imm)


def mov(dst, imm):
    return insn(0xb7, dst, 0, 0, imm)


EXIT = insn(0x95)


def bpf(cmd):
    ret = libc.syscall(SYS_BPF, cmd, ATTR, len(ATTR))
    return ret if ret >= 0 else -ctypes.get_errno()


def load_running(kind, code, log_level=1, gpl=True, flags=0):
    """0 or a negative errno, and the log, of loading `code` as `kind`."""
    ctypes.memmove(INSNS, code, len(code))
    LOG[0] = b"\0"
    ctypes.memset(ATTR, 0, len(ATTR))
    struct.pack_into("<IIQQIIQII16sIIIIQIIQIII", ATTR, 0, PROG.index(kind.prog), len(code) // 8, ctypes.addressof(INSNS),
                     ctypes.addressof(LICENSE[gpl]), log_level, len(LOG) if log_level else 0, ctypes.addressof(LOG) if log_level else 0,
                     0, kind.flags | flags, b"", 0, kind.expected, 0, 0, 0, 0, 0, 0, 0, kind.btf_id, 0)
    fd = bpf(5)
    if fd >= 0:
        os.close(fd)
    return min(fd, 0), LOG.value.decode(errors="replace") if log_level else ""


load = load_running


class Kind:
    """What to load as: program type, attach type, hook, flags."""

    def __init__(self, prog, attach=None, hook=None, flags=0):
        self.prog, self.attach, self.hook, self.flags = prog, attach, hook, flags
        self.expected = ATTACH.index(attach) if attach else 0
        self.btf_id = 0
        if hook and "." in hook:
            name, member = hook.split(".")
            self.btf_id, self.expected = BTF.member(name, member)
        elif hook:
            self.btf_id = BTF.attach_id(prog, attach, hook)

    def __str__(self):
        return " ".join([self.prog, self.attach or "-", self.hook or "-", "sleepable" if self.flags & SLEEPABLE else "-"])


class KernelBtf:
    """Just enough of vmlinux BTF to find attach targets."""

    def __init__(self):
        self.ids = None

    def read(self):
        if self.ids is not None:
            return
        self.ids, self.members, self.kfuncs, names, tagged = {}, {}, {}, {}, []
        data = open("/sys/kernel/btf/vmlinux", "rb").read()
        _, _, _, hdr, type_off, type_len, str_off, _ = struct.unpack_from("<HBBIIIII", data)
        at, end, strs, tid = hdr + type_off, hdr + type_off + type_len, hdr + str_off, 0

        def name(off):
            return data[strs + off:data.index(b"\0", strs + off)].decode()
        while at < end:
            n, info, ref = struct.unpack_from("<III", data, at)
            at, tid, kind, vlen = at + 12, tid + 1, info >> 24 & 31, info & 0xffff
            if kind in (4, 12, 8):
                self.ids.setdefault((kind, name(n)), tid)
            if kind == 12:
                names[tid] = name(n)
            if kind == 17 and name(n) == "bpf_kfunc":
                tagged.append(ref)
            if kind == 4:
                self.members[tid] = [struct.unpack_from("<I", data, at + 12 * i)[0] for i in range(vlen)]
            at += {1: 4, 3: 12, 4: 12 * vlen, 5: 12 * vlen, 6: 8 * vlen, 13: 8 * vlen, 14: 4, 15: 12 * vlen, 17: 4, 19: 12 * vlen}.get(kind, 0)
        self.name = name
        self.kfuncs = {names[i]: i for i in tagged}

    def attach_id(self, prog, attach, hook):
        self.read()
        key = (8, "btf_trace_" + hook) if attach == "trace_raw_tp" else (12, hook)
        return self.ids[key]

    def member(self, struct_name, member):
        self.read()
        tid = self.ids[(4, struct_name)]
        return tid, [self.name(n) for n in self.members[tid]].index(member)


BTF = KernelBtf()

# Attach types that change what a program may do; other types take any attach type alike.
BY_ATTACH = {
    "kprobe": [None, "trace_kprobe_multi", "trace_kprobe_session", "trace_uprobe_multi", "trace_uprobe_session"],
    "xdp": [None, "xdp", "xdp_devmap", "xdp_cpumap"],
    "sched_cls": [None, "tcx_ingress", "tcx_egress", "netkit_primary", "netkit_peer"],
    "cgroup_skb": ["cgroup_inet_ingress", "cgroup_inet_egress"],
    "cgroup_sock": ["cgroup_inet_sock_create", "cgroup_inet_sock_release", "cgroup_inet4_post_bind", "cgroup_inet6_post_bind"],
    "cgroup_sock_addr": [a for a in ATTACH if a.startswith("cgroup_") and
                         a.split("_")[-1] in ("bind", "connect", "sendmsg", "recvmsg", "getpeername", "getsockname") and "post" not in a],
    "sock_ops": [None, "cgroup_sock_ops"],
    "sk_skb": [None, "sk_skb_stream_parser", "sk_skb_stream_verdict", "sk_skb_verdict"],
    "sk_msg": [None, "sk_msg_verdict"],
    "cgroup_device": [None, "cgroup_device"],
    "cgroup_sysctl": [None, "cgroup_sysctl"],
    "cgroup_sockopt": ["cgroup_getsockopt", "cgroup_setsockopt"],
    "sk_reuseport": [None, "sk_reuseport_select", "sk_reuseport_select_or_migrate"],
    "sk_lookup": ["sk_lookup"],
    "netfilter": ["netfilter"],
    "flow_dissector": [None, "flow_dissector"],
    "perf_event": [None, "perf_event"],
    "tracing": [], "struct_ops": [], "ext": [], "lsm": [], "unspec": [], "lirc_mode2": [],
}


def kinds(plain_only=False):
    out = []
    for prog in PROG:
        for attach in BY_ATTACH.get(prog, [None]):
            out.append(Kind(prog, attach))
    out.append(Kind("kprobe", None, None, SLEEPABLE))
    out.append(Kind("syscall", None, None, SLEEPABLE))
    if plain_only:
        return out
    hooks = [("tracing", "trace_raw_tp", "sched_switch", 0), ("tracing", "trace_iter", "bpf_iter_task", 0),
             ("tracing", "trace_iter", "bpf_iter_task", SLEEPABLE), ("tracing", "trace_iter", "bpf_iter_tcp", 0),
             ("tracing", "trace_fentry", "bpf_fentry_test1", 0), ("tracing", "trace_fexit", "bpf_fentry_test1", 0),
             ("tracing", "modify_return", "bpf_modify_return_test", 0),
             ("lsm", "lsm_mac", "bpf_lsm_file_open", 0), ("lsm", "lsm_mac", "bpf_lsm_file_open", SLEEPABLE),
             ("lsm", "lsm_cgroup", "bpf_lsm_socket_post_create", 0), ("lsm", "lsm_cgroup", "bpf_lsm_inet_csk_clone", 0),
             ("lsm", "lsm_cgroup", "bpf_lsm_socket_bind", 0),
             ("struct_ops", None, "tcp_congestion_ops.init", 0), ("struct_ops", None, "tcp_congestion_ops.release", 0),
             ("struct_ops", None, "bpf_dummy_ops.test_1", 0), ("struct_ops", None, "sched_ext_ops.enqueue", 0),
             ("struct_ops", None, "Qdisc_ops.enqueue", 0)]
    for prog, attach, hook, flags in hooks:
        try:
            out.append(Kind(prog, attach, hook, flags))
        except (KeyError, ValueError):
            print(f"no {hook} in this kernel", file=sys.stderr)
    return out


def last_line(log):
    lines = [l for l in log.split("\n") if l and not l.startswith(("processed ", "verification time", "stack depth", "mark_precise"))]
    return lines[-1] if lines else ""


def verdict(err, log):
    return "ok" if err == 0 else f"{ERRNO.get(-err, -err)} {last_line(log)}".strip()


def return_value(kind):
    """A value that programs of this kind may return, or None and the verdict."""
    for value in (0, 1):
        err, log = load(kind, mov(0, value) + EXIT)
        if err == 0:
            return value, "ok"
    return None, verdict(err, log)


def record_helpers(out):
    """One line per kind: 220 letters for helper numbers 1 to 220."""
    for kind in kinds():
        letters = ""
        mit, _ = load(kind, mov(0, 0) + EXIT, gpl=False)
        _, why = return_value(kind)
        for helper in range(1, 221):
            code = insn(0x85, 0, 0, 0, helper) + mov(0, 0) + EXIT
            err, log = load(kind, code)
            if "invalid func" in log:
                letter = "!"
            elif "program of this type cannot use helper" in log:
                letter = "-"
            elif "not allowed in probe" in log:
                letter = "p"
            elif "might sleep in a non-sleepable" in log:
                letter = "s"
            elif err and not log.startswith(("0: ", "func#0", "Live regs", "arg#0")):
                letter = "?"
            elif mit:
                letter = "a"
            else:
                _, log = load(kind, code, gpl=False)
                letter = "g" if "GPL-restricted" in log else "+"
            letters += letter
        if "?" in letters:
            out.write(f"# not judged: {kind}: {why}\n")
        else:
            out.write(f"{kind} {letters}\n")


CAPS = {"bpf": [39], "bpf,net_admin": [39, 12], "bpf,perfmon": [39, 38], "bpf,perfmon,net_admin": [39, 38, 12]}
SYS_CAPSET = {"x86_64": 126, "aarch64": 91}[os.uname().machine]


def set_effective(numbers):
    """Leaves only these capabilities in effect; the permitted ones stay."""
    have = [l.split()[1] for l in open("/proc/self/status") if l.startswith("CapPrm")][0]
    permitted, effective = int(have, 16), sum(1 << n for n in numbers)
    header = ctypes.create_string_buffer(struct.pack("<Ii", 0x20080522, 0))
    data = ctypes.create_string_buffer(b"".join(struct.pack("<III", effective >> s & 0xffffffff, permitted >> s & 0xffffffff, 0) for s in (0, 32)))
    if libc.syscall(SYS_CAPSET, header, data):
        sys.exit("capset failed")


def record_caps(out):
    """As `helpers`, once per set of capabilities; kinds that these may not load are left out."""
    for name, numbers in CAPS.items():
        out.write(f"caps {name}\n")
        read, write = os.pipe()
        if os.fork() == 0:
            os.close(read)
            set_effective(numbers)
            with os.fdopen(write, "w") as pipe:
                record_helpers(pipe)
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            out.writelines(l for l in pipe if not l.startswith("#"))
        os.wait()


def record_attach(out):
    """Every program type with every attach type: what a two-instruction program gets."""
    for prog in PROG:
        results = {}
        for attach in ATTACH:
            kind = Kind(prog, attach)
            err, log = load(kind, mov(0, 0) + EXIT)
            if err:
                err1, log1 = load(kind, mov(0, 1) + EXIT)
                if err1 == 0:
                    err, log = 0, ""
            text = verdict(err, log)
            results.setdefault(text, []).append(attach)
        for text, attaches in sorted(results.items()):
            names = "*" if len(attaches) == len(ATTACH) else ",".join(attaches)
            out.write(f"{prog} {names} {text}\n")


SIZES = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
# Offsets beyond the struct that are asked for too.
SPAN = {"tracepoint": 8192, "syscall": 256, "kprobe": 168, "perf_event": 184, "sock_ops": 224, "struct_ops": 96, "tracing": 96, "lsm": 96}


def register(log):
    """What R0 holds after the first instruction, without ids and bounds."""
    for line in log.split("\n"):
        if line.startswith("0: ") and " R0=" in line:
            text = line.split(" R0=", 1)[1].split(" R1")[0].strip()
            return text.split("(")[0].replace(" ", "_")
    return "?"


def record_ctx(out):
    """Per kind: accesses that are allowed, as runs of offsets; every other one is `invalid bpf_context access`."""
    for kind in kinds():
        value, why = return_value(kind)
        if value is None:
            out.write(f"# not judged: {kind}: {why}\n")
            continue
        high = SPAN.get(kind.prog, 192) + 16
        out.write(f"kind {kind} -16..{high}\n")
        tail = mov(0, value) + EXIT
        for op, size in [("r", 1), ("r", 2), ("r", 4), ("r", 8), ("s", 1), ("s", 2), ("s", 4), ("w", 1), ("w", 2), ("w", 4), ("w", 8)]:
            runs = []
            for off in range(-16, high):
                if op == "w":
                    code = mov(0, value) + insn(0x63 & ~0x18 | SIZES[size], 1, 0, off) + EXIT
                else:
                    code = insn((0x61 if op == "r" else 0x81) & ~0x18 | SIZES[size], 0, 1, off) + tail
                err, log = load(kind, code, 2)
                if "invalid bpf_context access" in log:
                    assert err == -13, (kind, off, log)
                    continue
                got = ("" if op == "w" else register(log)) + ("" if err == 0 else " " + verdict(err, log))
                got = got.strip() or "ok"
                if runs and runs[-1][2] == got and off - runs[-1][1] == runs[-1][3]:
                    runs[-1][1] = off
                elif runs and runs[-1][2] == got and runs[-1][0] == runs[-1][1]:
                    runs[-1][1], runs[-1][3] = off, off - runs[-1][0]
                else:
                    runs.append([off, off, got, 0])
            for first, last, got, step in runs:
                where = f"{first}" if first == last else f"{first}..{last}/{step}"
                out.write(f"  {op}{size} {where} {got}\n")


def record_returns(out):
    """Per kind: values that may be returned, of a few, and whether an unknown one may be."""
    for kind in kinds():
        _, why = return_value(kind)
        if why != "ok":
            out.write(f"# not judged: {kind}: {why}\n")
            continue
        got = []
        for value in (-4096, -4095, -1, 0, 1, 2, 3, 4):
            err, log = load(kind, mov(0, value) + EXIT)
            if err == 0:
                got.append(str(value))
        err, log = load(kind, insn(0x85, 0, 0, 0, 7) + EXIT)
        if err == 0:
            got.append("unknown")
        out.write(f"{kind} {' '.join(got)}\n")


def record_kfuncs(out):
    """The kfuncs of vmlinux, then a letter for each per kind."""
    BTF.read()
    names = sorted(BTF.kfuncs)
    out.write("kfuncs " + " ".join(names) + "\n")
    for kind in kinds():
        letters = ""
        _, why = return_value(kind)
        for name in names:
            err, log = load(kind, insn(0x85, 0, 2, 0, BTF.kfuncs[name]) + mov(0, 0) + EXIT)
            if "is not allowed" in log:
                letter = "-"
            elif "metadata kfuncs require device-bound program" in log:
                letter = "d"
            elif "program must be sleepable to call sleepable kfunc" in log:
                letter = "s"
            elif err and not log.startswith(("0: ", "func#0", "Live regs", "arg#0")):
                letter = "?"
            else:
                letter = "+"
            letters += letter
        if "?" in letters:
            out.write(f"# not judged: {kind}: {why}\n")
        else:
            out.write(f"{kind} {letters}\n")


MAP = ("unspec hash array prog_array perf_event_array percpu_hash percpu_array stack_trace cgroup_array lru_hash "
       "lru_percpu_hash lpm_trie array_of_maps hash_of_maps devmap sockmap cpumap xskmap sockhash cgroup_storage "
       "reuseport_sockarray percpu_cgroup_storage queue stack sk_storage devmap_hash struct_ops ringbuf "
       "inode_storage task_storage bloom_filter user_ringbuf cgrp_storage arena").split()
# A map of each type that the kernel creates: key size, value size, entries, flags.
GOOD_MAP = {
    "prog_array": (4, 4, 1, 0), "perf_event_array": (4, 4, 1, 0), "stack_trace": (4, 8, 1, 0), "cgroup_array": (4, 4, 1, 0),
    "lpm_trie": (8, 4, 1, 1), "array_of_maps": (4, 4, 1, 0), "hash_of_maps": (4, 4, 1, 0), "cgroup_storage": (8, 4, 0, 0),
    "percpu_cgroup_storage": (8, 4, 0, 0), "queue": (0, 4, 1, 0), "stack": (0, 4, 1, 0), "bloom_filter": (0, 4, 1, 0),
    "ringbuf": (0, 0, 4096, 0), "user_ringbuf": (0, 0, 4096, 0), "arena": (0, 0, 1, 1 << 10),
    "sk_storage": (4, 4, 0, 1), "inode_storage": (4, 4, 0, 1), "task_storage": (4, 4, 0, 1), "cgrp_storage": (4, 4, 0, 1),
}
NEEDS_BTF = ("sk_storage", "inode_storage", "task_storage", "cgrp_storage")
MAP_SIZES = sorted({*range(0, 20), 20, 24, 32, 64, 255, 256, 257, 259, 260, 261, 264, 265, 512, 513, 1016, 1017, 32767, 32768, 32769,
                    *range(65376, 65537, 8), *range(65401, 65408), 65535, 65536, *range(4193744, 4194305, 8), 4194303, 4194304, 4194305, 1 << 31, (1 << 32) - 1})
MAP_KEYS = sorted({*range(0, 20), 255, 256, 257, 259, 260, 261, 264, 265, 511, 512, 513, 4096, 32768, 65535,
                   *range(4193744, 4194305, 8), 4194304, (1 << 32) - 1})
MAP_ENTRIES = (0, 1, 2, 3, 4, 1024, 4095, 4096, 4097, 8192, 12288, 65536)
MAP_EXTRAS = (1, 5, 15, 16, 4096, 1 << 32)


def btf_for(size):
    """fd of a BTF whose type 1 is a 4-byte int and whose type 3 is `size` bytes."""
    strs = b"\0int\0char\0"
    types = struct.pack("<IIII", 1, 1 << 24, 4, 32) + struct.pack("<IIII", 5, 1 << 24, 1, 8)
    types += struct.pack("<IIIIII", 0, 3 << 24, 0, 2, 1, size)
    blob = struct.pack("<HBBIIIII", 0xeb9f, 1, 0, 24, 0, len(types), len(types), len(strs)) + types + strs
    buf = ctypes.create_string_buffer(blob)
    ctypes.memset(ATTR, 0, len(ATTR))
    struct.pack_into("<QQII", ATTR, 0, ctypes.addressof(buf), 0, len(blob), 0)
    return bpf(18)


def create_map(kind, key, value, entries, flags, extra=0, inner=0, btf=True, numa=0):
    """`ok` or the errno of creating a map."""
    fd_btf = btf_for(value) if btf and kind in NEEDS_BTF and value <= 1 << 24 else -1
    ctypes.memset(ATTR, 0, len(ATTR))
    struct.pack_into("<IIIIIII16sIIIIIQ", ATTR, 0, MAP.index(kind), key, value, entries, flags, inner, numa, b"",
                     0, max(fd_btf, 0), 1 if fd_btf >= 0 else 0, 3 if fd_btf >= 0 else 0, 0, extra)
    fd = bpf(0)
    if fd_btf >= 0:
        os.close(fd_btf)
    if fd >= 0:
        os.close(fd)
        return "ok"
    return ERRNO.get(-fd, str(-fd))


def runs_of(pairs):
    """`[(0, a), (1, a), (2, b)]` as `0..1=a 2=b`."""
    out = []
    for value, result in pairs:
        if out and out[-1][2] == result:
            out[-1][1] = value
        else:
            out.append([value, value, result])
    return " ".join(f"{a}={r}" if a == b else f"{a}..{b}={r}" for a, b, r in out)


def record_maps(out):
    """Per map type a good map, then what each attribute may be instead (only the values asked for)."""
    ctypes.memset(ATTR, 0, len(ATTR))
    struct.pack_into("<IIIII", ATTR, 0, MAP.index("array"), 4, 4, 1, 0)
    inner_fd = bpf(0)
    out.write("sizes " + " ".join(map(str, MAP_SIZES)) + "\nkeys " + " ".join(map(str, MAP_KEYS)) + "\n")
    for kind in MAP:
        key, value, entries, flags = GOOD_MAP.get(kind, (4, 4, 1, 0))
        inner = inner_fd if kind.endswith("_of_maps") else 0
        base = create_map(kind, key, value, entries, flags, 0, inner)
        out.write(f"map {kind} {key} {value} {entries} {flags} {base}\n")
        if base != "ok":
            continue
        out.write("  key " + runs_of([(k, create_map(kind, k, value, entries, flags, 0, inner)) for k in MAP_KEYS]) + "\n")
        out.write("  value " + runs_of([(v, create_map(kind, key, v, entries, flags, 0, inner)) for v in MAP_SIZES]) + "\n")
        out.write("  entries " + runs_of([(e, create_map(kind, key, value, e, flags, 0, inner)) for e in MAP_ENTRIES]) + "\n")
        out.write("  extra " + runs_of([(x, create_map(kind, key, value, entries, flags, x, inner)) for x in MAP_EXTRAS]) + "\n")
        got = [(f, create_map(kind, key, value, entries, f, 0, inner))
               for f in sorted({a | b for a in [1 << i for i in range(20)] for b in [0] + [1 << i for i in range(20)]} | {0})
               if not f & 1 << 16]
        for result in sorted({r for _, r in got}):
            out.write(f"  flags {result} " + " ".join(f"{f:x}" for f, r in got if r == result) + "\n")
        if kind in NEEDS_BTF:
            out.write("  without_btf " + create_map(kind, key, value, entries, flags, 0, inner, False) + "\n")
    os.close(inner_fd)


def mixed_definitions(count):
    """Map definitions with several attributes off the usual at once, the same ones every time; never more than a few MiB."""
    draw = random.Random(18)
    for _ in range(count):
        kind = draw.choice(MAP[1:])
        key, value, entries, flags = GOOD_MAP.get(kind, (4, 4, 1, 0))
        extra, numa, btf = 0, 0, True
        for _ in range(draw.choice((0, 1, 1, 2, 2, 3))):
            what = draw.randrange(8)
            if what == 0:
                key = draw.choice((0, 1, 3, 4, 5, 8, 12, 16, 260, 261, 512, 513, 4194256))
            elif what == 1:
                value = draw.choice((0, 1, 3, 4, 7, 8, 16, 32, 40, 1016, 1024, 4064, 4096, 32768, 32769, 65408, 4194304, 4194312, 1 << 31))
            elif what == 2:
                entries = draw.choice((0, 1, 2, 3, 7, 100, 1024, 4096, 8192, 12288))
            elif what < 6:
                flags ^= 1 << draw.choice((0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 17, 18, 19))
            elif what == 6:
                extra = draw.choice((1, 3, 15, 16, 4096, 1 << 32, (1 << 32) - 4096, 1 << 44))
            else:
                numa, btf = draw.choice((0, 0, 1, 5000)), draw.random() < 0.5
        if entries * (key + value) <= 16 << 20:
            yield kind, key, value, entries, flags, extra, numa, btf


def record_mixed(out):
    """Definitions drawn from a seed: type, key, value, entries, flags (hexadecimal), extra, node, BTF or not, and the answer."""
    ctypes.memset(ATTR, 0, len(ATTR))
    struct.pack_into("<IIIII", ATTR, 0, MAP.index("array"), 4, 4, 1, 0)
    inner_fd = bpf(0)
    for kind, key, value, entries, flags, extra, numa, btf in mixed_definitions(6000):
        inner = inner_fd if kind.endswith("_of_maps") else 0
        got = create_map(kind, key, value, entries, flags, extra, inner, btf, numa)
        out.write(f"{kind} {key} {value} {entries} {flags:x} {extra} {numa} {'btf' if btf else '-'} {got}\n")
    os.close(inner_fd)


RECORDERS = {"caps": record_caps, "maps": record_maps, "mixed": record_mixed, "kfuncs": record_kfuncs, "helpers": record_helpers, "attach": record_attach, "ctx": record_ctx, "returns": record_returns}


def main():
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    if what not in RECORDERS:
        sys.exit(__doc__)
    release = os.uname().release
    folder = os.path.join(HERE, release.split("-")[0].split("+")[0])
    path = sys.argv[2] if len(sys.argv) > 2 else os.path.join(folder, what + ".txt")
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path, "w") as out:
        out.write(f"# {what} as {release} ({os.uname().machine}) judges them\n")
        RECORDERS[what](out)


if __name__ == "__main__":
    main()
