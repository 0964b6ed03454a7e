//! What a program runs in: memory, maps, helpers, context and a supplied world.
//!
//! Engines call into it; it calls back into an engine only through
//! [`Callbacks`].  Nothing here reads a clock, a random source or the host:
//! the [`World`] supplies them, so that a run repeats.

pub mod arena;
pub mod asyncs;
pub mod buffer;
pub mod checksum;
pub mod ctx;
pub mod graph;
pub mod helpers;
pub mod hooks;
pub mod maps;
pub mod memory;
pub mod objects;
pub mod packet;
pub mod task;
pub mod types;
pub mod world;

use std::collections::HashMap;
use std::sync::Arc;

use bpfassay_isa::Size;

use crate::engine::TrapKind;
use crate::engines::code::Code;
use asyncs::Asyncs;
use helpers::{Helper, HelperSet};
use maps::Map;
use memory::{Access, Fault, Memory, Region, RegionId, RegionKind};
use objects::Objects;
use packet::Packet;
use types::Types;
use world::World;

/// `MAX_BPF_STACK`.
pub const STACK_SIZE: u32 = bpfassay_spec::Limits::MOST.max_stack;

/// Why a helper or an instruction does not simply go on.
#[derive(Clone, Debug)]
pub enum Stop {
    Trap(TrapKind),
    /// Go on with this program in the same frame.
    TailCall(Arc<Code>),
    /// End the whole run with this value.
    Exit(u64),
    /// Leave all frames and go on in the exception callback with this value (`bpf_throw`).
    Throw(u64),
}

impl From<Fault> for Stop {
    fn from(f: Fault) -> Stop {
        Stop::Trap(TrapKind::Memory(f))
    }
}

impl From<TrapKind> for Stop {
    fn from(k: TrapKind) -> Stop {
        Stop::Trap(k)
    }
}

/// How a helper calls a function of the program.
pub trait Callbacks {
    /// Calls the function at this address with r1 to r5; gives its r0.
    fn invoke(&mut self, rt: &mut Runtime, func: u64, args: [u64; 5]) -> Result<u64, Stop>;
}

/// Everything outside the registers.
pub struct Runtime {
    pub mem: Memory,
    pub maps: Vec<Map>,
    pub world: World,
    /// The packet behind an skb or xdp context.
    pub packet: Option<Packet>,
    pub ctx: Option<RegionId>,
    pub helpers: HelperSet,
    pub types: Types,
    pub objects: Objects,
    pub asyncs: Asyncs,
    /// The program's type may write the packet directly (`may_access_direct_pkt_data`).
    pub may_write_packet: bool,
    /// Why the kernel test-runs no program attached as this one is.
    pub refusal: Option<ctx::Refusal>,
    /// A context that is called with (`raw_tp`, `syscall`) and is shorter than this is refused.
    pub min_ctx: u32,
    /// In native memory, contexts are taken that hold pointers which a program may follow.
    takes_any_context: bool,
    /// Address of the current task's structure, once somebody asked.
    task: Option<u64>,
    /// What a cgroup hook returns so far (`bpf_set_retval`).
    pub hook_retval: i32,
    /// Verified checksums of the packet beyond the first; None where none is verified.
    pub csum_level: Option<i64>,
    /// Resilient locks the program holds.
    pub held: Vec<u64>,
    /// Slot of the function that an exception goes on in, and of the program it belongs to.
    pub exception_callback: Option<u32>,
    /// Kernel functions called before, by descriptor and id.
    kfuncs: HashMap<(i16, i32), (&'static str, Helper)>,
    stacks: Vec<RegionId>,
    inputs: Vec<RegionId>,
    code: Option<RegionId>,
    /// Goes of `may_goto` loops, by frame.
    may_goto: Vec<u32>,
}

impl Runtime {
    pub fn new(world: World, helpers: HelperSet) -> Runtime {
        Runtime::in_memory(Memory::default(), world, helpers)
    }

