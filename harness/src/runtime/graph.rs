//! Lists and red-black trees of allocated objects, linked in the objects' own memory.
//!
//! The links stand where the kernel has them, so that a copy, a dump and every
//! engine sees the same bytes.  Mirrors `struct list_head` and lib/rbtree.c in
//! what a program can observe: the order, and the root's and the children's
//! identity.  Knows no helper.
//!
//! ```text
//! list head   0 next  8 prev                  list node  0 next  8 prev  16 owner
//! tree root   0 node  8 leftmost              tree node  0 parent | colour  8 right  16 left  24 owner
//! ```

use bpfassay_isa::Size;

use super::types::FieldKind;
use super::{Runtime, Stop};

const NEXT: u64 = 0;
const PREV: u64 = 8;
const LIST_OWNER: u64 = 16;
const LEFTMOST: u64 = 8;
const RIGHT: u64 = 8;
const LEFT: u64 = 16;
const TREE_OWNER: u64 = 24;
/// Colour bit of a node's parent word.
const BLACK: u64 = 1;

fn get(rt: &Runtime, at: u64) -> Result<u64, Stop> {
    Ok(rt.mem.load(at, Size::Dw)?)
}

fn set(rt: &mut Runtime, at: u64, v: u64) -> Result<(), Stop> {
    Ok(rt.mem.store(at, Size::Dw, v)?)
}

/// Gives a field of a new object its first value (`bpf_obj_init_field`).
pub fn init(rt: &mut Runtime, at: u64, kind: FieldKind) -> Result<(), Stop> {
    match kind {
        FieldKind::Refcount => rt.mem.store(at, Size::W, 1)?,
        FieldKind::RbNode => set(rt, at, at)?,
        FieldKind::ListHead | FieldKind::ListNode => {
            set(rt, at + NEXT, at)?;
            set(rt, at + PREV, at)?;
        }
        _ => {}
    }
    Ok(())
}

/// True where the node is in a list.
pub fn is_listed(rt: &Runtime, node: u64) -> Result<bool, Stop> {
    Ok(get(rt, node + LIST_OWNER)? != 0)
}

fn ready(rt: &mut Runtime, head: u64) -> Result<(), Stop> {
    if get(rt, head + NEXT)? == 0 {
        init(rt, head, FieldKind::ListHead)?;
    }
    Ok(())
}

/// Puts a node that is in no list before the first or after the last.
pub fn push(rt: &mut Runtime, head: u64, node: u64, at_end: bool) -> Result<(), Stop> {
    ready(rt, head)?;
    let (before, after) = match at_end {
        true => (get(rt, head + PREV)?, head),
        false => (head, get(rt, head + NEXT)?),
    };
    set(rt, after + PREV, node)?;
    set(rt, node + NEXT, after)?;
    set(rt, node + PREV, before)?;
    set(rt, before + NEXT, node)?;
    set(rt, node + LIST_OWNER, head)
}

/// The first or last node; 0 in an empty list.
pub fn peek(rt: &Runtime, head: u64, at_end: bool) -> Result<u64, Stop> {
    let node = get(rt, head + if at_end { PREV } else { NEXT })?;
    Ok(if node == head { 0 } else { node })
}

/// Takes the first or last node out; 0 from an empty list.
pub fn pop(rt: &mut Runtime, head: u64, at_end: bool) -> Result<u64, Stop> {
    ready(rt, head)?;
    let node = peek(rt, head, at_end)?;
    if node == 0 || get(rt, node + LIST_OWNER)? != head {
        return Ok(0);
    }
    let (next, prev) = (get(rt, node + NEXT)?, get(rt, node + PREV)?);
    set(rt, next + PREV, prev)?;
    set(rt, prev + NEXT, next)?;
    init(rt, node, FieldKind::ListNode)?;
    set(rt, node + LIST_OWNER, 0)?;
    Ok(node)
}

/// Takes all nodes out.
pub fn drain_list(rt: &mut Runtime, head: u64) -> Result<Vec<u64>, Stop> {
    let mut all = Vec::new();
    if get(rt, head + NEXT)? == 0 {
        return Ok(all);
    }
    loop {
        match pop(rt, head, false)? {
            0 => return Ok(all),
            node => all.push(node),
        }
    }
}

