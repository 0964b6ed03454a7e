//! The front door for `wasm32-unknown-unknown`: objects go in through memory, the report comes out as JSON.
//!
//! The host writes an object at the address that [`reserve`] gives, calls [`judge`], and reads the report, whose
//! length is the word at the address returned and whose bytes follow.  `check.mjs` is such a host.

use std::sync::Mutex;

use bpfassay_judge::{check, Options, Target};

static OBJECT: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static REPORT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Room for an object of `len` bytes; its address.
#[no_mangle]
pub extern "C" fn reserve(len: usize) -> *mut u8 {
    let mut object = OBJECT.lock().expect("one thread");
    *object = vec![0; len];
    object.as_mut_ptr()
}

/// Judges the object as `prog.o` for 6.18.44; address of the report.
#[no_mangle]
pub extern "C" fn judge() -> *const u8 {
    let object = OBJECT.lock().expect("one thread");
    let target = Target::served("6.18.44").expect("a whole build").expect("a served build");
    let report = check([("prog.o", object.as_slice())], &target, &Options::default()).to_json();
    let mut out = REPORT.lock().expect("one thread");
    *out = (report.len() as u32).to_le_bytes().to_vec();
    out.extend_from_slice(report.as_bytes());
    out.as_ptr()
}
