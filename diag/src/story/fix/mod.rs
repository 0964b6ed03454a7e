//! What to change, in terms of this program.

mod argument;
mod bounds;
mod call;

use super::operand::number_after;
use super::{Source, Step, Story, What};

/// The change for this program; `None` where only the general advice holds.
pub fn of(story: &Story) -> Option<String> {
    let code = story.code?.name;
    let block = story.message.join("\n");
    if let Some(step) = story.lineage.iter().rev().find(|s| s.what == Some(What::Invalidated)) {
        return Some(invalidated(step, story));
    }
    match code {
        "register-maybe-null" | "call-maybe-null" => null(story),
        "memory-map-value-bounds" | "memory-bounds" | "memory-unbounded-index"
            if story.class == Some(super::Class::Lowering) =>
        {
            bounds::masked(story)
        }
        "memory-map-value-bounds" | "memory-bounds" => bounds::object(story, &block),
        "memory-unbounded-index" => bounds::unbounded(story),
        "memory-packet-bounds" => bounds::packet(story, &block),
        "memory-unbounded-size" | "memory-negative-size" | "memory-zero-size" => {
            bounds::size(story)
        }
        "memory-stack-bounds" => bounds::stack(story, &block),
        "memory-stack-uninitialized" => special_slot(story).or_else(|| cleared(story, &block)),
        "memory-read-only" => read_only(story, &block),
        "register-scalar-access" if story.class == Some(super::Class::Lowering) => {
            moved_context(story)
        }
        "register-scalar-access" => scalar(story),
        "register-uninitialized" => uninitialized(story),
        "memory-pointer-math" => bounds::math(story),
        "register-pointer-arithmetic" => arithmetic(story),
        "register-pointer-comparison" => comparison(story),
        "lifetime-leak" => leak(story),
        "register-return-value" => returned(&block),
        "memory-misaligned" => misaligned(&block),
        "call-argument-type" | "call-untrusted" => call::argument(story, &block),
        "call-map-type" => call::map_type(&block),
        "program-call-depth" => recursion(story),
        "policy-helper" => call::helper(story, &block),
        "call-unknown-helper" => {
            call::unknown_helper(story, &block).or_else(|| call::helper(story, &block))
        }
        "memory-context" => context(story, &block),
        "memory-struct-bounds" => map_itself(&block),
        "context-lock-held" => locked(story, &block),
        "context-rcu" if story.class == Some(super::Class::Imprecision) => Some("Make the function that is called inside the RCU section `static __always_inline`, or load on Linux 6.8 or newer: older kernels do not carry the section into and out of functions.".to_string()),
        "program-jump" if block.ends_with("cannot be patched due to 16-bit range") => Some("The program is too long for its jumps once the kernel has put in its own instructions: split it by a tail call or into global functions, or unroll less. `-mcpu=v4` has jumps that reach further.".to_string()),
        "program-instruction" => opcode(&block),
        _ => loaders(code, &block),
    }
}

/// The change that a loader's own words call for; `None` where only the general advice holds.
pub fn loaders(code: &str, text: &str) -> Option<String> {
    match code {
        "load-map" => map_definition(text),
        "load-prog-type" => section(text),
        "load-kernel-btf" if text.contains("BTF_KIND") => Some("The loader is older than the kernel's type information: update it (libbpf 1.0 knows every kind of Linux 6.x).".to_string()),
        "call-poisoned" => poisoned(text),
        _ => None,
    }
}

/// What libbpf could not find.
fn poisoned(text: &str) -> Option<String> {
    if let Some((_, what)) = text.split_once("failed to resolve CO-RE relocation ") {
        let what = what.lines().next()?;
        let name = what.split_once("] ").map_or(what, |(_, n)| n).split(" (").next()?;
        let kind = what.split(['<', '>']).nth(1)?;
        let (lacks, guard) = match kind {
            k if k.starts_with("type") => ("type", "bpf_core_type_exists()"),
            k if k.starts_with("enumval") => ("enumerator", "bpf_core_enum_value_exists()"),
            _ => ("field", "bpf_core_field_exists()"),
        };
        return Some(format!("This kernel has no {lacks} `{name}` (renamed, moved, or of another shape): read it only `if ({guard})`, and declare the other kernel's form in a type of its own with a suffix (`struct inode___new`) for the other branch."));
    }
    let quoted = |before: &str| text.split_once(before)?.1.split('\'').next();
    if let Some(map) = quoted("BPF map '") {
        return Some(format!("Map `{map}` was not made (`bpf_map__set_autocreate(…, false)`, or a kernel without its type), and a path that is taken uses it: make that path depend on a `const volatile` switch, so that it is dead where the map is not."));
    }
    let kfunc = quoted("kfunc '")?;
    Some(format!("This kernel has no function `{kfunc}`, and a path that is taken calls it: call it only `if (bpf_ksym_exists({kfunc}))`, with another way for kernels without it."))
}

