//! Calls: what an argument has to be, and who may call what.

use bpfassay_spec::callers::callers_of;
use bpfassay_spec::helper::{func_id, func_id_name};

use super::{called, place};
use crate::story::{Step, Story, What};

/// An argument of the wrong kind.
pub fn argument(story: &Story, block: &str) -> Option<String> {
    let at = story.at.as_ref()?;
    let r = story.register.as_deref()?;
    let n = r.trim_start_matches('R');
    let last = block.lines().last()?;
    if last.contains("doesn't point to a map value")
        || last.contains("expected pointer to map value")
    {
        return Some(format!(
            "Argument {n} of {} at {} has to be the address of a field inside a map value{}: put the field into the value type of a map, look the value up, test it for NULL, and pass `&value->field`.",
            called(at),
            place(at),
            on_stack(story)
        ));
    }
    let (_, rest) = last.split_once(" type=")?;
    let (has, wants) = rest.split_once(" expected=")?;
    let from =
        story.lineage.first().map_or_else(String::new, |s| format!(", made at {}", place(s)));
    if has == "scalar" && wants.contains("ptr_") && !wants.contains("fp") {
        return Some(format!("Argument {n} at {} is a number{from}: get the object as a typed pointer (bpf_get_current_task_btf(), an argument of the hook).", place(at)));
    }
    if wants.contains("map_ptr") {
        return Some(format!("Argument {n} at {} has to be the address of a map itself (`&my_map`), filled in by the loader{}.", place(at), if has == "scalar" { "; a constant here means that the relocation was not applied" } else { "" }));
    }
    if has == "scalar" && wants.contains("fp") {
        return Some(memory(story, at, n, &from));
    }
    Some(format!("Argument {n} at {} is {}{from}; pass {}.", place(at), kind(has), kinds(wants)))
}

/// A number where memory is wanted.
fn memory(story: &Story, at: &Step, n: &str, from: &str) -> String {
    let constant = story.lineage.first().filter(|s| s.what == Some(What::Constant));
    match constant.map(|s| s.text.as_str()) {
        Some(t) if t.starts_with("(18)") => format!(
            "Argument {n} at {} is the constant 0{from}, where the loader should have put the address of a global variable or string: load with a loader that relocates `.rodata` and `.data`, or keep the data on the stack (`char s[] = \"…\"`) and pass its address.",
            place(at)
        ),
        Some(t) if t.ends_with("= 0") => format!(
            "Argument {n} of {} at {} is NULL, and memory is wanted: pass the address of a variable{}.",
            called(at),
            place(at),
            if called(at).starts_with("bpf_map_") { " that has the key or value; queues and stacks have no keys and are used through bpf_map_push_elem() and bpf_map_pop_elem()" } else { "" }
        ),
        _ => format!("Argument {n} at {} has to be a pointer to memory the verifier knows, and is a number{from}: copy the data to a variable on the stack (bpf_probe_read_kernel(), bpf_probe_read_user()) and pass its address.", place(at)),
    }
}

fn on_stack(story: &Story) -> &'static str {
    let value = story.lineage.iter().rev().find_map(|s| s.value.as_deref());
    if value.is_some_and(|v| v.starts_with("fp")) {
        ", and is a variable on the stack"
    } else {
        ""
    }
}

/// A kind of value in words.
pub fn kind(name: &str) -> String {
    let words = match name.trim_end_matches('_') {
        "fp" => "an address on the stack",
        "scalar" | "inv" => "a number",
        "ctx" => "the context",
        "ptr" => "a typed kernel pointer",
        "trusted_ptr" => {
            "a trusted kernel pointer (from the hook's arguments or a kernel function)"
        }
        "rcu_ptr" => "a pointer read under RCU",
        "untrusted_ptr" => "a kernel pointer that is not trusted (read from another structure)",
        "map_ptr" => "a map",
        "map_value" => "a map value",
        "map_key" => "a map key",
        "pkt" => "a packet pointer",
        "pkt_meta" => "a pointer to packet metadata",
        "pkt_end" => "the packet's end",
        "ringbuf_mem" => "a ring buffer record",
        "mem" | "buf" | "alloc_mem" => "memory that a function returned",
        "func" => "a function",
        "sock" | "sock_common" | "tcp_sock" => "a socket",
        _ => return format!("`{name}`"),
    };
    words.to_string()
}

