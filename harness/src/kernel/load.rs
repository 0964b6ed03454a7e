//! BPF_PROG_LOAD: from a [`Program`] to verdict and log.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use bpfassay_diag::log::Stats;
use bpfassay_isa::RawInsn;
use bpfassay_object::btf::Btf;
use bpfassay_object::model::{ProgFlags, Program};
use bpfassay_spec::{Caps, ProgType};

use super::caps::{self, Dropped};
use super::maps::{CreatedMaps, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE};
use super::{
    attr, btf, maps, sys, KernelError, LoadOptions, LoadOutcome, Verdict, KERNEL_MAX_LOG,
    LOG_LEVEL1, LOG_LEVEL2, LOG_STATS,
};

/// First log buffer; most logs fit.
const FIRST_LOG: usize = 1 << 20;
/// `BPF_PSEUDO_BTF_ID`: the second slot of LD_IMM64 names a kernel BTF.
const PSEUDO_BTF_ID: u8 = 3;

/// An accepted program with its maps; closed on drop.
#[derive(Debug)]
pub struct Loaded {
    pub(super) prog: OwnedFd,
    pub(super) maps: CreatedMaps,
}

/// `uname -r` of the kernel that judges.
pub fn release() -> Result<String, KernelError> {
    sys::release().map_err(|errno| KernelError::Call { what: "uname", errno })
}

/// A conversation with the running kernel: keeps the last object's BTF loaded, because all programs of
/// an object share it.
#[derive(Debug, Default)]
pub struct Session {
    btf: Option<(Arc<Btf>, OwnedFd)>,
    /// Capabilities that programs and their maps are loaded with.
    caps: Caps,
}

impl Session {
    pub fn new() -> Session {
        Session::default()
    }

    /// Loads with these capabilities only; what comes back is read with all.
    pub fn with_caps(caps: Caps) -> Session {
        Session { btf: None, caps }
    }

    /// The accepted program as the verifier leaves it; None where it is not accepted.
    pub fn xlated(&mut self, program: &Program) -> Result<Option<Vec<RawInsn>>, KernelError> {
        let quiet = LoadOptions { log_level: 0, max_log: 0 };
        let (_, loaded) = self.load(program, &quiet)?;
        loaded.map(|l| l.xlated()).transpose()
    }

    /// The verdict alone; map and program descriptors are closed when this returns.
    pub fn judge(
        &mut self,
        program: &Program,
        options: &LoadOptions,
    ) -> Result<LoadOutcome, KernelError> {
        self.load(program, options).map(|(outcome, _)| outcome)
    }

    /// Loads `program`; the second part is there when it was accepted.
    ///
    /// Without BTF, `func_info` and `line_info` are left out, as libbpf does.
    pub fn load(
        &mut self,
        program: &Program,
        options: &LoadOptions,
    ) -> Result<(LoadOutcome, Option<Loaded>), KernelError> {
        let mut maps = CreatedMaps::new();
        let (outcome, prog) = self.load_on(program, options, &mut maps)?;
        Ok((outcome, prog.map(|prog| Loaded { prog, maps })))
    }

    /// On maps that exist already, and those it needs beside them.
    pub(super) fn load_on(
        &mut self,
        program: &Program,
        options: &LoadOptions,
        maps: &mut CreatedMaps,
    ) -> Result<(LoadOutcome, Option<OwnedFd>), KernelError> {
        let caps = self.caps;
        let target = self.target_program(program)?;
        let btf_fd = self.btf_fd(program)?;
        let kernel_btfs = btf::kernel_btfs(&program.btfs)?;
        caps::allows(caps)?;
        let _dropped = Dropped::to(caps)?;
        maps::create_used(program, btf_fd, maps)?;
        let mut request = Request::new(program, btf_fd, &kernel_btfs, maps)?;
        if let Some(target) = &target {
            request.attr.attach_btf_obj_fd = target.prog.as_raw_fd() as u32;
        }
        let (result, log, log_level) = request.ask(options);
        let log = String::from_utf8_lossy(&log).into_owned();
        let stats = Stats::parse(&log);
        let (verdict, errno, prog) = match result {
            Ok(prog) => (Verdict::Accepted, None, Some(prog)),
            Err(libc::EPERM) if log.is_empty() && caps == Caps::ALL && !may_load() => {
                return Err(KernelError::NotPermitted)
            }
            Err(libc::ENOSYS) => return Err(KernelError::Unavailable),
            Err(e) => (Verdict::Rejected, Some(e), None),
        };
        Ok((LoadOutcome { verdict, errno, log, log_level, stats }, prog))
    }

