//! Any bytes as BTF: parsed, walked, judged as the kernel would, written back.
#![no_main]

use bpfassay_object::btf::Btf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(btf) = Btf::parse(data, None) else { return };
    let _ = btf.kernel_check();
    for t in btf.own_types() {
        let id = t.id();
        let _ = (btf.size_of(id), btf.align_of(id), btf.show_name(id), btf.resolve(id).is_some());
        assert_eq!(btf.find_by_name(t.name()).any(|f| f.id() == id), !t.name().is_empty() && !nul_or_lossy(&btf, id));
        let _ = btf.decl_tags_of(id).count();
    }
    let again = Btf::parse(&btf.to_bytes(), None).map(|b| b.to_bytes());
    assert_eq!(again.as_deref(), Ok(btf.to_bytes().as_slice()));
});

/// Names that are not UTF-8 are cut when read as text, and are not found by that.
fn nul_or_lossy(btf: &Btf, id: u32) -> bool {
    btf.ty(id).is_some_and(|t| t.name().as_bytes() != btf.str_bytes(t.name_off()))
}
