//! The world around a program: clocks, random numbers, the current task.
//!
//! All of it is supplied, none of it read from the host.

use std::fmt;
use std::sync::Arc;

use bpfassay_object::btf::Btf;

/// The kernel's types, by which its functions and variables are known.
#[derive(Clone, Default)]
pub struct KernelTypes {
    pub vmlinux: Option<Arc<Btf>>,
    pub modules: Vec<(String, Arc<Btf>)>,
}

impl fmt::Debug for KernelTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KernelTypes({}, {} modules)", self.vmlinux.is_some(), self.modules.len())
    }
}

/// What helpers about time, chance and the current task answer.
#[derive(Clone, Debug)]
pub struct World {
    /// Without them a run stops at the first kernel function.
    pub kernel: KernelTypes,
    /// `bpf_ktime_get_ns` now, in ns.
    pub clock_ns: u64,
    /// Added to the clock at every reading, so that time passes and repeats.
    pub clock_step_ns: u64,
    /// Offset of the wall clock and of the boot clock from `clock_ns`.
    pub tai_offset_ns: u64,
    pub boot_offset_ns: u64,
    /// State of the random numbers; never 0.
    pub random: u64,
    pub cpu: u32,
    pub cpus: u32,
    pub numa_node: u32,
    /// `tgid << 32 | pid`.
    pub pid_tgid: u64,
    /// `gid << 32 | uid`.
    pub uid_gid: u64,
    /// Name of the current task, zero-padded.
    pub comm: [u8; 16],
    pub cgroup_id: u64,
    /// What the program was attached with (`bpf_get_attach_cookie`).
    pub attach_cookie: u64,
    /// How many arguments the traced function has.
    pub traced_args: Option<u32>,
    /// Set when a helper answered from here: another world may answer otherwise.
    pub consulted: bool,
    /// Frames of any length a capture may hold, complete headers or not, as a socket's filter sees
    /// them; a test run refuses those beyond one page and those that end within the IP header.
    pub takes_any_frame: bool,
    /// Text of `bpf_trace_printk`.
    pub printed: Vec<String>,
    /// Text of the program's streams: standard output and standard error.
    pub streams: [Vec<u8>; 2],
    /// Records of `bpf_perf_event_output` and friends: map, CPU, bytes.
    pub perf_output: Vec<(u32, u32, Vec<u8>)>,
}

impl World {
    /// A world in which chance follows from `seed`.
    pub fn seeded(seed: u64) -> World {
        let mut comm = [0; 16];
        comm[..8].copy_from_slice(b"bpfassay");
        World {
            kernel: KernelTypes::default(),
            clock_ns: 1_000_000_000,
            clock_step_ns: 1_000,
            tai_offset_ns: 1_700_000_000_000_000_000,
            boot_offset_ns: 0,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            cpu: 0,
            cpus: 1,
            numa_node: 0,
            pid_tgid: 1 << 32 | 1,
            uid_gid: 0,
            comm,
            cgroup_id: 1,
            attach_cookie: 0,
            traced_args: None,
            consulted: false,
            takes_any_frame: false,
            printed: Vec::new(),
            streams: [Vec::new(), Vec::new()],
            perf_output: Vec::new(),
        }
    }

    /// Appends to stream 1 or 2; ENOSPC once it is full (`bpf_stream_push_str`).
    pub fn stream(&mut self, stream: u32, text: &[u8]) -> i64 {
        const CAPACITY: usize = 100_000;
        const ENOSPC: i64 = 28;
        let to = &mut self.streams[usize::from(stream == 2)];
        if to.len() + text.len() >= CAPACITY {
            return -ENOSPC;
        }
        to.extend_from_slice(text);
        0
    }

    /// Reads the clock and lets it pass.
    pub fn now(&mut self) -> u64 {
        let now = self.clock_ns;
        self.clock_ns = now.wrapping_add(self.clock_step_ns);
        now
    }

    /// The next random number (xorshift64*).
    pub fn random_u32(&mut self) -> u32 {
        let mut x = self.random;
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random = x;
        (x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }
}