    /// Loads the program that this one attaches to.
    fn target_program(&mut self, program: &Program) -> Result<Option<Loaded>, KernelError> {
        let target = program.attach_target.as_ref().and_then(|t| t.program.as_deref());
        let Some(target) = target else { return Ok(None) };
        match self.load(target, &LoadOptions { log_level: 0, max_log: 0 })? {
            (_, Some(loaded)) => Ok(Some(loaded)),
            (LoadOutcome { errno, .. }, None) => {
                let (name, errno) = (&target.name, errno.unwrap_or(0));
                let why = format!("the program it attaches to, {name}: errno {errno}");
                Err(KernelError::Program(why))
            }
        }
    }

    pub(super) fn btf_fd(&mut self, program: &Program) -> Result<Option<&OwnedFd>, KernelError> {
        let Some(wanted) = &program.btf else { return Ok(None) };
        if !self.btf.as_ref().is_some_and(|(have, _)| Arc::ptr_eq(have, wanted)) {
            self.btf = None;
            self.btf = Some((Arc::clone(wanted), btf::load_program_btf(&wanted.to_bytes())?));
        }
        Ok(self.btf.as_ref().map(|(_, fd)| fd))
    }
}

/// True if this user can load a program at all: EPERM without a log is then a verdict.
fn may_load() -> bool {
    let mut a = attr::ProgLoad { prog_type: ProgType::Xdp.number(), ..Default::default() };
    // r0 = 0; exit
    let insns = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let mut buffers = sys::ProgLoadBuffers {
        insns: &insns,
        license: c"",
        log: &mut [],
        func_info: &[],
        line_info: &[],
        fd_array: &[],
    };
    sys::prog_load(&mut a, &mut buffers).is_ok()
}

/// What one load needs, kept alive over its retries.
struct Request {
    attr: attr::ProgLoad,
    insns: Vec<u8>,
    license: CString,
    func_info: Vec<[u32; 2]>,
    line_info: Vec<[u32; 4]>,
    fd_array: Vec<i32>,
}

impl Request {
    fn new(
        program: &Program,
        btf_fd: Option<&OwnedFd>,
        kernel_btfs: &[Option<OwnedFd>],
        maps: &CreatedMaps,
    ) -> Result<Request, KernelError> {
        let mut request = Request {
            attr: attributes(program, btf_fd, kernel_btfs)?,
            insns: encode(program, maps, kernel_btfs)?,
            license: CString::new(program.license.as_bytes())
                .map_err(|_| KernelError::Program("the licence holds a zero byte".to_owned()))?,
            func_info: Vec::new(),
            line_info: Vec::new(),
            fd_array: Vec::new(),
        };
        if kernel_btfs.len() > 1 {
            request.fd_array = kernel_btfs.iter().filter_map(|b| btf::fd_number(Some(b))).collect();
        }
        if btf_fd.is_some() {
            request.func_info = program.func_info.iter().map(|f| [f.insn_off, f.type_id]).collect();
            request.line_info = program
                .line_info
                .iter()
                .map(|l| [l.insn_off, l.file_name_off, l.line_off, l.line_col])
                .collect();
        }
        Ok(request)
    }

    /// Asks until the log fits: the buffer grows to the size the kernel names, and beyond
    /// `max_log` the level falls, because a log that does not fit hides the verdict (ENOSPC).
    fn ask(&mut self, options: &LoadOptions) -> (Result<OwnedFd, i32>, Vec<u8>, u32) {
        let max_log = options.max_log.min(KERNEL_MAX_LOG);
        let mut level = options.log_level;
        let mut size = if level == 0 { 0 } else { FIRST_LOG.min(max_log) };
        loop {
            let mut log = vec![0u8; size];
            let result = self.once(level, &mut log);
            // The kernel also fills `log_true_size` where the log fitted.
            let needed = (self.attr.log_true_size as usize).max(size + 1);
            if level != 0 && matches!(result, Err(libc::ENOSPC)) && needed > size {
                if needed <= max_log {
                    size = needed;
                } else {
                    level = lower_level(level);
                    size = if level == 0 { 0 } else { max_log };
                }
                continue;
            }
            let end = log.iter().position(|&b| b == 0).unwrap_or(log.len());
            log.truncate(end);
            return (result, log, level);
        }
    }

