//! Memory at its own addresses: what programs without run-time checks see.
#![allow(unsafe_code)]

use bpfassay_harness::runtime::memory::{
    Access, FaultKind, Memory, PointerField, Region, RegionKind,
};
use bpfassay_isa::Size;

fn native() -> Memory {
    // SAFETY: every address below is one that `addr` gave, within its region.
    unsafe { Memory::native() }
}

#[test]
fn bytes_stand_where_the_address_says() {
    let mut mem = native();
    let id = mem.add(Region::new(RegionKind::Object, Access::ReadWrite, b"abcdefgh".to_vec()));
    let id = id.unwrap();
    let at = mem.addr(id, 2);
    assert_eq!(mem.locate(at), Some((id, 2)));
    assert_eq!(mem.load(at, Size::H), Ok(0x6463));
    mem.store(at, Size::B, 0x58).unwrap();
    // SAFETY: byte 2 of a live region of eight bytes.
    let seen = unsafe { std::ptr::with_exposed_provenance::<u8>(at as usize).read() };
    assert_eq!(seen, b'X');
    assert_eq!(mem.region(id).unwrap().bytes(), b"abXdefgh");
    mem.slice_mut(at, 2).unwrap().copy_from_slice(b"YZ");
    assert_eq!(mem.readable(at), b"YZefgh");
}

#[test]
fn regions_do_not_move_when_others_come_and_go() {
    let mut mem = native();
    let add = |mem: &mut Memory| {
        mem.add(Region::zeroed(RegionKind::Object, Access::ReadWrite, 100).unwrap()).unwrap()
    };
    let first = add(&mut mem);
    let at = mem.addr(first, 0);
    let more: Vec<_> = (0..500).map(|_| add(&mut mem)).collect();
    for id in &more {
        assert_eq!(mem.locate(mem.addr(*id, 99)), Some((*id, 99)));
    }
    let gone = mem.addr(more[7], 0);
    more.iter().for_each(|id| mem.release(*id));
    assert_eq!(mem.addr(first, 0), at);
    assert_eq!(mem.locate(gone), None);
}

#[test]
fn any_number_may_be_probed() {
    let mut mem = native();
    let bytes = b"abcdefgh".to_vec();
    let region = Region::new(RegionKind::Packet, Access::ReadWrite, bytes).with_window(2, 6);
    let Some(id) = mem.add(region) else { return };
    assert_eq!(mem.probe(mem.addr(id, 2), 4), Ok(&b"cdef"[..]));
    assert_eq!(mem.readable(mem.addr(id, 5)), b"f");
    for (off, len) in [(2, 5), (1, 1), (6, 1)] {
        let fault = mem.probe(mem.addr(id, off), len).unwrap_err();
        assert!(matches!(fault.why, FaultKind::OutOfBounds { .. } | FaultKind::NoRegion));
    }
    for addr in [0, 1, 4096, u64::MAX, 1 << 63, 0xffff_8000_0000_0000, 0x7fff_ffff_ffff] {
        assert!(mem.probe(addr, 1).is_err(), "{addr:#x}");
        assert!(mem.readable(addr).is_empty(), "{addr:#x}");
    }
    // Null is told from an address without a look at any region.
    assert_eq!(mem.load(8, Size::W).unwrap_err().why, FaultKind::Null);
}

#[cfg(any(target_os = "linux", windows))]
#[test]
fn packets_fit_the_contexts_32_bit_fields() {
    let mut mem = native();
    let packet = Region::new(RegionKind::Packet, Access::ReadWrite, b"packet".to_vec());
    let packet = mem.add(packet).unwrap();
    let at = mem.addr(packet, 0);
    assert!(at + 6 <= 1 << 32);
    let field = |off, value| PointerField { off, size: 4, value };
    let ctx = Region::new(RegionKind::Ctx, Access::ReadWrite, vec![0xff; 16]);
    let ctx = mem.add(ctx.with_pointers(vec![field(4, at)])).unwrap();
    mem.region_mut(ctx).unwrap().set_pointer(field(8, at + 6));
    let words: Vec<u64> =
        (0..4).map(|i| mem.load(mem.addr(ctx, i * 4), Size::W).unwrap()).collect();
    assert_eq!(words, [0xffff_ffff, at, at + 6, 0xffff_ffff]);
    assert_eq!(mem.slice(words[1], 6), Ok(&b"packet"[..]));
}

#[test]
fn what_is_never_accessed_keeps_its_tagged_address() {
    let mut mem = native();
    let id = mem.add(Region::new(RegionKind::Map(3), Access::Opaque, Vec::new())).unwrap();
    let at = mem.addr(id, 0);
    assert_eq!(mem.kind_at(at), Some((RegionKind::Map(3), 0)));
    assert!(matches!(mem.load(at, Size::W).unwrap_err().why, FaultKind::Opaque { .. }));
}
