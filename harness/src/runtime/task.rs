//! The current task as a structure of kernel memory, of which the world's facts are known.

use super::memory::{Access, Region, RegionKind};
use super::{Runtime, Stop};
use crate::engine::TrapKind;

const TASK: &str = "task_struct";

impl Runtime {
    /// Address of the current task; fields that the world does not state stop the run when read.
    pub fn current_task(&mut self) -> Result<u64, Stop> {
        self.world.consulted = true;
        if let Some(addr) = self.task {
            return Ok(addr);
        }
        let none = TrapKind::Unsupported("the current task without the kernel's types");
        let size = self.types.kernel_size(TASK).ok_or(none)?;
        let (pid, tgid) = (self.world.pid_tgid as u32, (self.world.pid_tgid >> 32) as u32);
        let comm = self.world.comm;
        let values: [(&str, &[u8]); 3] =
            [("pid", &pid.to_le_bytes()), ("tgid", &tgid.to_le_bytes()), ("comm", &comm)];
        let mut bytes = vec![0; size as usize];
        let mut known = Vec::new();
        for (member, value) in values {
            let Some(at) = self.types.kernel_offset(TASK, member) else { continue };
            if let Some(to) = bytes.get_mut(at as usize..at as usize + value.len()) {
                to.copy_from_slice(value);
                known.push((at, value.len() as u32));
            }
        }
        let region = Region::new(RegionKind::Object, Access::ReadOnly, bytes).with_known(known);
        let id = self.mem.add(region).ok_or(TrapKind::Unsupported("this much memory"))?;
        let addr = self.address(id, 0);
        self.task = Some(addr);
        Ok(addr)
    }
}
