//! Loading: refusals of the loader, before any kernel is asked.  Rows answer to the loader's kind of
//! error (`load-` and its stable name), so they have no message patterns.

use super::Code;

const fn row(
    name: &'static str,
    title: &'static str,
    why: &'static str,
    change: &'static str,
) -> Code {
    Code::new(name, title, &[], why, change)
}

pub(super) const CODES: &[Code] = &[
    row("load-io", "the file cannot be read", "The operating system refused to open or read the file.", "Check the path and its permissions."),
    row("load-internal", "an error inside bpfassay", "This is our bug, not the program's.", "Please report it with the object."),
    row("load-elf", "not an ELF file, or a damaged one", "The file's headers or tables lead outside the file.", "Build the object again; make sure it is the output of `clang -target bpf -c`."),
    row("load-not-bpf", "not a BPF object", "The file is ELF, but for another machine, not 64-bit, or already linked.", "Compile with `clang -target bpf -O2 -g -c`."),
    row("load-big-endian", "the object is big-endian", "No kernel served runs big-endian programs.", "Compile with `-target bpfel`."),
    row("load-compressed", "a section is compressed", "Loaders read BPF sections as they stand.", "Compile without `-gz`."),
    row("load-symbols", "the symbol table is missing or damaged", "Programs and maps are found by their symbols.", "Do not run `strip` on the object; `llvm-strip -g` keeps what is needed."),
    row("load-metadata", "the license or version section is malformed", "These sections hold one zero-terminated string, or one number.", "Declare `char LICENSE[] SEC(\"license\") = \"GPL\";`."),
    row("load-legacy-maps", "maps are defined the old way", "libbpf 1.0 and later no longer reads the `maps` section.", "Define maps in `.maps` with BTF: `struct { __uint(type, …); __type(key, …); … } m SEC(\".maps\");`."),
    row("load-btf", "type information is damaged, or missing where it is needed", "Maps in BTF style, CO-RE, global functions and struct_ops need `.BTF`.", "Compile with `-g`, and keep `.BTF` and `.BTF.ext` when stripping."),
    row("load-program", "a function of the object has no proper place", "A program starts where its symbol says, and fills its section together with the others.", "Put entry programs into their own sections with SEC(), and helpers into `.text` as `static` or global functions."),
    row("load-map", "a map definition libbpf does not take", "Sizes, types or attributes of the definition do not fit the map type.", "Compare the definition with the map type's documentation."),
    row("load-extern", "an extern cannot be resolved", "Externs are kernel configuration values (`__kconfig`), kernel symbols or functions (`__ksym`); this one is not known and not weak.", "Declare it `__weak` and test for it, or judge with a profile of a kernel that has it."),
    row("load-struct-ops", "a struct_ops map does not fit the kernel", "The structure's members are matched by name and type with the kernel's; non-zero members that it lacks are refused.", "Build against the kernel's definition, or leave the member zero."),
    row("load-relocation", "a relocation cannot be applied", "The instruction refers to something a loader cannot fill in: an undefined function, a symbol in an unexpected section.", "Define or declare (`__ksym`, `__kconfig`) what is missing; link separate files with `bpftool gen object`."),
    row("load-core", "a CO-RE relocation cannot be applied", "A field or type is ambiguous in the kernel's types, or the instruction is of no form libbpf can patch.", "Make the type unambiguous (`struct x___flavour`), and access the field with BPF_CORE_READ()."),
    row("load-prog-type", "the section name says no program type", "libbpf derives type and attach point from the section's name.", "Use a name libbpf knows (`xdp`, `tc`, `kprobe/…`, `tracepoint/…/…`), or give the type: `check --type`."),
    row("load-attach-target", "what the program attaches to is not named or not found", "Tracing, LSM and struct_ops programs are verified against the function or hook they attach to.", "Name it in the section (`fentry/do_unlinkat`); judge with the profile or BTF of a kernel that has it."),
    row("load-too-large", "beyond what the loader takes", "Sizes in the object exceed the loader's limits.", "Split the object."),
];