/// The tree a node is in; 0 for none.
pub fn tree_of(rt: &Runtime, node: u64) -> Result<u64, Stop> {
    get(rt, node + TREE_OWNER)
}

pub fn root(rt: &Runtime, tree: u64) -> Result<u64, Stop> {
    get(rt, tree)
}

pub fn first(rt: &Runtime, tree: u64) -> Result<u64, Stop> {
    get(rt, tree + LEFTMOST)
}

/// A child; 0 for none.
pub fn child(rt: &Runtime, node: u64, is_left: bool) -> Result<u64, Stop> {
    get(rt, node + if is_left { LEFT } else { RIGHT })
}

fn parent(rt: &Runtime, node: u64) -> Result<u64, Stop> {
    Ok(get(rt, node)? & !3)
}

/// A missing child is black.
fn is_red(rt: &Runtime, node: u64) -> Result<bool, Stop> {
    Ok(node != 0 && get(rt, node)? & BLACK == 0)
}

fn set_parent(rt: &mut Runtime, node: u64, to: u64) -> Result<(), Stop> {
    let colour = get(rt, node)? & BLACK;
    set(rt, node, to | colour)
}

fn paint(rt: &mut Runtime, node: u64, is_black: bool) -> Result<(), Stop> {
    let up = parent(rt, node)?;
    set(rt, node, up | u64::from(is_black))
}

fn set_child(rt: &mut Runtime, node: u64, is_left: bool, to: u64) -> Result<(), Stop> {
    set(rt, node + if is_left { LEFT } else { RIGHT }, to)
}

/// Hangs `new` where `old` hung below `up`.
fn replace(rt: &mut Runtime, tree: u64, up: u64, old: u64, new: u64) -> Result<(), Stop> {
    match up {
        0 => set(rt, tree, new),
        _ => {
            let is_left = child(rt, up, true)? == old;
            set_child(rt, up, is_left, new)
        }
    }
}

/// Turns `node` down to the left or right; its other child comes up.
fn rotate(rt: &mut Runtime, tree: u64, node: u64, to_left: bool) -> Result<(), Stop> {
    let up = parent(rt, node)?;
    let riser = child(rt, node, !to_left)?;
    let inner = child(rt, riser, to_left)?;
    set_child(rt, node, !to_left, inner)?;
    if inner != 0 {
        set_parent(rt, inner, node)?;
    }
    set_child(rt, riser, to_left, node)?;
    set_parent(rt, riser, up)?;
    replace(rt, tree, up, node, riser)?;
    set_parent(rt, node, riser)
}

/// Links a node below `up` (0 for an empty tree) and balances.
pub fn insert(
    rt: &mut Runtime,
    tree: u64,
    node: u64,
    up: u64,
    is_left: bool,
    is_leftmost: bool,
) -> Result<(), Stop> {
    set(rt, node, up)?;
    set_child(rt, node, true, 0)?;
    set_child(rt, node, false, 0)?;
    match up {
        0 => set(rt, tree, node)?,
        _ => set_child(rt, up, is_left, node)?,
    }
    if is_leftmost {
        set(rt, tree + LEFTMOST, node)?;
    }
    set(rt, node + TREE_OWNER, tree)?;
    balance_insert(rt, tree, node)
}

fn balance_insert(rt: &mut Runtime, tree: u64, node: u64) -> Result<(), Stop> {
    let mut node = node;
    loop {
        let mut up = parent(rt, node)?;
        if up == 0 {
            return paint(rt, node, true);
        }
        if !is_red(rt, up)? {
            return Ok(());
        }
        let grand = parent(rt, up)?;
        let up_is_left = child(rt, grand, true)? == up;
        let uncle = child(rt, grand, !up_is_left)?;
        if is_red(rt, uncle)? {
            paint(rt, up, true)?;
            paint(rt, uncle, true)?;
            paint(rt, grand, false)?;
            node = grand;
            continue;
        }
        if child(rt, up, !up_is_left)? == node {
            rotate(rt, tree, up, up_is_left)?;
            up = node;
        }
        paint(rt, up, true)?;
        paint(rt, grand, false)?;
        return rotate(rt, tree, grand, !up_is_left);
    }
}

