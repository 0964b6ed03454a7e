//! Loading: what a loader says itself, before the verifier is asked or when it never was.
//!
//! Rows whose names are kinds of this project's own loader's errors (`load-` and the stable name) may
//! have no patterns; the patterns are libbpf's, cilium/ebpf's and aya's words.

use super::{words, Code};

const fn row(
    name: &'static str,
    title: &'static str,
    why: &'static str,
    change: &'static str,
) -> Code {
    Code::new(name, title, &[], why, change)
}

const fn said(
    name: &'static str,
    title: &'static str,
    messages: &'static [&'static str],
    why: &'static str,
    change: &'static str,
) -> Code {
    Code::new(name, title, messages, why, change)
}

pub(super) const CODES: &[Code] = &[
    said("load-io", "the file cannot be read", words::IO, "The operating system refused to open or read the file.", "Check the path and its permissions."),
    row("load-internal", "an error inside bpfassay", "This is our bug, not the program's.", "Please report it with the object."),
    said("load-elf", "not an ELF file, or a damaged one", words::ELF, "The file's headers or tables lead outside the file.", "Build the object again; make sure it is the output of `clang -target bpf -c`."),
    said("load-not-bpf", "not a BPF object", words::NOT_BPF, "The file is ELF, but for another machine, not 64-bit, or already linked.", "Compile with `clang -target bpf -O2 -g -c`."),
    said("load-big-endian", "the object is big-endian", words::BIG_ENDIAN, "No kernel served runs big-endian programs.", "Compile with `-target bpfel`."),
    row("load-compressed", "a section is compressed", "Loaders read BPF sections as they stand.", "Compile without `-gz`."),
    row("load-symbols", "the symbol table is missing or damaged", "Programs and maps are found by their symbols.", "Do not run `strip` on the object; `llvm-strip -g` keeps what is needed."),
    said("load-metadata", "the license or version section is malformed", words::METADATA, "These sections hold one zero-terminated string, or one number.", "Declare `char LICENSE[] SEC(\"license\") = \"GPL\";`."),
    said("load-legacy-maps", "maps are defined the old way", words::LEGACY_MAPS, "libbpf 1.0 and later no longer reads the `maps` section.", "Define maps in `.maps` with BTF: `struct { __uint(type, …); __type(key, …); … } m SEC(\".maps\");`."),
    said("load-btf", "type information is damaged, or missing where it is needed", words::BTF, "Maps in BTF style, CO-RE, global functions and struct_ops need `.BTF`.", "Compile with `-g`, and keep `.BTF` and `.BTF.ext` when stripping."),
    said("load-program", "a function of the object has no proper place", words::PROGRAM, "A program starts where its symbol says, and fills its section together with the others.", "Put entry programs into their own sections with SEC(), and helpers into `.text` as `static` or global functions."),
    said("load-map", "a map definition libbpf does not take", words::MAP, "Sizes, types or attributes of the definition do not fit the map type.", "Compare the definition with the map type's documentation."),
    said("load-extern", "an extern cannot be resolved", words::EXTERN, "Externs are kernel configuration values (`__kconfig`), kernel symbols or functions (`__ksym`); this one is not known and not weak.", "Declare it `__weak` and test for it, or judge with a profile of a kernel that has it."),
    row("load-absent", "the kernel lacks what the program needs", "A strong extern names a kernel symbol, function or configuration value that this kernel has not got, so every loader refuses the program (ESRCH).", "Declare it `__weak` and test for it, or require a kernel that has it."),
    said("load-struct-ops", "a struct_ops map does not fit the kernel", words::STRUCT_OPS, "The structure's members are matched by name and type with the kernel's; non-zero members that it lacks are refused.", "Build against the kernel's definition, or leave the member zero."),
    said("load-relocation", "a relocation cannot be applied", words::RELOCATION, "The instruction refers to something a loader cannot fill in: an undefined function, a symbol in an unexpected section.", "Define or declare (`__ksym`, `__kconfig`) what is missing; link separate files with `bpftool gen object`."),
    said("load-core", "a CO-RE relocation cannot be applied", words::CORE, "A field or type is ambiguous in the kernel's types, or the instruction is of no form libbpf can patch.", "Make the type unambiguous (`struct x___flavour`), and access the field with BPF_CORE_READ()."),
    said("load-prog-type", "the section name says no program type", words::PROG_TYPE, "libbpf derives type and attach point from the section's name.", "Use a name libbpf knows (`xdp`, `tc`, `kprobe/…`, `tracepoint/…/…`), or give the type: `check --type`."),
    said("load-attach-target", "what the program attaches to is not named or not found", words::ATTACH_TARGET, "Tracing, LSM and struct_ops programs are verified against the function or hook they attach to.", "Name it in the section (`fentry/do_unlinkat`); judge with the profile or BTF of a kernel that has it."),
    row("load-too-large", "beyond what the loader takes", "Sizes in the object exceed the loader's limits.", "Split the object."),
    said(
        "load-map-create",
        "the kernel refuses to make a map",
        words::MAP_CREATE,
        "A map's type, sizes, flags and value type have to suit each other, and the user and the memory at hand have to allow it; the kernel says only an error number.",
        "Look at the error number: EINVAL is a size, flag or key type that does not suit the map type (or a type this kernel lacks), E2BIG or ENOMEM too many or too large elements, EPERM a missing capability or, before 5.11, too small a RLIMIT_MEMLOCK.",
    ),
    said(
        "load-attach",
        "the program is loaded, and cannot be attached",
        words::ATTACH,
        "The verifier took the program; the place it is to run at was not found, is taken, or is not open to this user.",
        "Look at the error number: ENOENT is a function, tracepoint or symbol that this kernel or binary does not have (inlined, renamed, not exported), EINVAL an option or program type that does not suit the place, EBUSY or EEXIST a place that is taken, EPERM a missing capability (CAP_PERFMON for probes, CAP_NET_ADMIN for networking).",
    ),
    said(
        "load-pin",
        "a pin cannot be made, or does not fit",
        words::PIN,
        "A pinned map is used again only if type, sizes and flags are those of the definition; pins live on a file system of type bpf.",
        "Remove the old pin (`rm /sys/fs/bpf/NAME`) when the definition has changed, pin below /sys/fs/bpf (`mount -t bpf bpf /sys/fs/bpf`), and load before pinning.",
    ),
    said(
        "load-link",
        "object files do not fit together",
        words::LINK,
        "`bpftool gen object` joins objects whose global symbols, maps and types agree and that were compiled with BTF.",
        "Compile all of them with `-g` and the same headers; define each global symbol once, and give maps of one name one definition.",
    ),
    said(
        "load-skeleton",
        "skeleton and object are not of one build",
        words::SKELETON,
        "A skeleton names the maps and programs of the object it was made from.",
        "Generate the skeleton again (`bpftool gen skeleton`) from the object that is loaded, and compile with it.",
    ),
    said(
        "load-log-size",
        "the verifier's log does not fit the buffer given for it",
        words::LOG_SIZE,
        "A load that asks for a log fails with ENOSPC when the log is longer than the buffer, whether or not the program would pass.",
        "Load without a log, or with a larger buffer: BPFTRACE_LOG_SIZE for bpftrace, `LogSizeStart` in cilium/ebpf, `kernel_log_size` in libbpf.",
    ),
    said(
        "load-memlock",
        "locked memory is limited too low",
        words::MEMLOCK,
        "Before 5.11 maps and programs count against RLIMIT_MEMLOCK, which is 64 KiB for most users; the refusal reads like a missing permission.",
        "Raise the limit before loading: setrlimit(RLIMIT_MEMLOCK, RLIM_INFINITY), `rlimit.RemoveMemlock()` in Go, `ulimit -l unlimited`, or LimitMEMLOCK= of the service.",
    ),
    said(
        "load-capability",
        "the loading user may not do this",
        &[],
        "bpf(2) answered EPERM without a log: the user lacks CAP_BPF (and CAP_PERFMON for tracing, CAP_NET_ADMIN for networking), unprivileged BPF is off, a lockdown or LSM forbids it, or the process is in a user namespace.",
        "Run as root or with these capabilities, in the initial user namespace; look at kernel.unprivileged_bpf_disabled and at /sys/kernel/security/lockdown. Before 5.11, raise RLIMIT_MEMLOCK too.",
    ),
    said(
        "load-kernel-btf",
        "the kernel's type information cannot be found",
        words::KERNEL_BTF,
        "CO-RE, fentry, LSM, struct_ops and kernel functions need the kernel's BTF, which is at /sys/kernel/btf/vmlinux if the kernel was built with CONFIG_DEBUG_INFO_BTF.",
        "Load on a kernel built with CONFIG_DEBUG_INFO_BTF=y, or hand the loader a BTF file for that kernel (btfhub; `btf_custom_path`).",
    ),
    said(
        "load-kernel-feature",
        "the kernel is too old for this",
        words::KERNEL_FEATURE,
        "The object uses a map or program type, a flag, or data in sections that this kernel does not know.",
        "Load on the kernel named, make the feature optional in the loader, or do without it.",
    ),
];
