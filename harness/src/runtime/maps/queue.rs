//! Queue and stack.

use std::collections::VecDeque;

use super::*;

pub struct Queue {
    items: VecDeque<Vec<u8>>,
    value_size: usize,
    max: usize,
    is_stack: bool,
}

impl Queue {
    pub fn new(shape: &Shape) -> Result<Queue, i64> {
        if shape.max_entries == 0 || shape.key_size != 0 || shape.value_size == 0 {
            return Err(errno::EINVAL);
        }
        Ok(Queue {
            items: VecDeque::new(),
            value_size: shape.value_size as usize,
            max: shape.max_entries as usize,
            is_stack: shape.map_type == MapType::Stack,
        })
    }

    pub fn push(&mut self, value: &[u8], flags: u64) -> i64 {
        if flags & NOEXIST != 0 || flags > EXIST {
            return -errno::EINVAL;
        }
        if self.items.len() >= self.max {
            if flags & EXIST == 0 {
                return -errno::E2BIG;
            }
            self.items.pop_front();
        }
        let mut item = value.to_vec();
        item.resize(self.value_size, 0);
        self.items.push_back(item);
        0
    }

    pub fn pop(&mut self, out: &mut [u8], keep: bool) -> i64 {
        let next = if self.is_stack { self.items.back() } else { self.items.front() };
        let Some(next) = next else {
            out.fill(0);
            return -errno::ENOENT;
        };
        copy_range(out, next, 0, self.value_size);
        if !keep {
            if self.is_stack {
                self.items.pop_back();
            } else {
                self.items.pop_front();
            }
        }
        0
    }

    pub fn items(&self) -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = self.items.iter().cloned().collect();
        if self.is_stack {
            all.reverse();
        }
        all
    }
}