/// The next node in order; 0 after the last.
fn next(rt: &Runtime, node: u64) -> Result<u64, Stop> {
    let right = child(rt, node, false)?;
    if right != 0 {
        return leftmost(rt, right);
    }
    let (mut node, mut up) = (node, parent(rt, node)?);
    while up != 0 && child(rt, up, false)? == node {
        (node, up) = (up, parent(rt, up)?);
    }
    Ok(up)
}

fn leftmost(rt: &Runtime, node: u64) -> Result<u64, Stop> {
    let mut node = node;
    loop {
        match child(rt, node, true)? {
            0 => return Ok(node),
            left => node = left,
        }
    }
}

/// Takes a node of this tree out.
pub fn remove(rt: &mut Runtime, tree: u64, node: u64) -> Result<(), Stop> {
    if first(rt, tree)? == node {
        let next = next(rt, node)?;
        set(rt, tree + LEFTMOST, next)?;
    }
    let (left, right) = (child(rt, node, true)?, child(rt, node, false)?);
    let up = parent(rt, node)?;
    // The place that lost a black node: its parent and what stands there now.
    let (hole_up, hole, lost_black);
    if left == 0 || right == 0 {
        let only = left | right;
        lost_black = !is_red(rt, node)?;
        replace(rt, tree, up, node, only)?;
        if only != 0 {
            set_parent(rt, only, up)?;
        }
        (hole_up, hole) = (up, only);
    } else {
        let heir = leftmost(rt, right)?;
        lost_black = !is_red(rt, heir)?;
        let below = child(rt, heir, false)?;
        let heir_up = parent(rt, heir)?;
        if heir_up == node {
            hole_up = heir;
        } else {
            hole_up = heir_up;
            set_child(rt, heir_up, true, below)?;
            if below != 0 {
                set_parent(rt, below, heir_up)?;
            }
            set_child(rt, heir, false, right)?;
            set_parent(rt, right, heir)?;
        }
        hole = below;
        set_child(rt, heir, true, left)?;
        set_parent(rt, left, heir)?;
        let word = get(rt, node)?;
        set(rt, heir, word)?;
        replace(rt, tree, up, node, heir)?;
    }
    if lost_black {
        balance_remove(rt, tree, hole_up, hole)?;
    }
    set(rt, node, node)?;
    set(rt, node + TREE_OWNER, 0)
}

fn balance_remove(rt: &mut Runtime, tree: u64, up: u64, node: u64) -> Result<(), Stop> {
    let (mut up, mut node) = (up, node);
    while up != 0 && !is_red(rt, node)? {
        let is_left = child(rt, up, true)? == node;
        let mut sibling = child(rt, up, !is_left)?;
        if is_red(rt, sibling)? {
            paint(rt, sibling, true)?;
            paint(rt, up, false)?;
            rotate(rt, tree, up, is_left)?;
            sibling = child(rt, up, !is_left)?;
        }
        let (near, far) = (child(rt, sibling, is_left)?, child(rt, sibling, !is_left)?);
        if !is_red(rt, near)? && !is_red(rt, far)? {
            paint(rt, sibling, false)?;
            (node, up) = (up, parent(rt, up)?);
            continue;
        }
        let mut far = far;
        if !is_red(rt, far)? {
            paint(rt, near, true)?;
            paint(rt, sibling, false)?;
            rotate(rt, tree, sibling, !is_left)?;
            (far, sibling) = (sibling, near);
        }
        let up_is_black = !is_red(rt, up)?;
        paint(rt, sibling, up_is_black)?;
        paint(rt, up, true)?;
        paint(rt, far, true)?;
        return rotate(rt, tree, up, is_left);
    }
    if node != 0 {
        paint(rt, node, true)?;
    }
    Ok(())
}

/// Takes all nodes out, in order.
pub fn drain_tree(rt: &mut Runtime, tree: u64) -> Result<Vec<u64>, Stop> {
    let mut all = Vec::new();
    loop {
        match first(rt, tree)? {
            0 => return Ok(all),
            node => {
                remove(rt, tree, node)?;
                all.push(node);
            }
        }
    }
}
