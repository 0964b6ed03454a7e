//! What a loaded program's maps hold, and the machine code the kernel made of it.

use std::os::fd::AsRawFd;

use bpfassay_isa::RawInsn;
use bpfassay_object::model::MapDef;
use bpfassay_spec::MapUse;

use super::{sys, Element, KernelError, Loaded};

/// Elements read of one map at most.
const MAX_ELEMENTS: usize = 1 << 16;

impl Loaded {
    /// Elements of the map with this index, in the order of their keys; of per-CPU values this
    /// CPU's.  None where the program does not use the map, or its elements cannot be listed.
    pub fn elements(
        &self,
        index: usize,
        def: &MapDef,
        cpu: u32,
    ) -> Result<Option<Vec<Element>>, KernelError> {
        let MapUse { percpu: is_percpu, listed, .. } = *def.map_type.uses();
        let Some(map) = self.maps.get(&index).filter(|_| listed) else { return Ok(None) };
        let fd = map.fd.as_raw_fd() as u32;
        let size = def.value_size as usize;
        let stride = size.next_multiple_of(8);
        let cpus = if is_percpu { sys::possible_cpus() as usize } else { 1 };
        let failed = |errno| KernelError::Call { what: "reading a map", errno };
        let mut out = Vec::new();
        let mut key: Option<Vec<u8>> = None;
        let mut next = vec![0; def.key_size as usize];
        while out.len() < MAX_ELEMENTS
            && sys::map_next_key(fd, key.as_deref(), &mut next).map_err(failed)?
        {
            let mut value = vec![0; stride * cpus];
            match sys::map_lookup(fd, &next, &mut value) {
                Ok(()) => {
                    let start = if is_percpu { cpu as usize * stride } else { 0 };
                    let own = value.get(start..start + size).unwrap_or(&[]);
                    out.push((next.clone(), own.to_vec()));
                }
                Err(libc::ENOENT) => {}
                Err(e) => return Err(failed(e)),
            }
            key = Some(next.clone());
        }
        out.sort();
        Ok(Some(out))
    }
}

impl Loaded {
    /// Puts an element into the map with this index, for every CPU where each has its own; the error is an errno.
    pub fn map_update(
        &self,
        index: usize,
        def: &MapDef,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), i32> {
        let Some(map) = self.maps.get(&index) else { return Ok(()) };
        let is_percpu = def.map_type.uses().percpu;
        let mut all = value.to_vec();
        all.resize(def.value_size as usize, 0);
        if is_percpu {
            all.resize(all.len().next_multiple_of(8), 0);
            all = all.repeat(sys::possible_cpus() as usize);
        }
        let mut own_key = key.to_vec();
        own_key.resize(def.key_size as usize, 0);
        sys::map_update(map.fd.as_raw_fd() as u32, &own_key, &all, 0)
    }
}

impl Loaded {
    /// The kernel's machine code: all functions, one behind the other, without what lies between
    /// them in memory.  Empty where the kernel interprets, or hides addresses from this user.
    pub fn jited(&self) -> Result<Vec<u8>, KernelError> {
        let fd = self.prog.as_raw_fd() as u32;
        let failed = |errno| KernelError::Call { what: "reading machine code", errno };
        let len = sys::jited(fd, &mut []).map_err(failed)?;
        let mut image = vec![0; len as usize];
        if len > 0 {
            sys::jited(fd, &mut image).map_err(failed)?;
        }
        Ok(image)
    }
}

impl Loaded {
    /// The program as the verifier left it; empty where the kernel hides it from this user.
    pub fn xlated(&self) -> Result<Vec<RawInsn>, KernelError> {
        let fd = self.prog.as_raw_fd() as u32;
        let failed = |errno| KernelError::Call { what: "reading instructions", errno };
        let len = sys::xlated(fd, &mut []).map_err(failed)?;
        let mut bytes = vec![0; len as usize];
        if len > 0 {
            sys::xlated(fd, &mut bytes).map_err(failed)?;
        }
        Ok(bytes.as_chunks::<8>().0.iter().map(|b| RawInsn::from_le_bytes(*b)).collect())
    }
}

/// Keeps the calling thread on its CPU and gives its number.
pub fn stay_on_cpu() -> Result<u32, KernelError> {
    sys::stay_on_cpu().map_err(|errno| KernelError::Call { what: "sched_setaffinity", errno })
}
