use std::sync::Arc;

use super::*;

/// `struct list { struct list *next; const u32 n[3]; }` and friends.
fn sample() -> Btf {
    let mut b = Btf::empty();
    let u32_ = b.add_int("unsigned int", 4, 0);
    let td = b.add_ref("u32", BtfKind::Typedef, u32_);
    let cst = b.add_ref("", BtfKind::Const, td);
    let arr = b.add_array(cst, u32_, 3);
    let ptr = b.add_ref("", BtfKind::Ptr, 6);
    let list = b.add_composite("list", BtfKind::Struct, 24, &[("next", ptr, 0), ("n", arr, 64)]);
    assert_eq!(list, 6);
    let proto = b.add_func_proto(td, &[("l", ptr)]);
    let func = b.add_func("walk", linkage::GLOBAL, proto);
    b.add_decl_tag("arg:nonnull", func, 0);
    b.add_decl_tag("kfunc", func, -1);
    b.add_composite("list___v2", BtfKind::Struct, 8, &[("next", ptr, 0)]);
    b
}

fn swap_words(blob: &[u8]) -> Vec<u8> {
    let str_off = u32::from_le_bytes(blob[16..20].try_into().unwrap()) as usize + 24;
    let mut out = vec![blob[1], blob[0], blob[2], blob[3]];
    for c in blob[4..str_off].chunks(4) {
        out.extend(c.iter().rev());
    }
    out.extend(&blob[str_off..]);
    out
}

#[test]
fn layout_of_a_self_referring_struct() {
    let b = Btf::parse(&sample().to_bytes(), None).unwrap();
    let list = b.find_by_name_kind("list", BtfKind::Struct).unwrap();
    assert_eq!(b.size_of(list), Some(24));
    assert_eq!(b.align_of(list), Some(8));
    let n = b.ty(list).unwrap().member(1).unwrap();
    assert_eq!((n.byte_offset(), b.size_of(n.type_id)), (8, Some(12)));
    assert_eq!(b.pointee(b.ty(list).unwrap().member(0).unwrap().type_id).unwrap().name(), "list");
    assert_eq!(b.c_name(5), "struct list *");
    assert_eq!(b.show_name(5), "(struct list *)");
    assert_eq!(b.show_name(4), "(u32[])[");
    assert_eq!(b.show_name(list), "(struct list){");
}

#[test]
fn tags_by_component() {
    let b = sample();
    let f = b.find_by_name_kind("walk", BtfKind::Func).unwrap();
    assert_eq!(b.decl_tags(f, 0).collect::<Vec<_>>(), ["arg:nonnull"]);
    assert_eq!(b.decl_tags(f, -1).collect::<Vec<_>>(), ["kfunc"]);
    assert_eq!(b.func_proto(f).unwrap().params().len(), 1);
}

#[test]
fn flavours_share_an_essential_name() {
    let b = sample();
    let names: Vec<_> = b.find_own_by_essential_name(b"list").map(Type::name).collect();
    assert_eq!(names, ["list", "list___v2"]);
    assert_eq!(essential_len(b"a___b___c"), 5);
    assert_eq!(essential_len(b"___b"), 4);
    assert_eq!(essential_len(b"a____b"), 6);
}

/// A scan and the index find the same types, a name that starts within another one's string included.
#[test]
fn the_first_searches_find_what_the_index_finds() {
    let mut b = sample();
    b.add_ref("checklist", BtfKind::Typedef, 1);
    b.add_ref("list", BtfKind::Typedef, 6);
    let mut blob = b.to_bytes();
    let strings = u32::from_le_bytes(blob[16..20].try_into().unwrap()) as usize + 24;
    let place = blob.windows(10).position(|w| w == b"checklist\0").unwrap();
    let whole = u32::try_from(place - strings).unwrap();
    let first_word =
        blob.chunks(4).position(|w| w == whole.to_le_bytes()).expect("the name of the typedef") * 4;
    blob[first_word..first_word + 4].copy_from_slice(&(whole + 5).to_le_bytes());
    let ids = |b: &Btf, name: &str| b.find_by_name(name).map(Type::id).collect::<Vec<_>>();
    for (name, found) in
        [("list", &[6, 12, 13][..]), ("checklist", &[]), ("walk", &[8]), ("ist", &[]), ("", &[])]
    {
        let b = Btf::parse(&blob, None).unwrap();
        let searches: Vec<_> = (0..10).map(|_| ids(&b, name)).collect();
        assert!(searches.iter().all(|s| s == found), "{name}: {searches:?}");
    }
}

