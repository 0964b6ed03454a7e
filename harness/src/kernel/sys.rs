//! The system calls themselves: the only `unsafe` of the kernel engine.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::mem::size_of;
use std::os::fd::{FromRawFd, OwnedFd};

use super::attr::{self, Cmd};

/// Structures the kernel takes as `union bpf_attr`.
///
/// # Safety
/// The type is `repr(C)`, has no padding, and all its bit patterns are valid.
unsafe trait Attr {}
unsafe impl Attr for attr::MapCreate {}
unsafe impl Attr for attr::MapElem {}
unsafe impl Attr for attr::ProgLoad {}
unsafe impl Attr for attr::BtfLoad {}
unsafe impl Attr for attr::TestRunAttr {}
unsafe impl Attr for attr::GetId {}
unsafe impl Attr for attr::InfoByFd {}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// One call; EAGAIN (a signal during verification) is tried again a few times, as libbpf does.
///
/// # Safety
/// Every pointer in `attr` is valid for the size stated beside it, for reading or
/// writing as `cmd` asks; the kernel keeps none of them after the call.
unsafe fn bpf<A: Attr>(cmd: Cmd, attr: &mut A) -> Result<i32, i32> {
    let mut attempts = 5;
    loop {
        // SAFETY: `attr` is a live structure of the size given; its pointers are the caller's promise.
        let r = unsafe {
            libc::syscall(libc::SYS_bpf, cmd as libc::c_long, attr as *mut A, size_of::<A>())
        };
        if r >= 0 {
            return Ok(r as i32);
        }
        attempts -= 1;
        let e = errno();
        if e != libc::EAGAIN || attempts == 0 {
            return Err(e);
        }
    }
}

