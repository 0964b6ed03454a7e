//! Engines of other projects, run on bare instructions.  They are measured, never linked into bpfassay.

use std::time::Instant;

/// Return value and nanoseconds per run.
pub type Timed = (u64, f64);

fn time(repeat: u32, mut run: impl FnMut() -> u64) -> Timed {
    for _ in 0..repeat.div_ceil(4) {
        std::hint::black_box(run());
    }
    let start = Instant::now();
    let mut r0 = 0;
    for _ in 0..repeat {
        r0 = std::hint::black_box(run());
    }
    (r0, start.elapsed().as_nanos() as f64 / f64::from(repeat))
}

/// rbpf's JIT; `Err` holds its words where it does not take the program.
pub fn rbpf(code: &[u8], data: &[u8], repeat: u32) -> Result<Timed, String> {
    let mut vm = rbpf::EbpfVmRaw::new(Some(code)).map_err(|e| e.to_string())?;
    vm.jit_compile().map_err(|e| e.to_string())?;
    let mut mem = data.to_vec();
    // SAFETY: the programs stay within `mem`; they are this folder's own and a kernel has verified their twins.
    let timed = time(repeat, || unsafe { vm.execute_program_jit(&mut mem).unwrap_or(u64::MAX) });
    // So that the next round's code lies elsewhere, as every engine's does.
    std::mem::forget(vm);
    Ok(timed)
}

#[allow(dead_code)]
/// Compile time of rbpf's JIT, nanoseconds.  It panics where the code outgrows its buffer.
pub fn rbpf_compile(code: &[u8]) -> Result<f64, String> {
    std::panic::set_hook(Box::new(|_| {}));
    let result = std::panic::catch_unwind(|| {
        let mut vm = rbpf::EbpfVmRaw::new(Some(code)).map_err(|e| e.to_string())?;
        let start = Instant::now();
        vm.jit_compile().map_err(|e| e.to_string())?;
        Ok(start.elapsed().as_nanos() as f64)
    });
    let _ = std::panic::take_hook();
    result.unwrap_or_else(|_| Err("panics".to_string()))
}

#[cfg(not(ubpf))]
pub fn ubpf(_: &[u8], _: &[u8], _: u32) -> Result<Timed, String> {
    Err("built without uBPF (set UBPF_DIR)".to_string())
}

#[cfg(not(ubpf))]
pub fn ubpf_compile(_: &[u8]) -> Result<f64, String> {
    Err("built without uBPF (set UBPF_DIR)".to_string())
}

#[cfg(ubpf)]
pub use with_ubpf::{compile_time as ubpf_compile, ubpf};

#[cfg(ubpf)]
mod with_ubpf {
    use std::ffi::{c_char, c_void, CStr};
    use std::ptr;
    use std::time::Instant;

    use super::{time, Timed};

    type Jitted = unsafe extern "C" fn(*mut c_void, usize) -> u64;

    extern "C" {
        fn ubpf_create() -> *mut c_void;
        fn ubpf_destroy(vm: *mut c_void);
        fn ubpf_load(vm: *mut c_void, code: *const c_void, len: u32, err: *mut *mut c_char) -> i32;
        fn ubpf_compile(vm: *mut c_void, err: *mut *mut c_char) -> Option<Jitted>;
    }

    struct Vm(*mut c_void);

    impl Drop for Vm {
        fn drop(&mut self) {
            // SAFETY: created by `ubpf_create` and not given away.
            unsafe { ubpf_destroy(self.0) }
        }
    }

    fn words(err: *mut c_char) -> String {
        if err.is_null() {
            return "no reason given".to_string();
        }
        // SAFETY: uBPF hands over a terminated string.
        unsafe { CStr::from_ptr(err) }.to_string_lossy().into_owned()
    }

    fn compile(code: &[u8]) -> Result<(Vm, Jitted, f64), String> {
        let len = u32::try_from(code.len()).map_err(|e| e.to_string())?;
        let mut err = ptr::null_mut();
        // SAFETY: the calls follow ubpf.h; `code` outlives the load, which copies it.
        unsafe {
            let vm = Vm(ubpf_create());
            if ubpf_load(vm.0, code.as_ptr().cast(), len, &mut err) != 0 {
                return Err(words(err));
            }
            let start = Instant::now();
            let jitted = ubpf_compile(vm.0, &mut err).ok_or_else(|| words(err))?;
            let ns = start.elapsed().as_nanos() as f64;
            Ok((vm, jitted, ns))
        }
    }

    /// uBPF's JIT.
    pub fn ubpf(code: &[u8], data: &[u8], repeat: u32) -> Result<Timed, String> {
        let (vm, jitted, _) = compile(code)?;
        let mut mem = data.to_vec();
        // SAFETY: as for rbpf above.
        let timed = time(repeat, || unsafe { jitted(mem.as_mut_ptr().cast(), mem.len()) });
        std::mem::forget(vm);
        Ok(timed)
    }

    #[allow(dead_code)]
    /// Compile time of uBPF's JIT, nanoseconds.
    pub fn compile_time(code: &[u8]) -> Result<f64, String> {
        compile(code).map(|(_, _, ns)| ns)
    }
}