    /// A runtime in memory of either mode.
    pub fn in_memory(mut mem: Memory, world: World, helpers: HelperSet) -> Runtime {
        // Slot numbers times 8, as large as a program may be.
        let code = mem.add(Region::new(RegionKind::Code, Access::Opaque, Vec::new()));
        Runtime {
            mem,
            maps: Vec::new(),
            world,
            packet: None,
            ctx: None,
            helpers,
            types: Types::default(),
            objects: Objects::default(),
            asyncs: Asyncs::default(),
            may_write_packet: false,
            refusal: None,
            min_ctx: 0,
            takes_any_context: false,
            task: None,
            hook_retval: 0,
            csum_level: None,
            held: Vec::new(),
            exception_callback: None,
            kfuncs: HashMap::new(),
            stacks: Vec::new(),
            inputs: Vec::new(),
            code,
            may_goto: Vec::new(),
        }
    }

    /// Takes contexts whose pointers native code will follow (see [`ctx::holds_pointers`]).
    ///
    /// # Safety
    /// This process exists to run the program.
    #[allow(unsafe_code)]
    pub unsafe fn take_any_context(&mut self) {
        self.takes_any_context = true;
    }

    /// Forgets what one run leaves in the stacks and budgets; maps and packet stay.
    pub fn start_run(&mut self) {
        self.may_goto.clear();
        self.held.clear();
        self.hook_retval = 0;
        for id in &self.stacks {
            if let Some(r) = self.mem.region_mut(*id) {
                r.bytes_mut().fill(0);
            }
        }
    }

    /// Gives back packet and context of the last input.
    pub fn forget_input(&mut self) {
        for id in std::mem::take(&mut self.inputs) {
            self.mem.release(id);
        }
        // A test run gives the program's cgroup new storage.
        for map in &mut self.maps {
            map.forget_run(&mut self.mem);
        }
        self.ctx = None;
        self.packet = None;
        self.csum_level = None;
    }

    /// Adds a region that lives until the next input.
    pub fn add_input(&mut self, region: Region) -> Option<RegionId> {
        let id = self.mem.add(region)?;
        self.inputs.push(id);
        Some(id)
    }

    /// Frame pointer of this frame, whose stack it makes.
    pub fn stack_top(&mut self, frame: usize) -> Result<u64, Stop> {
        while self.stacks.len() <= frame {
            let kind = RegionKind::Stack(u8::try_from(self.stacks.len()).unwrap_or(u8::MAX));
            let bytes = vec![0; STACK_SIZE as usize];
            let region = Region::new(kind, Access::ReadWrite, bytes);
            let id = self.mem.add(region).ok_or(TrapKind::TooManyFrames)?;
            self.stacks.push(id);
        }
        if let Some(count) = self.may_goto.get_mut(frame) {
            *count = 0;
        }
        let id = self.stacks.get(frame).ok_or(TrapKind::TooManyFrames)?;
        Ok(self.mem.addr(*id, STACK_SIZE))
    }

    /// Address of the function that starts at this slot.
    pub fn code_addr(&self, slot: u32) -> Result<u64, Stop> {
        let id = self.code.ok_or(TrapKind::Unsupported("function address"))?;
        Ok(self.mem.addr(id, slot.wrapping_mul(8)))
    }

    /// Slot of the function at this address.
    pub fn code_slot(&self, addr: u64) -> Option<u32> {
        let (id, off) = self.mem.locate(addr)?;
        (Some(id) == self.code && off % 8 == 0).then_some(off / 8)
    }

    /// Address that stands for a map.
    pub fn map_addr(&self, index: i32) -> Result<u64, Stop> {
        let map = usize::try_from(index).ok().and_then(|i| self.maps.get(i));
        let map = map.ok_or(TrapKind::Unsupported("map that the program does not have"))?;
        Ok(self.mem.addr(map.handle(), 0))
    }

    /// Address of byte `off` of the map's only value (`map_direct_value_addr`).
    pub fn map_value_addr(&self, index: i32, off: u32) -> Result<u64, Stop> {
        let map = usize::try_from(index).ok().and_then(|i| self.maps.get(i));
        if let Some(arena) = self.mem.arena.as_ref().filter(|_| map.is_some_and(Map::is_arena)) {
            return Ok(arena.start() + u64::from(off));
        }
        let region = map.and_then(Map::direct_value);
        let id = region.ok_or(TrapKind::Unsupported("address of this map's value"))?;
        Ok(self.mem.addr(id, off))
    }