/// As [`bpf`], for commands that return a new descriptor.
///
/// # Safety
/// As [`bpf`].
unsafe fn bpf_fd<A: Attr>(cmd: Cmd, attr: &mut A) -> Result<OwnedFd, i32> {
    // SAFETY: the caller's promise; a non-negative result of these commands is a descriptor nobody else owns.
    unsafe {
        let fd = bpf(cmd, attr)?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

pub fn map_create(attr: &mut attr::MapCreate) -> Result<OwnedFd, i32> {
    // SAFETY: this command reads no pointer.
    unsafe { bpf_fd(Cmd::MapCreate, attr) }
}

/// Writes one element; `key` and `value` have the sizes the map was created with.
pub fn map_update(map_fd: u32, key: &[u8], value: &[u8], flags: u64) -> Result<(), i32> {
    let mut a = attr::MapElem {
        map_fd,
        pad: 0,
        key: key.as_ptr() as u64,
        value: value.as_ptr() as u64,
        flags,
    };
    // SAFETY: both slices outlive the call; callers pass slices of the map's sizes, a shorter one
    // at worst makes the kernel read further bytes of our own memory or return EFAULT.
    unsafe { bpf(Cmd::MapUpdateElem, &mut a).map(drop) }
}

/// Reads one element; `value` has room for all CPUs where the map has a value for each.
pub fn map_lookup(map_fd: u32, key: &[u8], value: &mut [u8]) -> Result<(), i32> {
    let mut a = attr::MapElem {
        map_fd,
        pad: 0,
        key: key.as_ptr() as u64,
        value: value.as_mut_ptr() as u64,
        flags: 0,
    };
    // SAFETY: both slices outlive the call and have the sizes the map was created with.
    unsafe { bpf(Cmd::MapLookupElem, &mut a).map(drop) }
}

/// Writes the key after `key` (the first one after none) into `next`; false at the end.
pub fn map_next_key(map_fd: u32, key: Option<&[u8]>, next: &mut [u8]) -> Result<bool, i32> {
    let mut a = attr::MapElem {
        map_fd,
        pad: 0,
        key: key.map_or(0, |k| k.as_ptr() as u64),
        value: next.as_mut_ptr() as u64,
        flags: 0,
    };
    // SAFETY: as for `map_lookup`.
    match unsafe { bpf(Cmd::MapGetNextKey, &mut a) } {
        Ok(_) => Ok(true),
        Err(libc::ENOENT) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Keeps the calling thread on the CPU it is on, so that per-CPU values of several runs are one CPU's.
pub fn stay_on_cpu() -> Result<u32, i32> {
    // SAFETY: no pointers.
    let cpu = unsafe { libc::sched_getcpu() };
    let cpu = usize::try_from(cpu).map_err(|_| errno())?;
    // SAFETY: all-zero is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `cpu` is one of this machine's, `set` is live and of the stated size.
    let r = unsafe {
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    match r {
        0 => Ok(cpu as u32),
        _ => Err(errno()),
    }
}

pub fn map_freeze(map_fd: u32) -> Result<(), i32> {
    let mut a = attr::MapElem { map_fd, ..Default::default() };
    // SAFETY: this command reads no pointer.
    unsafe { bpf(Cmd::MapFreeze, &mut a).map(drop) }
}

/// Variable parts of a program load; the slices stay alive during the call.
pub struct ProgLoadBuffers<'a> {
    pub insns: &'a [u8],
    pub license: &'a CStr,
    pub log: &'a mut [u8],
    pub func_info: &'a [[u32; 2]],
    pub line_info: &'a [[u32; 4]],
    pub fd_array: &'a [i32],
}

pub fn prog_load(attr: &mut attr::ProgLoad, buf: &mut ProgLoadBuffers<'_>) -> Result<OwnedFd, i32> {
    attr.insns = buf.insns.as_ptr() as u64;
    attr.insn_cnt = (buf.insns.len() / 8) as u32;
    attr.license = buf.license.as_ptr() as u64;
    attr.log_size = buf.log.len() as u32;
    attr.log_buf = if buf.log.is_empty() { 0 } else { buf.log.as_mut_ptr() as u64 };
    attr.func_info_cnt = buf.func_info.len() as u32;
    attr.func_info = buf.func_info.as_ptr() as u64;
    attr.func_info_rec_size = 8;
    attr.line_info_cnt = buf.line_info.len() as u32;
    attr.line_info = buf.line_info.as_ptr() as u64;
    attr.line_info_rec_size = 16;
    attr.fd_array = if buf.fd_array.is_empty() { 0 } else { buf.fd_array.as_ptr() as u64 };
    // SAFETY: every pointer was just set from a live slice with its own length; `fd_array` is read at
    // indices the program names, at worst further bytes of our own memory.
    unsafe { bpf_fd(Cmd::ProgLoad, attr) }
}

pub fn btf_load(data: &[u8], log: &mut [u8]) -> Result<OwnedFd, i32> {
    let mut a = attr::BtfLoad {
        btf: data.as_ptr() as u64,
        btf_size: data.len() as u32,
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        log_size: log.len() as u32,
        log_level: u32::from(!log.is_empty()),
        log_true_size: 0,
    };
    // SAFETY: both pointers come from live slices with their lengths.
    unsafe { bpf_fd(Cmd::BtfLoad, &mut a) }
}

pub fn test_run(
    attr: &mut attr::TestRunAttr,
    data_in: &[u8],
    data_out: &mut [u8],
    ctx_in: &mut [u8],
    ctx_out: &mut [u8],
) -> Result<(), i32> {
    attr.data_in = if data_in.is_empty() { 0 } else { data_in.as_ptr() as u64 };
    attr.data_size_in = data_in.len() as u32;
    attr.data_out = if data_out.is_empty() { 0 } else { data_out.as_mut_ptr() as u64 };
    attr.data_size_out = data_out.len() as u32;
    attr.ctx_in = if ctx_in.is_empty() { 0 } else { ctx_in.as_mut_ptr() as u64 };
    attr.ctx_size_in = ctx_in.len() as u32;
    attr.ctx_out = if ctx_out.is_empty() { 0 } else { ctx_out.as_mut_ptr() as u64 };
    attr.ctx_size_out = ctx_out.len() as u32;
    // SAFETY: the four pointers come from live slices with their lengths.
    unsafe { bpf(Cmd::ProgTestRun, attr).map(drop) }
}

/// The next BTF id after `id`, or `None` at the end.
pub fn btf_next_id(id: u32) -> Result<Option<u32>, i32> {
    let mut a = attr::GetId { id, ..Default::default() };
    // SAFETY: this command reads no pointer.
    match unsafe { bpf(Cmd::BtfGetNextId, &mut a) } {
        Ok(_) => Ok(Some(a.next_id)),
        Err(libc::ENOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

pub fn btf_by_id(id: u32) -> Result<OwnedFd, i32> {
    let mut a = attr::GetId { id, ..Default::default() };
    // SAFETY: this command reads no pointer.
    unsafe { bpf_fd(Cmd::BtfGetFdById, &mut a) }
}

/// Name of a BTF object and whether it is the kernel's own.
pub fn btf_name(fd: u32) -> Result<(String, bool), i32> {
    let mut name = [0u8; 64];
    let mut info = attr::BtfInfo {
        name: name.as_mut_ptr() as u64,
        name_len: name.len() as u32,
        ..Default::default()
    };
    let mut a = attr::InfoByFd {
        fd,
        info_len: size_of::<attr::BtfInfo>() as u32,
        info: &mut info as *mut attr::BtfInfo as u64,
    };
    // SAFETY: `info` and `name` are live and have the stated sizes.
    unsafe { bpf(Cmd::ObjGetInfoByFd, &mut a)? };
    let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
    Ok((String::from_utf8_lossy(&name[..end]).into_owned(), info.kernel_btf != 0))
}

/// Asks about a program.
///
/// # Safety
/// Where `info` gives an address and a length, that memory is live and may be written.
unsafe fn prog_info(fd: u32, info: &mut attr::ProgInfo) -> Result<(), i32> {
    let mut a = attr::InfoByFd {
        fd,
        info_len: size_of::<attr::ProgInfo>() as u32,
        info: info as *mut attr::ProgInfo as u64,
    };
    // SAFETY: `info` is live, and so is what it points to.
    unsafe { bpf(Cmd::ObjGetInfoByFd, &mut a)? };
    Ok(())
}

/// Writes as much of the program's machine code as `image` holds; gives the length of all of it.
pub fn jited(fd: u32, image: &mut [u8]) -> Result<u32, i32> {
    let mut info = attr::ProgInfo {
        jited_prog_len: image.len() as u32,
        jited_prog_insns: if image.is_empty() { 0 } else { image.as_mut_ptr() as u64 },
        ..Default::default()
    };
    // SAFETY: `image` is live and has the stated size.
    unsafe { prog_info(fd, &mut info)? };
    Ok(info.jited_prog_len)
}

/// Writes as many bytes of the program's rewritten instructions as `insns` holds; gives the length of all of them.
pub fn xlated(fd: u32, insns: &mut [u8]) -> Result<u32, i32> {
    let mut info = attr::ProgInfo {
        xlated_prog_len: insns.len() as u32,
        xlated_prog_insns: if insns.is_empty() { 0 } else { insns.as_mut_ptr() as u64 },
        ..Default::default()
    };
    // SAFETY: `insns` is live and has the stated size.
    unsafe { prog_info(fd, &mut info)? };
    Ok(info.xlated_prog_len)
}

/// The capabilities that this thread uses (its effective set), a bit each.
pub fn effective_caps() -> Result<u64, i32> {
    caps().map(|c| u64::from(c[0].effective) | u64::from(c[1].effective) << 32)
}

/// Changes them, within what the thread may use; no other thread is concerned.
pub fn set_effective_caps(bits: u64) -> Result<(), i32> {
    let mut data = caps()?;
    (data[0].effective, data[1].effective) = (bits as u32, (bits >> 32) as u32);
    let header = CapHeader { version: CAP_VERSION_3, pid: 0 };
    // SAFETY: both structures are live, and of this version's sizes.
    match unsafe { libc::syscall(libc::SYS_capset, &header, data.as_ptr()) } {
        0 => Ok(()),
        _ => Err(errno()),
    }
}

/// `_LINUX_CAPABILITY_VERSION_3`.
const CAP_VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[derive(Clone, Copy, Default)]
#[repr(C)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn caps() -> Result<[CapData; 2], i32> {
    let mut data = [CapData::default(); 2];
    let header = CapHeader { version: CAP_VERSION_3, pid: 0 };
    // SAFETY: both structures are live, and of this version's sizes.
    match unsafe { libc::syscall(libc::SYS_capget, &header, data.as_mut_ptr()) } {
        0 => Ok(data),
        _ => Err(errno()),
    }
}

/// A shared mapping of an arena map, which gives the arena its user address; undone on drop.
#[derive(Debug)]
pub struct ArenaMapping {
    addr: *mut libc::c_void,
    len: usize,
}

impl ArenaMapping {
    /// `at` 0 lets the kernel choose.
    pub fn new(map_fd: i32, len: usize, at: u64) -> Result<ArenaMapping, i32> {
        let fixed = if at == 0 { 0 } else { libc::MAP_FIXED_NOREPLACE };
        // SAFETY: a fresh mapping that replaces none; the memory is never turned into a reference.
        let addr = unsafe {
            libc::mmap(
                at as *mut libc::c_void,
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | fixed,
                map_fd,
                0,
            )
        };
        if addr == libc::MAP_FAILED {
            return Err(errno());
        }
        Ok(ArenaMapping { addr, len })
    }

    /// Writes the first bytes, as a loader does with global variables; false where they are too many.
    pub fn fill(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > self.len {
            return false;
        }
        // SAFETY: within the mapping; no program that shares it runs yet.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.addr.cast(), bytes.len()) };
        true
    }
}

impl Drop for ArenaMapping {
    fn drop(&mut self) {
        // SAFETY: exactly the range mapped in `new`, unmapped once.
        unsafe { libc::munmap(self.addr, self.len) };
    }
}

/// Number of possible CPUs, for maps that need one entry per CPU.
pub fn possible_cpus() -> u32 {
    // SAFETY: no pointers.
    let n = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
    u32::try_from(n).unwrap_or(1).max(1)
}

pub fn page_size() -> u32 {
    // SAFETY: no pointers.
    let n = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u32::try_from(n).unwrap_or(4096).max(1)
}

/// `uname -r`.
pub fn release() -> Result<String, i32> {
    // SAFETY: all-zero is a valid `utsname`, and uname fills it with terminated strings.
    let mut u: libc::utsname = unsafe { std::mem::zeroed() };
    // SAFETY: `u` is live and of the right type.
    if unsafe { libc::uname(&mut u) } != 0 {
        return Err(errno());
    }
    let bytes: Vec<u8> = u.release.iter().take_while(|&&c| c != 0).map(|&c| c as u8).collect();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
