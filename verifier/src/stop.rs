//! How an analysis ends early.

/// A kernel error number, positive (`EINVAL` is 22).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident = $n:literal,)*) => {
        impl Errno {
            $($(#[$doc])* pub const $name: Errno = Errno($n);)*
        }
    };
}

errnos! {
    EPERM = 1,
    ENOENT = 2,
    E2BIG = 7,
    EBADF = 9,
    EAGAIN = 11,
    ENOMEM = 12,
    EACCES = 13,
    EFAULT = 14,
    EBUSY = 16,
    EEXIST = 17,
    EINVAL = 22,
    ENOSPC = 28,
    ERANGE = 34,
    ELOOP = 40,
    EPROTO = 71,
    EOPNOTSUPP = 95,
    /// Kernel-internal, but it reaches user space from the verifier.
    ENOTSUPP = 524,
}

/// Why a room gave up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The kernel rejects here; what it says has been written to the log.
    Reject(Errno),
    /// We cannot judge: names what is missing.
    Unsupported(Box<str>),
}

impl Stop {
    pub fn unsupported(what: impl Into<String>) -> Stop {
        Stop::Unsupported(what.into().into_boxed_str())
    }
}

impl From<Errno> for Stop {
    fn from(e: Errno) -> Stop {
        Stop::Reject(e)
    }
}

/// Result of a check: most rooms return this.  `Err(Errno::EACCES.into())` after [`crate::verbose!`].
pub type Check<T = ()> = Result<T, Stop>;