/// An address inside the context, computed before it is used.
fn moved_context(story: &Story) -> Option<String> {
    let at = story.at.as_ref()?;
    let cause = story.cause.as_ref()?;
    Some(format!(
        "Read the context's fields straight from it, each with its constant offset (`ctx->field`), and not through an address chosen at {} for the read at {}: put the read into every branch, through a `volatile` pointer so that the compiler does not join the branches again; or load on Linux 4.14 or newer.",
        place(cause),
        place(at)
    ))
}

/// A section's name that says nothing to the loader.
fn section(text: &str) -> Option<String> {
    let name = text.rsplit('\'').nth(1)?;
    let bare = ["raw_tp", "kprobe", "tracepoint", "tp", "uprobe", "lsm", "fentry", "fexit", "iter"];
    bare.contains(&name).then(|| {
        format!("Name what it attaches to behind a slash, `SEC(\"{name}/…\")`: libbpf before 1.0 knows `{name}/` only with it.")
    })
}

/// A field of the context, with nothing known of the program's type.
fn context(story: &Story, block: &str) -> Option<String> {
    let at = story.at.as_ref()?;
    let (off, size) = (number_after(block, "off=")?, number_after(block, "size=")?);
    let is_store = at.text.split_once(") ").is_some_and(|(_, w)| w.starts_with("*("));
    if is_store {
        return Some(format!("{} writes the context at offset {off}, and this program type may write few of its fields, this one not. Keep the value in a variable or a map, or look up which fields `is_valid_access` of the type lets be written.", place(at)));
    }
    let is_joined = size == 8 && story.class == Some(super::Class::Lowering);
    is_joined.then(|| {
        format!("{} reads 8 bytes at offset {off}. Where the field has 4, the compiler has read two that stand beside each other at once: read each through a `volatile` pointer (`*(volatile __u32 *)&ctx->field`), or put `barrier_var()` between the two reads.", place(at))
    })
}

/// The map's own structure where one of its values is meant.
fn map_itself(block: &str) -> Option<String> {
    block.contains(" in struct bpf_map ").then(|| {
        "The address is that of the map itself. For one of its values call bpf_map_lookup_elem(), and test the result for NULL; where a global variable is meant, the loader does not know `.data`, `.bss` and `.rodata` sections and put the map's address in place of the variable's.".to_string()
    })
}

/// A function called with a lock held.
fn locked(story: &Story, block: &str) -> Option<String> {
    let at = story.at.as_ref()?;
    block.contains("use static function instead").then(|| {
        format!("Make the function called at {} `static`: a global one is verified on its own, without the lock. Or call it before the lock is taken, or after it is released.", place(at))
    })
}

pub use call::{kind, kinds};

pub(super) fn place(step: &Step) -> String {
    match step.source.as_ref().and_then(|s| s.line.map(|n| (s, n))) {
        Some((s, n)) => format!("{}:{n}", s.file.as_deref().unwrap_or("line ")),
        None => format!("insn {}", step.insn),
    }
}

/// The variable that a source line assigns.
pub fn assigned(source: Option<&Source>) -> Option<String> {
    const LONGEST: usize = 100;
    let text = source.map(|s| &s.text).filter(|t| t.len() <= LONGEST)?;
    let (left, right) = text.split_once('=')?;
    // Of several assignments in a line none is known to be the one.
    let several = right.replace("==", "").replace("!=", "").replace("<=", "").replace(">=", "");
    if right.starts_with('=') || left.ends_with(['!', '<', '>']) || several.contains('=') {
        return None;
    }
    left_side(left)
}

