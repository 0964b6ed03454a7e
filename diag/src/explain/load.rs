//! Loading: what a loader says itself, before the verifier is asked or when it never was.
//!
//! Rows whose names are kinds of this project's own loader's errors (`load-` and the stable name) may
//! have no patterns; the patterns are libbpf's, cilium/ebpf's and aya's words.

use super::Code;

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
    said("load-io", "the file cannot be read", &["failed to open '{}': {}", "failed to open {}: {}", "elf: failed to open '{}': {}"], "The operating system refused to open or read the file.", "Check the path and its permissions."),
    row("load-internal", "an error inside bpfassay", "This is our bug, not the program's.", "Please report it with the object."),
    said("load-elf", "not an ELF file, or a damaged one", &["elf: failed to open {}: {}", "elf: failed to get EHDR from {}", "elf: init internal error", "{} doesn't provide enough data"], "The file's headers or tables lead outside the file.", "Build the object again; make sure it is the output of `clang -target bpf -c`."),
    said("load-not-bpf", "not a BPF object", &["elf: {} is not a valid eBPF object file", "elf: endianness mismatch in {}.", "{} is not a valid eBPF object file"], "The file is ELF, but for another machine, not 64-bit, or already linked.", "Compile with `clang -target bpf -O2 -g -c`."),
    row("load-big-endian", "the object is big-endian", "No kernel served runs big-endian programs.", "Compile with `-target bpfel`."),
    row("load-compressed", "a section is compressed", "Loaders read BPF sections as they stand.", "Compile without `-gz`."),
    row("load-symbols", "the symbol table is missing or damaged", "Programs and maps are found by their symbols.", "Do not run `strip` on the object; `llvm-strip -g` keeps what is needed."),
    row("load-metadata", "the license or version section is malformed", "These sections hold one zero-terminated string, or one number.", "Declare `char LICENSE[] SEC(\"license\") = \"GPL\";`."),
    said("load-legacy-maps", "maps are defined the old way", &["elf: legacy map definitions in 'maps' section are not supported by libbpf v1.0+"], "libbpf 1.0 and later no longer reads the `maps` section.", "Define maps in `.maps` with BTF: `struct { __uint(type, …); __type(key, …); … } m SEC(\".maps\");`."),
    said("load-btf", "type information is damaged, or missing where it is needed", &["Error loading .BTF into kernel: {}", "Error loading BTF: {}", "BTF is required, but is missing or corrupted.", "BTF is required, but is missing or corrupted", "failed to load BTF from {}: {}", "BTF loading error: {}"], "Maps in BTF style, CO-RE, global functions and struct_ops need `.BTF`.", "Compile with `-g`, and keep `.BTF` and `.BTF.ext` when stripping."),
    said("load-program", "a function of the object has no proper place", &["sec '{}': corrupted program '{}', offset {}, size {}", "prog '{}': no .text section found yet sub-program call exists", "sec '{}': program '{}' is static and not supported"], "A program starts where its symbol says, and fills its section together with the others.", "Put entry programs into their own sections with SEC(), and helpers into `.text` as `static` or global functions."),
    said("load-map", "a map definition libbpf does not take", &["map '{}': unknown field '{}'.", "map '{}': can't determine value size for type [{}]: {}.", "map '{}': can't determine key size for type [{}]: {}.", "map '{}': conflicting value size {} != {}.", "map '{}': conflicting key size {} != {}.", "map '{}': map type isn't specified.", "map '{}': unsupported map linkage {}.", "map '{}': should be a map-in-map.", "map '{}': failed to initialize '{}': {}"], "Sizes, types or attributes of the definition do not fit the map type.", "Compare the definition with the map type's documentation."),
    said("load-extern", "an extern cannot be resolved", &["extern (var ksym) '{}': not found in kernel BTF", "extern (func ksym) '{}': not found in kernel or module BTFs", "extern (func ksym) '{}': not found in kernel BTF", "extern '{}' (strong): not resolved", "extern (ksym) '{}': not found in kallsyms", "extern '{}' (strong) not resolved", "extern (var ksym) '{}': incompatible types, {}", "extern (func ksym) '{}': func_proto [{}] incompatible with {}", "failed to find address of kernel symbol {}", "unknown extern reloc", "relocation failed: extern not found"], "Externs are kernel configuration values (`__kconfig`), kernel symbols or functions (`__ksym`); this one is not known and not weak.", "Declare it `__weak` and test for it, or judge with a profile of a kernel that has it."),
    row("load-absent", "the kernel lacks what the program needs", "A strong extern names a kernel symbol, function or configuration value that this kernel has not got, so every loader refuses the program (ESRCH).", "Declare it `__weak` and test for it, or require a kernel that has it."),
    said("load-struct-ops", "a struct_ops map does not fit the kernel", &["struct_ops init_kern: {}", "struct_ops init_kern {}: {}", "struct_ops reloc {}: {}"], "The structure's members are matched by name and type with the kernel's; non-zero members that it lacks are refused.", "Build against the kernel's definition, or leave the member zero."),
    said("load-relocation", "a relocation cannot be applied", &["prog '{}': bad relo against '{}' in section '{}'", "prog '{}': relo #{}: no .text insn for {}", "prog '{}': relo #{}: bad call relo against '{}' in section '{}'", "prog '{}': invalid relo against '{}' in special section {}; forgot to initialize global var?..", "prog '{}': bad data relo against section '{}'", "relocation against symbol `{}` not found"], "The instruction refers to something a loader cannot fill in: an undefined function, a symbol in an unexpected section.", "Define or declare (`__ksym`, `__kconfig`) what is missing; link separate files with `bpftool gen object`."),
    said("load-core", "a CO-RE relocation cannot be applied", &["prog '{}': relo #{}: failed to relocate: {}", "prog '{}': failed to relocate CO-RE: {}", "failed to perform CO-RE relocations: {}", "prog '{}': relo #{}: relocation decision ambiguity: {}", "prog '{}': relo #{}: no matching targets found", "prog '{}': relo #{}: target candidate search failed for {}", "prog '{}': relo #{}: field offset ambiguity: {}", "prog '{}': relo #{}: unexpected insn #{} (LDX/ST/STX) value: {}", "prog '{}': relo #{}: unexpected insn #{} (ALU/ALU64) value: {}", "prog '{}': relo #{}: failed to patch insn #{}: {}"], "A field or type is ambiguous in the kernel's types, or the instruction is of no form libbpf can patch.", "Make the type unambiguous (`struct x___flavour`), and access the field with BPF_CORE_READ()."),
    said("load-prog-type", "the section name says no program type", &["prog '{}': missing BPF prog type, check ELF section name '{}'", "failed to guess program type from ELF section '{}'", "failed to guess program type from section name '{}'", "prog '{}': unrecognized ELF section name '{}'", "missing BPF prog type, check ELF section name '{}'"], "libbpf derives type and attach point from the section's name.", "Use a name libbpf knows (`xdp`, `tc`, `kprobe/…`, `tracepoint/…/…`), or give the type: `check --type`."),
    said("load-attach-target", "what the program attaches to is not named or not found", &["prog '{}': failed to find kernel BTF type ID of '{}': {}", "{} is not found in vmlinux BTF", "prog '{}': failed to find attach target: {}", "failed to find kernel BTF type ID of '{}': {}", "prog '{}': failed to create kprobe '{}' perf event: {}", "failed to determine tracepoint '{}/{}' perf event ID: {}", "prog '{}': failed to create tracepoint '{}/{}' perf event: {}", "prog '{}': failed to find valid kernel BTF for attach_btf_id: {}", "prog '{}': elf: symbol '{}' not found in '{}'", "elf: failed to find symbol '{}' in '{}'", "prog '{}': failed to attach: {}"], "Tracing, LSM and struct_ops programs are verified against the function or hook they attach to.", "Name it in the section (`fentry/do_unlinkat`); judge with the profile or BTF of a kernel that has it."),
    row("load-too-large", "beyond what the loader takes", "Sizes in the object exceed the loader's limits.", "Split the object."),
    said(
        "load-map-create",
        "the kernel refuses to make a map",
        &[
"Invalid attr.", "Invalid btf_fd.", "Invalid btf_value_type_id.", "Invalid excl_prog_hash_size.", "Invalid map_extra.", "Invalid map_name.", "Invalid map_token_fd.", "Invalid map_type.", "Invalid numa_node.", "btf_vmlinux_value_type_id can only be used with struct_ops maps.", "btf_vmlinux_value_type_id is mutually exclusive with btf_key_type_id and btf_value_type_id.",
            "map '{}': failed to create: {}",
            "failed to create map (name: '{}'): {}",
            "Error in bpf_create_map_xattr({}):{}",
            "Error creating map '{}': {}",
            "failed to create map `{}` with code {}",
            "map '{}': failed to create inner map: {}",
            "error on bpf_create_map_xattr. failed to load map `{}`: {}",
            "failed to create map '{}': {}",
        ],
        "A map's type, sizes, flags and value type have to suit each other, and the user and the memory at hand have to allow it; the kernel says only an error number.",
        "Look at the error number: EINVAL is a size, flag or key type that does not suit the map type (or a type this kernel lacks), E2BIG or ENOMEM too many or too large elements, EPERM a missing capability or, before 5.11, too small a RLIMIT_MEMLOCK.",
    ),
    said(
        "load-log-size",
        "the verifier's log does not fit the buffer given for it",
        &[
            "Error: Failed to load program, verification log buffer not big enough, {}",
            "Failed to load program, verification log buffer not big enough, {}",
            "verifier log is truncated{}",
            "load program: no space left on device{}",
            "bpf: Failed to load program: No space left on device",
        ],
        "A load that asks for a log fails with ENOSPC when the log is longer than the buffer, whether or not the program would pass.",
        "Load without a log, or with a larger buffer: BPFTRACE_LOG_SIZE for bpftrace, `LogSizeStart` in cilium/ebpf, `kernel_log_size` in libbpf.",
    ),
    said(
        "load-memlock",
        "locked memory is limited too low",
        &["permission error while running as root; try raising 'ulimit -l'? current value: {}", "{} (MEMLOCK may be too low, consider rlimit.RemoveMemlock)"],
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
        &[
            "kernel BTF is missing at '{}', was CONFIG_DEBUG_INFO_BTF enabled?",
            "failed to find valid kernel BTF",
            "Error loading vmlinux BTF: {}",
            "vmlinux BTF is not found",
            "{}no BTF found for kernel version {}",
            "Unsupported BTF_KIND:{}",
        ],
        "CO-RE, fentry, LSM, struct_ops and kernel functions need the kernel's BTF, which is at /sys/kernel/btf/vmlinux if the kernel was built with CONFIG_DEBUG_INFO_BTF.",
        "Load on a kernel built with CONFIG_DEBUG_INFO_BTF=y, or hand the loader a BTF file for that kernel (btfhub; `btf_custom_path`).",
    ),
    said(
        "load-kernel-feature",
        "the kernel is too old for this",
        &["kernel doesn't support {}", "{}: not supported (requires >= v{})", "{} not supported (requires >= v{})"],
        "The object uses a map or program type, a flag, or data in sections that this kernel does not know.",
        "Load on the kernel named, make the feature optional in the loader, or do without it.",
    ),
];
