//! Allocated objects, the lists and trees they stand in, references.

use bpfassay_isa::Size;

use super::super::{number, Call, Helper};
use crate::engine::TrapKind;
use crate::runtime::graph;
use crate::runtime::maps::errno::EINVAL;
use crate::runtime::objects::ObjectKind;
use crate::runtime::types::FieldKind;
use crate::runtime::Stop;

pub(super) const TABLE: &[(&str, Helper)] = &[
    ("bpf_obj_new_impl", new),
    ("bpf_obj_drop_impl", drop),
    ("bpf_percpu_obj_new_impl", percpu_new),
    ("bpf_percpu_obj_drop_impl", drop),
    ("bpf_refcount_acquire_impl", acquire),
    ("bpf_list_push_front_impl", push_front),
    ("bpf_list_push_back_impl", push_back),
    ("bpf_list_pop_front", pop_front),
    ("bpf_list_pop_back", pop_back),
    ("bpf_list_front", front),
    ("bpf_list_back", back),
    ("bpf_rbtree_add_impl", tree_add),
    ("bpf_rbtree_remove", tree_remove),
    ("bpf_rbtree_first", tree_first),
    ("bpf_rbtree_root", tree_root),
    ("bpf_rbtree_left", tree_left),
    ("bpf_rbtree_right", tree_right),
];

/// The size of a type of the program; the verifier has checked that there is one.
fn size(c: &Call<'_>, id: u64) -> Result<(u32, u32), Stop> {
    let id = id as u32;
    let size = c.rt.types.size(id);
    size.map(|s| (id, s)).ok_or(TrapKind::Unsupported("an object whose type is not known").into())
}

fn new(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let (id, size) = size(c, a[0])?;
    c.rt.allocate(ObjectKind::Local(id), size)
}

fn percpu_new(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let (_, size) = size(c, a[0])?;
    let stride = size.next_multiple_of(8);
    let all = stride.checked_mul(c.rt.world.cpus.max(1));
    let all = all.ok_or(TrapKind::Unsupported("an object this large"))?;
    c.rt.allocate(ObjectKind::PerCpu { stride }, all)
}

fn drop(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    c.rt.drop_object(a[0])?;
    Ok(0)
}

fn acquire(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let found = c.rt.objects.find(a[0]).map(|(start, o)| (start, o.kind));
    let Some((start, ObjectKind::Local(t))) = found else {
        return Err(c.bad("not an allocated object"));
    };
    let field = c.rt.types.fields(t).into_iter().find(|f| f.kind == FieldKind::Refcount);
    let Some(field) = field else { return Err(c.bad("not a counted object")) };
    let at = start + u64::from(field.off);
    match c.mem().load(at, Size::W)? {
        0 => Ok(0),
        n => {
            c.rt.mem.store(at, Size::W, n + 1)?;
            Ok(a[0])
        }
    }
}

fn push(c: &mut Call<'_>, a: [u64; 5], at_end: bool) -> Result<u64, Stop> {
    if graph::is_listed(c.rt, a[1])? {
        c.rt.drop_object(a[1])?;
        return number(-EINVAL);
    }
    graph::push(c.rt, a[0], a[1], at_end)?;
    Ok(0)
}

fn push_front(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    push(c, a, false)
}

fn push_back(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    push(c, a, true)
}

fn pop_front(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    graph::pop(c.rt, a[0], false)
}

fn pop_back(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    graph::pop(c.rt, a[0], true)
}

fn front(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    graph::peek(c.rt, a[0], false)
}

fn back(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    graph::peek(c.rt, a[0], true)
}

/// Goes down as the program's comparison says, then links and balances.
fn tree_add(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    let [tree, node, less, ..] = a;
    if graph::tree_of(c.rt, node)? != 0 {
        c.rt.drop_object(node)?;
        return number(-EINVAL);
    }
    let (mut up, mut is_left, mut is_leftmost) = (0, false, true);
    let mut at = graph::root(c.rt, tree)?;
    while at != 0 {
        up = at;
        is_left = c.callbacks.invoke(c.rt, less, [node, at, 0, 0, 0])? as u8 != 0;
        is_leftmost &= is_left;
        at = graph::child(c.rt, at, is_left)?;
    }
    graph::insert(c.rt, tree, node, up, is_left, is_leftmost)?;
    Ok(0)
}

fn tree_remove(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    if graph::tree_of(c.rt, a[1])? != a[0] {
        return Ok(0);
    }
    graph::remove(c.rt, a[0], a[1])?;
    Ok(a[1])
}

fn tree_first(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    graph::first(c.rt, a[0])
}

fn tree_root(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    graph::root(c.rt, a[0])
}

fn tree_left(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    tree_child(c, a, true)
}

fn tree_right(c: &mut Call<'_>, a: [u64; 5]) -> Result<u64, Stop> {
    tree_child(c, a, false)
}

fn tree_child(c: &mut Call<'_>, a: [u64; 5], is_left: bool) -> Result<u64, Stop> {
    if graph::tree_of(c.rt, a[1])? != a[0] {
        return Ok(0);
    }
    graph::child(c.rt, a[1], is_left)
}
