//! A program with what its maps hold from the start: inner maps, and programs to tail-call.
//!
//! As libbpf fills them (`init_map_in_map_slots`, `init_prog_array_slots`), for the maps that the
//! program and those it may tail-call use; others are not created.

use std::collections::{BTreeSet, HashMap};
use std::os::fd::{AsRawFd, OwnedFd};

use bpfassay_object::model::Program;
use bpfassay_object::Slot;

use super::{maps, sys, KernelError, LoadOptions, LoadOutcome, Loaded, Session};
use crate::testrun::MapSlots;

impl Session {
    /// As [`Session::load`], with slots filled: `slots` has a list per map of the object, `others` are its programs.
    ///
    /// Programs that `others` lacks or the kernel rejects leave their slots empty.
    pub fn load_linked(
        &mut self,
        program: &Program,
        others: &[&Program],
        slots: &[MapSlots],
        options: &LoadOptions,
    ) -> Result<(LoadOutcome, Option<Loaded>), KernelError> {
        let (outcome, loaded) = self.load(program, options)?;
        let Some(mut loaded) = loaded else { return Ok((outcome, None)) };
        let mut programs: HashMap<&str, Option<OwnedFd>> = HashMap::new();
        let mut filled = BTreeSet::new();
        // A program put into a slot may bring maps of its own.
        while let Some(index) = loaded.maps.keys().copied().find(|i| !filled.contains(i)) {
            filled.insert(index);
            for (key, slot) in slots.get(index).map_or(&[][..], Vec::as_slice) {
                let fd = match slot {
                    Slot::Map(inner) => Some(self.map_fd(program, *inner, &mut loaded)?),
                    Slot::Program(name) => {
                        if !programs.contains_key(name.as_str()) {
                            let fd = self.other(others, name, options, &mut loaded)?;
                            programs.insert(name, fd);
                        }
                        programs.get(name.as_str()).and_then(Option::as_ref).map(AsRawFd::as_raw_fd)
                    }
                };
                let (Some(fd), Some(map)) = (fd, loaded.maps.get(&index)) else { continue };
                sys::map_update(
                    map.fd.as_raw_fd() as u32,
                    &key.to_ne_bytes(),
                    &fd.to_ne_bytes(),
                    0,
                )
                .map_err(|errno| {
                    let name = program.maps.get(index).map(|d| d.name.clone());
                    KernelError::Map { name: name.unwrap_or_default(), errno }
                })?;
            }
        }
        Ok((outcome, Some(loaded)))
    }

    fn map_fd(
        &mut self,
        program: &Program,
        index: usize,
        loaded: &mut Loaded,
    ) -> Result<i32, KernelError> {
        let btf_fd = self.btf_fd(program)?;
        maps::create_one(program, index, btf_fd, &mut loaded.maps)?;
        let map = loaded.maps.get(&index);
        map.map(|m| m.fd.as_raw_fd()).ok_or_else(|| maps::no_map(index))
    }

    /// Another program of the object, on the same maps.
    fn other(
        &mut self,
        others: &[&Program],
        name: &str,
        options: &LoadOptions,
        loaded: &mut Loaded,
    ) -> Result<Option<OwnedFd>, KernelError> {
        let Some(program) = others.iter().find(|p| p.name == name) else { return Ok(None) };
        let mut maps = std::mem::take(&mut loaded.maps);
        let result = self.load_on(program, options, &mut maps);
        loaded.maps = maps;
        result.map(|(_, fd)| fd)
    }
}