/// One of several kinds; what says the same is said once.
pub fn kinds(names: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for w in names.split(", ").map(|n| kind(n.trim())) {
        if !words.contains(&w) {
            words.push(w);
        }
    }
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// A function that does not take maps of a type.
pub fn map_type(block: &str) -> Option<String> {
    if block.contains("expected prog array map") {
        return Some("Argument 2 of bpf_tail_call() has to be a map of type prog_array: define one (`__uint(type, BPF_MAP_TYPE_PROG_ARRAY)`) and put the programs to jump to into it.".to_string());
    }
    let (_, rest) = block.split_once("cannot pass map_type ")?;
    let (number, rest) = rest.split_once(" into func ")?;
    let map = bpfassay_spec::MapType::from_number(number.parse().ok()?)?.name();
    let function = rest.split('#').next()?;
    Some(format!("{function}() does not take maps of type {map}: use the function made for that type (bpf_tail_call() for prog_array, bpf_map_push_elem() for queue and stack, bpf_ringbuf_output() for ringbuf, bpf_perf_event_output() for perf_event_array), or define the map with another type."))
}

/// Kinds beyond this many are not listed.
const FEW: usize = 8;

/// A helper that the program's type may not call.
pub fn helper(story: &Story, block: &str) -> Option<String> {
    let name = match &story.at {
        Some(at) => called(at),
        // `unknown func bpf_redirect_peer#155`
        None => block.split(' ').find(|w| w.starts_with("bpf_"))?.split('#').next()?.to_string(),
    };
    let place_ = || story.at.as_ref().map_or(String::new(), |at| format!("{}: ", place(at)));
    let own = match name.as_str() {
        "bpf_probe_read" => Some("bpf_probe_read_kernel() or bpf_probe_read_user() say which memory is meant, and exist on every processor; bpf_probe_read() does not where user and kernel addresses overlap, nor in every program type. BPF_CORE_READ() takes them when the program is compiled with a newer bpf_core_read.h."),
        "bpf_probe_read_str" => Some("Use bpf_probe_read_kernel_str() or bpf_probe_read_user_str(), which say which memory is meant and exist on every processor."),
        "bpf_trace_printk" | "bpf_trace_vprintk" => Some("It is there for whoever loads with CAP_PERFMON (or as root), on a kernel built with CONFIG_BPF_EVENTS; else leave the bpf_printk() out."),
        _ => None,
    };
    let types = callers_of(func_id(&name)?);
    let list = types.iter().map(|t| t.name()).collect::<Vec<_>>().join(", ");
    let who = match types.len() {
        0 => String::new(),
        n if n <= FEW => format!(" {name}() is for programs of the types {list} (names as in bpftool): call it in one of these, or do without it here."),
        n => format!(" {name}() is for {n} program types, and depends for some on attach type, capabilities and configuration: load as another type (the section name says which), or do without it here."),
    };
    let said = own.map_or_else(|| who.trim_start().to_string(), |o| format!("{o}{who}"));
    (!said.is_empty()).then(|| format!("{}{said}", place_()))
}

/// A helper that the kernel does not know at all.
pub fn unknown_helper(story: &Story, block: &str) -> Option<String> {
    let (_, number) = block.rsplit_once('#')?;
    let number: i32 = number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    let name = func_id_name(number);
    if name == "unknown" || number <= 0 {
        return Some(format!("{number} is the number of no helper of any kernel known here: it is miscalculated, or made for a newer kernel. Call helpers by the names in bpf_helper_defs.h, and functions of the program by name."));
    }
    let at = story.at.as_ref().map_or(String::new(), |at| format!(" at {}", place(at)));
    let instead = match name {
        "bpf_probe_read_user_str" | "bpf_probe_read_kernel_str" => {
            " Before Linux 5.5 there is bpf_probe_read_str()."
        }
        "bpf_probe_read_user" | "bpf_probe_read_kernel" => {
            " Before Linux 5.5 there is bpf_probe_read(), which BPF_CORE_READ() falls back to."
        }
        "bpf_trace_vprintk" => {
            " bpf_printk() needs it for more than three arguments: print three at most."
        }
        "bpf_ringbuf_output" | "bpf_ringbuf_reserve" => {
            " Before Linux 5.8 there is bpf_perf_event_output()."
        }
        "bpf_loop" => " Before Linux 5.17 loop with a constant bound.",
        _ => "",
    };
    Some(format!(
        "The call{at} is to helper {number}, {name}(), which is newer than this kernel.{instead} Where both kernels are to be served, guard it with bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_{}), or load another program.",
        name.trim_start_matches("bpf_")
    ))
}