/// The variable that the expression at `column` (from 1) of a source line is assigned to.
pub fn assigned_at(text: &str, column: u32) -> Option<String> {
    let at = (column as usize).checked_sub(1).filter(|at| text.is_char_boundary(*at))?;
    let (before, after) = text.split_at_checked(at)?;
    let word = after.len()
        - after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').len();
    let (name, rest) = after.split_at(word);
    let rest = rest.trim_start();
    if word > 0 && rest.starts_with('=') && !rest.starts_with("==") {
        return Some(name.to_string());
    }
    let left = before.trim_end().strip_suffix('=')?;
    (!left.ends_with(['=', '!', '<', '>'])).then(|| left_side(left)).flatten()
}

/// The name at the end of what stands before `=`.
fn left_side(left: &str) -> Option<String> {
    let name: String = left
        .trim_end()
        .trim_end_matches(['+', '-', '*', '/', '|', '&', '^'])
        .trim_end()
        .rsplit(|c: char| !(c.is_ascii_alphanumeric() || "_.->".contains(c)))
        .next()?
        .trim_start_matches(['-', '>', '.'])
        .to_string();
    (!name.is_empty() && name.len() < 40).then_some(name)
}

/// The call of a line: `bpf_map_lookup_elem`.
pub fn called(step: &Step) -> String {
    let target = step.text.rsplit(' ').next().unwrap_or("");
    super::calls::name(target).to_string()
}

fn null(story: &Story) -> Option<String> {
    if let (Some(super::Class::Imprecision), Some(at)) = (story.class, &story.at) {
        let r = story.register.as_deref()?;
        return Some(format!(
            "Test the very copy that is used ({r}) before {}: make the test and the use share one variable that the compiler does not copy (`asm volatile(\"\" : \"+r\"(p));` behind the call), or load on a newer kernel; since 4.10 a test holds for every copy.",
            place(at)
        ));
    }
    let from = story.lineage.first().filter(|s| s.what == Some(What::Called));
    let Some(from) = from else {
        let at = story.at.as_ref()?;
        return Some(format!(
            "Test the pointer for NULL on the path to {}, and leave if it is.",
            place(at)
        ));
    };
    let named = || assigned(from.source.as_ref());
    let name = story.variable.clone().or_else(named).unwrap_or_else(|| "p".into());
    let checks = story.lineage.iter().filter(|s| s.what == Some(What::Compared)).count();
    let more = if checks > 0 { " The tests on this path do not decide it." } else { "" };
    Some(format!(
        "After {} at {}: `if (!{name}) return 0;`, before the use at {}.{more}",
        called(from),
        place(from),
        story.at.as_ref().map_or(String::new(), place),
    ))
}

fn scalar(story: &Story) -> Option<String> {
    let first = story.lineage.first()?;
    let at = story.at.as_ref()?;
    Some(match first.what? {
        What::Loaded => format!(
            "The address was read from memory at {}, so it is a number to the verifier: read through it with bpf_probe_read_kernel() (BPF_CORE_READ(); bpf_probe_read_user() for user memory) instead of `->` at {}.",
            place(first), place(at)
        ),
        What::Written => format!(
            "{} at {} wrote the address as plain bytes: read through it with bpf_probe_read_kernel() (bpf_probe_read_user() for user memory) at {}.",
            called(first), place(first), place(at)
        ),
        What::Called => format!(
            "{} at {} returns a number, not a pointer the verifier follows: use the variant that returns a typed pointer (bpf_get_current_task_btf()), or read with bpf_probe_read_kernel() at {}.",
            called(first), place(first), place(at)
        ),
        What::Constant if first.text.ends_with("= 0") => format!(
            "On this path the pointer is NULL ({}): leave before {} when it is.",
            place(first), place(at)
        ),
        What::Clobbered => format!("Keep the pointer over the call at {} in a variable of its own.", place(first)),
        _ => return None,
    })
}

fn invalidated(step: &Step, story: &Story) -> String {
    let name = called(step);
    let at = story.at.as_ref().map_or(String::new(), place);
    if super::calls::moves_packets(&name) || name.starts_with("pc") {
        return format!(
            "{} at {} may move the packet, so every packet pointer from before it is void: load data and data_end from the context again after it, compare again, and use the new pointer at {at}.",
            if name.starts_with("pc") { "the function called" } else { &name },
            place(step)
        );
    }
    format!(
        "{name} at {} gives the object away: do what needs it before, and nothing with it at {at}.",
        place(step)
    )
}

