//! What a program runs in: memory, maps, helpers, context and a supplied world.
//!
//! Engines call into it; it calls back into an engine only through
//! [`Callbacks`].  Nothing here reads a clock, a random source or the host:
//! the [`World`] supplies them, so that a run repeats.

pub mod buffer;
pub mod checksum;
pub mod ctx;
pub mod helpers;
pub mod maps;
pub mod memory;
pub mod packet;
pub mod world;

use std::sync::Arc;

use bpfassay_isa::Size;

use crate::engine::TrapKind;
use crate::engines::code::Code;
use helpers::HelperSet;
use maps::Map;
use memory::{Access, Fault, Memory, Region, RegionId, RegionKind};
use packet::Packet;
use world::World;

/// `MAX_BPF_STACK`.
pub const STACK_SIZE: u32 = 512;

/// Why a helper or an instruction does not simply go on.
#[derive(Clone, Debug)]
pub enum Stop {
    Trap(TrapKind),
    /// Go on with this program in the same frame.
    TailCall(Arc<Code>),
    /// End the whole run with this value.
    Exit(u64),
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
    stacks: Vec<RegionId>,
    inputs: Vec<RegionId>,
    code: Option<RegionId>,
    may_goto: u32,
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
            stacks: Vec::new(),
            inputs: Vec::new(),
            code,
            may_goto: 0,
        }
    }

    /// Forgets what one run leaves in the stacks and budgets; maps and packet stay.
    pub fn start_run(&mut self) {
        self.may_goto = 0;
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
        self.ctx = None;
        self.packet = None;
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
        let region = map.and_then(Map::direct_value);
        let id = region.ok_or(TrapKind::Unsupported("address of this map's value"))?;
        Ok(self.mem.addr(id, off))
    }

    /// Counts one `may_goto`; false when the budget is used up.
    pub fn may_go_on(&mut self, budget: u32) -> bool {
        self.may_goto = self.may_goto.saturating_add(1);
        self.may_goto <= budget
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
