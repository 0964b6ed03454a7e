//! The deepest stack along any chain of calls (`check_max_stack_depth`).

use crate::env::Env;
use crate::stop::{Check, Stop};

pub fn check_max_stack_depth(env: &mut Env<'_>) -> Check {
    if env.subprogs.len() > 1 {
        return Err(Stop::unsupported("stack depth over subprograms"));
    }
    Ok(())
}