fn uninitialized(story: &Story) -> Option<String> {
    let at = story.at.as_ref()?;
    let r = story.register.as_deref()?;
    match story.lineage.first() {
        Some(s) if s.what == Some(What::Clobbered) => Some(format!(
            "The call at {} clobbers {r}: keep the value in another variable over it.",
            place(s)
        )),
        _ if r == "R0" => Some(format!("Return a value on the path to {}.", place(at))),
        _ if matches!(r, "R2" | "R3" | "R4" | "R5") && story.lineage.is_empty() => Some(format!(
            "{r} is read as if it were an argument, and a program has one, the context in R1: take arguments from it (BPF_KPROBE(), BPF_PROG(), PT_REGS_PARM2(ctx), ctx->args[1]); otherwise give the variable a value on every path to {}.",
            place(at)
        )),
        _ => Some(format!("Give the variable a value on every path to {}.", place(at))),
    }
}

fn returned(block: &str) -> Option<String> {
    let range = block.split("should have been in ").nth(1)?.lines().next()?;
    Some(format!("Return only values in {range}: map others to one of them before `return`."))
}

fn misaligned(block: &str) -> Option<String> {
    let size = number_after(block, "size ")?;
    if block.contains("misaligned stack access") {
        return Some(format!("Align the stack variable to {size} bytes: `__attribute__((aligned({size})))`, or order its members so that the one copied is."));
    }
    block.contains("misaligned access off (0x0; 0xffffffffffffffff)").then(|| {
        "The address is a plain number, so its alignment cannot be known, nor anything else about it: it is no pointer the verifier follows. Take the address of the object itself (a map value or global variable) for the access.".to_string()
    })
}

/// `1 byte`, `2 bytes`.
pub fn bytes(n: i64) -> String {
    if n == 1 {
        "1 byte".to_string()
    } else {
        format!("{n} bytes")
    }
}

fn leak(story: &Story) -> Option<String> {
    let cause = story.cause.as_ref()?;
    let Some(at) = story.at.as_ref() else {
        return Some(format!("What {} acquired is still held on a path that leaves: call the releasing function on every path behind it, early returns included.", place(cause)));
    };
    let name = assigned(cause.source.as_ref()).unwrap_or_default();
    let release = match called(cause).as_str() {
        "bpf_ringbuf_reserve" if name.is_empty() => {
            "bpf_ringbuf_submit() or bpf_ringbuf_discard()".to_string()
        }
        "bpf_ringbuf_reserve" => {
            format!("`bpf_ringbuf_discard({name}, 0);` (or bpf_ringbuf_submit())")
        }
        n if n.starts_with("bpf_sk") => format!("`bpf_sk_release({name});`"),
        n if n.contains("task") => format!("`bpf_task_release({name});`"),
        n if n.contains("cgroup") => format!("`bpf_cgroup_release({name});`"),
        n if n.contains("obj_new") => format!("`bpf_obj_drop({name});`"),
        _ => "the releasing function".to_string(),
    };
    Some(format!(
        "What {} at {} acquired is still held on the path that leaves at {}: call {release} on that path before it leaves.",
        called(cause), place(cause), place(at)
    ))
}

/// The variable that the register at fault points to, by the arguments that the line shows.
pub fn passed(story: &Story) -> Option<String> {
    let at = story.at.as_ref()?;
    let n = story.register.as_deref()?.strip_prefix('R')?.parse().ok()?;
    argument::passed(&at.source.as_ref()?.text, &called(at), n)
}

/// A variable that is passed before all of it was written.
fn cleared(story: &Story, block: &str) -> Option<String> {
    let at = story.at.as_ref()?;
    if at.text.contains(" = *(") {
        let (off, size) = (number_after(block, "off ")?, number_after(block, "size ")?);
        return (size > 1).then(|| {
            format!("{} reads {size} bytes at once, and not all of them were written: clear the whole variable at fp{off} where it is declared (`__builtin_memset(&x, 0, sizeof(x));`), and make an array's length a multiple of 8, as compilers compare and copy arrays 8 bytes at a time.", place(at))
        });
    }
    let name = passed(story)?;
    let size = number_after(block, "size ").or_else(|| number_after(block, "size="))?;
    let hole = block.split('+').nth(1).and_then(|r| r.split(' ').next()?.parse::<i64>().ok());
    let which = match hole {
        Some(h) if h > 0 && h + 8 > size => {
            format!("byte {h} on, most likely padding at its end, is not")
        }
        Some(h) if h > 0 => format!(
            "byte {h} is not: padding between members, or a member that this path leaves out"
        ),
        _ => "not even the first is".to_string(),
    };
    Some(format!(
        "Clear `{name}` as a whole before its members are set, `__builtin_memset(&{name}, 0, sizeof({name}));` (`= {{}}` leaves padding as it is): of its {size} bytes {which} written where {} reads them.",
        place(at)
    ))
}