    /// Address of a kernel variable.
    pub fn kernel_variable(&self, btf: i32, id: i32) -> Result<u64, Stop> {
        let name = self.types.variable(btf, id).unwrap_or("unknown");
        Err(TrapKind::UnsupportedHelper(format!("kernel variable {name}")).into())
    }

    /// Counts one `may_goto` of a frame; false when its budget is used up.
    ///
    /// The kernel lets a frame's loops run for a quarter of a second where its JIT reads the
    /// clock, and so many times where it does not; no time passes here, so it is the number.
    pub fn may_go_on(&mut self, frame: usize, budget: u32) -> bool {
        if self.may_goto.len() <= frame {
            self.may_goto.resize(frame + 1, 0);
        }
        let Some(count) = self.may_goto.get_mut(frame) else { return false };
        *count = count.saturating_add(1);
        *count <= budget
    }

    /// LD_ABS and LD_IND: big-endian packet bytes; None beyond the packet.
    pub fn load_packet(&mut self, size: Size, off: i32) -> Result<Option<u64>, Stop> {
        let packet = self.packet.as_ref();
        let packet = packet.ok_or(TrapKind::Unsupported("packet load without a packet"))?;
        Ok(packet.load_be(&self.mem, off, size.bytes()))
    }

    /// Puts bytes where the program may read them, until [`Runtime::take_back`].
    pub fn lend(&mut self, bytes: &[u8]) -> Result<u64, Stop> {
        let region = Region::new(RegionKind::Object, Access::ReadOnly, bytes.to_vec());
        let id = self.mem.add(region).ok_or(TrapKind::Unsupported("this many objects"))?;
        Ok(self.mem.addr(id, 0))
    }

    /// Releases what [`Runtime::lend`] gave this address for.
    pub fn take_back(&mut self, addr: u64) {
        if let Some((id, 0)) = self.mem.locate(addr) {
            self.mem.release(id);
        }
    }

    /// Address of an offset in a region, as the program sees it.
    pub fn address(&self, id: RegionId, off: u32) -> u64 {
        self.mem.addr(id, off)
    }

    /// `addr_space_cast`: between an arena's addresses and those of user space.
    pub fn cast_address(&self, addr: u64, imm: i32) -> Result<u64, Stop> {
        const TO_USER: i32 = 1;
        const TO_ARENA: i32 = 1 << 16;
        let arena = self.mem.arena.as_ref();
        let arena = arena.ok_or(TrapKind::Unsupported("address space cast without an arena"))?;
        match imm {
            TO_USER => Ok(u64::from(addr as u32)),
            TO_ARENA => Ok(arena.user(addr)),
            _ => Err(TrapKind::Unsupported("this address space cast").into()),
        }
    }

    /// Calls a kernel function by descriptor and BTF id.
    pub fn call_kfunc(
        &mut self,
        btf: i16,
        id: i32,
        args: [u64; 5],
        callbacks: &mut dyn Callbacks,
    ) -> Result<u64, Stop> {
        let known = match self.kfuncs.get(&(btf, id)) {
            Some(known) => *known,
            None => {
                let name = self.types.function(btf, id);
                let name = name.ok_or_else(|| {
                    TrapKind::UnsupportedHelper(format!("kernel function {btf}:{id}"))
                })?;
                let found = HelperSet::kfunc(name);
                let found = found.ok_or_else(|| TrapKind::UnsupportedHelper(name.to_string()))?;
                self.kfuncs.insert((btf, id), found);
                found
            }
        };
        let (name, function) = known;
        let mut call = helpers::Call { rt: self, callbacks, name };
        function(&mut call, args)
    }

    /// Calls a helper by number.
    pub fn call_helper(
        &mut self,
        id: i64,
        args: [u64; 5],
        callbacks: &mut dyn Callbacks,
    ) -> Result<u64, Stop> {
        let set = self.helpers.clone();
        let (name, function) = set.resolve(id)?;
        let mut call = helpers::Call { rt: self, callbacks, name };
        function(&mut call, args)
    }
}