    fn once(&mut self, level: u32, log: &mut [u8]) -> Result<OwnedFd, i32> {
        self.attr.log_level = level;
        self.attr.log_true_size = 0;
        sys::prog_load(
            &mut self.attr,
            &mut sys::ProgLoadBuffers {
                insns: &self.insns,
                license: &self.license,
                log,
                func_info: &self.func_info,
                line_info: &self.line_info,
                fd_array: &self.fd_array,
            },
        )
    }
}

/// Level 2 gives way to 1, 1 to the statistics alone, those to no log.
fn lower_level(level: u32) -> u32 {
    if level & LOG_LEVEL2 != 0 {
        (level & !LOG_LEVEL2) | LOG_LEVEL1
    } else if level & LOG_LEVEL1 != 0 {
        level & LOG_STATS
    } else {
        0
    }
}

fn attributes(
    program: &Program,
    btf_fd: Option<&OwnedFd>,
    kernel_btfs: &[Option<OwnedFd>],
) -> Result<attr::ProgLoad, KernelError> {
    let mut a = attr::ProgLoad {
        prog_type: program.prog_type.number(),
        kern_version: program.kern_version,
        prog_flags: flag_bits(program.flags),
        prog_name: maps::attr_name(&program.name),
        expected_attach_type: program.expected_attach_type.map_or(0, |t| t.number()),
        prog_btf_fd: btf_fd.map_or(0, |f| f.as_raw_fd() as u32),
        ..Default::default()
    };
    if let Some(target) = &program.attach_target {
        a.attach_btf_id = target.btf_id;
        a.attach_btf_obj_fd =
            btf::fd_number(kernel_btfs.get(target.btf as usize)).ok_or_else(|| {
                KernelError::Program(format!("no kernel BTF with index {}", target.btf))
            })? as u32;
        if let Some(member) = target.member {
            a.expected_attach_type = member;
        }
    }
    Ok(a)
}

/// Instruction bytes with descriptors in place of indices.
fn encode(
    program: &Program,
    maps: &CreatedMaps,
    kernel_btfs: &[Option<OwnedFd>],
) -> Result<Vec<u8>, KernelError> {
    let mut out = Vec::with_capacity(program.insns.len() * 8);
    let mut slots = program.insns.iter().copied();
    while let Some(mut insn) = slots.next() {
        let second = if insn.is_ld_imm64() { slots.next() } else { None };
        let Some(mut second) = second else {
            out.extend_from_slice(&insn.to_le_bytes());
            continue;
        };
        match insn.src {
            PSEUDO_MAP_FD | PSEUDO_MAP_VALUE => {
                let fd = usize::try_from(insn.imm).ok().and_then(|i| maps.get(&i));
                insn.imm = fd
                    .ok_or_else(|| KernelError::Program(format!("no map with index {}", insn.imm)))?
                    .fd
                    .as_raw_fd();
            }
            PSEUDO_BTF_ID => {
                let fd = usize::try_from(second.imm)
                    .ok()
                    .and_then(|i| btf::fd_number(kernel_btfs.get(i)));
                second.imm = fd.ok_or_else(|| {
                    KernelError::Program(format!("no kernel BTF with index {}", second.imm))
                })?;
            }
            _ => {}
        }
        out.extend_from_slice(&insn.to_le_bytes());
        out.extend_from_slice(&second.to_le_bytes());
    }
    Ok(out)
}

/// `prog_flags` bits (`BPF_F_…` in `include/uapi/linux/bpf.h`).
fn flag_bits(f: ProgFlags) -> u32 {
    [
        f.strict_alignment,
        f.any_alignment,
        f.test_rnd_hi32,
        f.test_state_freq,
        f.sleepable,
        f.xdp_has_frags,
        f.xdp_dev_bound_only,
        f.test_reg_invariants,
    ]
    .iter()
    .enumerate()
    .fold(0, |bits, (i, &set)| bits | u32::from(set) << i)
}