/// A function that calls itself.
fn recursion(story: &Story) -> Option<String> {
    let at = story.at.as_ref()?;
    let is_own = story.knows.as_deref().is_some_and(|k| k.contains("itself"));
    is_own.then(|| format!("Recursion is not allowed at any depth: turn the function called at {} into a bounded loop, with what it has to remember in an array on the stack or in a map.", place(at)))
}

/// A slot that holds a dynptr, an iterator or the like is no memory of the program.
fn special_slot(story: &Story) -> Option<String> {
    let kind = story.slot.as_deref()?;
    let at = story.at.as_ref()?;
    Some(format!(
        "The bytes read at {} are a {kind} that a kernel function keeps on the stack; the program may not look at or copy them. Pass its address (`&x`) to the functions made for it, and make a second one with its own function if two are needed.",
        place(at)
    ))
}

fn read_only(story: &Story, block: &str) -> Option<String> {
    let at = story.at.as_ref()?;
    block.contains("only read from bpf_").then(|| {
        format!(
            "{} writes into the map itself, not into one of its values: get the address of a value with bpf_map_lookup_elem() (`map.get_ptr_mut()` in Aya), test it for NULL, and write through that.",
            place(at)
        )
    })
}

fn arithmetic(story: &Story) -> Option<String> {
    let at = story.at.as_ref()?;
    let r = story.register.as_deref()?;
    let says = |words: &str| story.message.last().is_some_and(|l| l.contains(words));
    if says("on pkt_end prohibited") {
        return Some(format!(
            "The packet's end may be compared and nothing else: at {} leave it as it is and add on the other side, `if ((void *)(p + n) > data_end) return …;`; for a length take `data_end - data` as a number.",
            place(at)
        ));
    }
    if says("pointer += pointer prohibited") {
        return Some(format!("Two addresses are added at {}: one of them was meant to be an offset. Subtract the start from it first, or keep it as an unsigned number.", place(at)));
    }
    let from = story.lineage.first().map_or_else(String::new, |s| format!(" (from {})", place(s)));
    if at.text.contains(" |= ") {
        return Some(format!(
            "The compiler made an `|` of an addition at {}, because it knows the low bits of the address {r}{from} to be zero. Keep it from knowing the other number: `barrier_var(i);` (`asm volatile(\"\" : \"+r\"(i));`) on the index before the address is formed, or a `volatile` index. Where an address is put together from two 32-bit halves, read the field once, as the type it has.",
            place(at)
        ));
    }
    let narrow = [" <<= ", " >>= ", " s>>= ", " &= "].iter().any(|o| at.text.contains(o))
        || at.text.split(' ').nth(1).is_some_and(|w| w.starts_with('w'));
    narrow.then(|| {
        format!(
            "{r} is a pointer{from}, and {} shifts, masks or cuts it to 32 bits. Keep the pointer in a pointer variable; do that arithmetic on the index, as an unsigned 64-bit number, and add it last.",
            place(at)
        )
    })
}

fn comparison(story: &Story) -> Option<String> {
    let at = story.at.as_ref()?;
    Some(format!(
        "Load with CAP_PERFMON beside CAP_BPF (or as root): without it, pointers are not compared at {}. Where that cannot be, compare only with NULL, or read the packet with bpf_skb_load_bytes() instead of through data and data_end.",
        place(at)
    ))
}

fn opcode(block: &str) -> Option<String> {
    block.contains("unknown opcode 00").then(|| {
        "An instruction of nothing but zeros is the second half of a 64-bit constant: the loader did not fill in the first, the address of a global or static variable or of a string (`char *s = \"…\"`). Keep such data on the stack (`char s[] = \"…\"`), or load with a loader that knows `.rodata` and `.data` (libbpf, Aya, cilium/ebpf), on Linux 5.2 or newer.".to_string()
    })
}

fn map_definition(block: &str) -> Option<String> {
    let of =
        ["value", "key"].into_iter().find(|w| block.contains(&format!("determine {w} size")))?;
    Some(format!(
        "The type given as the map's {of} has no size: it is only declared, or is a `struct` with an array of no length at its end. Give it its full definition, or state `__uint({of}_size, N);` in place of `__type({of}, …);`."
    ))
}