#[test]
fn big_endian_reads_the_same() {
    let little = sample().to_bytes();
    let b = Btf::parse(&swap_words(&little), None).unwrap();
    assert!(b.is_big_endian());
    assert_eq!(b.to_bytes(), little);
}

#[test]
fn split_continues_the_base() {
    let base = Arc::new(sample());
    let mut split = Btf::empty();
    // Built by hand: ids and string offsets of a split blob start where the base ends.
    split.start_id = base.type_count();
    split.start_str = base.str_end();
    split.strs.clear();
    split.base = Some(base.clone());
    split.add_ref("", BtfKind::Ptr, 6);
    split.add_ref("mine", BtfKind::Typedef, 6);
    let b = Btf::parse(&split.to_bytes(), Some(base.clone())).unwrap();
    assert_eq!(b.find_by_name_kind("mine", BtfKind::Typedef), Some(base.type_count() + 1));
    assert_eq!(b.find_by_name_kind("list", BtfKind::Struct), Some(6));
    assert_eq!(b.find_own_by_name_kind("list", BtfKind::Struct), None);
    assert_eq!(b.c_name(base.type_count()), "struct list *");
    assert_eq!(
        Btf::parse(&split.to_bytes(), None).unwrap_err().kind,
        BtfErrorKind::BadStrings,
        "a split blob alone has no empty first string"
    );
}

#[test]
fn cycles_end() {
    let mut b = Btf::empty();
    b.add_ref("a", BtfKind::Typedef, 2);
    b.add_ref("b", BtfKind::Typedef, 1);
    b.add_array(3, 3, 2);
    b.add_composite("s", BtfKind::Struct, 4, &[("x", 4, 0), ("y", 4, 0), ("z", 4, 0)]);
    let b = Btf::parse(&b.to_bytes(), None).unwrap();
    for id in 1..5 {
        assert_eq!(b.align_of(id), None);
        b.show_name(id);
    }
    assert!(b.skip_mods_and_typedefs(1).is_none());
    assert_eq!(b.size_of(1), None);
    assert_eq!(b.size_of(3), None);
}

#[test]
fn refusals_name_the_type() {
    let good = sample().to_bytes();
    for cut in 0..good.len() {
        assert!(Btf::parse(&good[..cut], None).is_err(), "cut at {cut}");
    }
    let mut bad = good.clone();
    // Type 2 (typedef): its type word, past the header and the four words of type 1.
    bad[24 + 16 + 8] = 200;
    let e = Btf::parse(&bad, None).unwrap_err();
    assert_eq!((e.kind, e.type_id), (BtfErrorKind::BadTypeRef(200), Some(2)));
    let mut bad = good;
    bad[24 + 7] = 0x1f;
    assert_eq!(Btf::parse(&bad, None).unwrap_err().kind, BtfErrorKind::UnknownKind(31));
}

#[test]
fn the_kernel_takes_what_compilers_write() {
    assert_eq!(sample().kernel_check(), Ok(()));
}

/// Texts as the running kernel's BTF log ends with, seen on 6.18.44.
#[test]
fn the_kernel_refuses() {
    let reason = |b: &Btf| b.kernel_check().unwrap_err().reason;
    // A naked function whose parameter lost its name.
    let mut b = Btf::empty();
    let int = b.add_int("int", 4, int_encoding::SIGNED);
    let proto = b.add_func_proto(int, &[("", int)]);
    b.add_func("naked", linkage::GLOBAL, proto);
    assert_eq!(reason(&b), "Invalid arg#1");
    let mut b = Btf::empty();
    b.add_ref("a", BtfKind::Typedef, 2);
    b.add_ref("b", BtfKind::Typedef, 1);
    assert_eq!(reason(&b), "Loop detected");
    let mut b = Btf::empty();
    let int = b.add_int("int", 4, int_encoding::SIGNED);
    b.add_composite("s", BtfKind::Struct, 4, &[("x", int, 16)]);
    assert_eq!(reason(&b), "Member exceeds struct_size");
    let mut b = Btf::empty();
    b.add_int("no identifier", 4, 0);
    assert_eq!(b.kernel_check(), Ok(()), "names of integers are not looked at");
    b.add_ref("no identifier", BtfKind::Typedef, 1);
    assert_eq!(reason(&b), "Invalid name");
}
