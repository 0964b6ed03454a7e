//! Maps that the kernel does not make.  `BPF_MAP_CREATE` has no log, so rows answer to what is wrong with the
//! definition (`map-` and its stable name) and have no message patterns.

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
    row("map-type", "the kernel has no such map type", "The type is newer than the kernel, or the part of the kernel that brings it is not built in.", "Use a type that every kernel of your fleet has, or create the map only where it is there (`bpf_map__set_autocreate`, `SEC(\"?…\")`)."),
    row("map-key-size", "the key's size does not fit the map type", "Arrays and their like have 4-byte indices, queues and ring buffers no key, tries a prefix length and at most 256 bytes.", "Give the key the size that the message names, by `__type(key, …)` or `__uint(key_size, …)`."),
    row("map-value-size", "the value's size does not fit the map type", "Each type bounds its values: 32 KiB per processor, 4 MiB for what is allocated in one piece, 4 or 8 bytes for what holds descriptors.", "Make the value smaller, split it over several entries, or use a type that takes it."),
    row("map-max-entries", "the number of entries does not fit the map type", "Most types need at least one entry; storages take none, ring buffers a power of two of whole pages, cpumaps at most NR_CPUS.", "Give `__uint(max_entries, …)` a number that the type takes."),
    row("map-flags", "a flag that the map type does not take, or lacks", "Each type has its own flags: BPF_F_NO_PREALLOC is for hashes, and tries and storages must have it.", "Set or drop the flag that the message names in `__uint(map_flags, …)`."),
    row("map-extra", "map_extra does not fit the map type", "Only bloom filters (hash functions, at most 15) and arenas (an address) have one.", "Drop `map_extra`, or give it a value that the type takes."),
    row("map-numa-node", "the NUMA node is not there", "BPF_F_NUMA_NODE asks for memory of a node that must be online when the map is made; only node 0 is on every machine.", "Drop the flag, or set the node at run time (`bpf_map__set_numa_node`)."),
    row("map-types", "the map type needs BTF types", "Storages describe key and value by type; sizes alone are not enough, and an object whose BTF the kernel refuses has none.", "Use `__type(key, int)` and `__type(value, …)`, compile with `-g`, and keep `.BTF` when stripping."),
    row("map-capability", "the user may not make maps of this type", "The type asks for CAP_BPF or CAP_NET_ADMIN.", "Load with the capability."),
    row("map-name", "the map's name has a character that names may not have", "The kernel takes letters, digits, `_` and `.`.", "Rename the variable."),
    row("map-inner", "the inner map does not fit a map of maps", "The template must be a map that the kernel makes, of a type that may stand inside another, and no map of maps itself.", "Change the inner definition in `__array(values, …)`, or set a template (`bpf_map__set_inner_map_fd`, `inner` of an override)."),
    row("map-slot", "what the object puts into the map does not fit it", "A program array takes programs of the type, hook and kind of its first one; a map of maps takes maps like its template.", "Put only like programs or maps into one map; use a second map for the others."),
    row("map-data", "global variables cannot be mapped", "libbpf maps sections with non-static variables into the application's memory, which the kernel refuses where they hold a lock, a timer or another special field.", "Make these variables `static`, or put them into a section of their own with `__hidden`."),
    row("map-unset", "the definition leaves out what the application must set", "The kernel refuses the map as it stands; most applications set the missing size or inner map before they load.", "Give the value in the definition, or tell what the application sets: `--map-override MAP.max_entries=N`, `[map.MAP]` in bpfassay.toml."),
    row("map-memory", "the map takes much memory", "The kernel makes it if the memory is there, and says ENOMEM otherwise.", "Use fewer entries, smaller values, or BPF_F_NO_PREALLOC."),
    row("map-not-judged", "the map could not be judged", "What it depends on is not known of this kernel.", "Judge with a profile or BTF of the kernel that will run it."),
];
