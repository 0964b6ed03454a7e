//! Timers and work queues: their state, and callbacks that were started.
//!
//! In the kernel a callback runs some time after it was started, on its own.
//! Here no time passes within a run and nothing runs beside the program: a
//! started callback stays pending, which is what a program sees whose run ends
//! before the first expiry.  Mirrors the states and error numbers of
//! `__bpf_async_init` and its users (kernel/bpf/helpers.c).

use std::collections::BTreeMap;

use super::maps::errno::{EBUSY, EINVAL};

/// One timer or work queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Async {
    /// Address of the map whose value holds it.
    pub map: u64,
    /// Function to call; 0 before it is set.
    pub callback: u64,
    /// Delay of a pending start, in ns; 0 for work.
    pub pending: Option<u64>,
}

/// All of them, by the address of their field.
#[derive(Default, Debug)]
pub struct Asyncs(BTreeMap<u64, Async>);

impl Asyncs {
    /// 0, or EBUSY where it is initialised already.
    pub fn init(&mut self, at: u64, map: u64) -> i64 {
        if self.0.contains_key(&at) {
            return -EBUSY;
        }
        self.0.insert(at, Async { map, ..Async::default() });
        0
    }

    pub fn set_callback(&mut self, at: u64, callback: u64) -> i64 {
        let Some(a) = self.0.get_mut(&at) else { return -EINVAL };
        a.callback = callback;
        0
    }

    pub fn start(&mut self, at: u64, delay: u64) -> i64 {
        match self.0.get_mut(&at) {
            Some(a) if a.callback != 0 => {
                a.pending = Some(delay);
                0
            }
            _ => -EINVAL,
        }
    }

    /// 1 where a callback was pending.
    pub fn cancel(&mut self, at: u64) -> i64 {
        let Some(a) = self.0.get_mut(&at) else { return -EINVAL };
        a.callback = 0;
        i64::from(a.pending.take().is_some())
    }

    /// The value that held it is gone.
    pub fn forget(&mut self, at: u64) {
        self.0.remove(&at);
    }

    /// Those whose callback was started.
    pub fn pending(&self) -> impl Iterator<Item = (u64, &Async)> {
        self.0.iter().filter(|(_, a)| a.pending.is_some()).map(|(at, a)| (*at, a))
    }
}
