//! Faults that tests can switch on in another crate, to see whether an oracle would notice them.

/// Makes `Mutation`, one variant a fault, with `ALL`, `activate` and `has`.
///
/// Only with the feature `mutations` of the crate that asks can one be switched on; without it every question is
/// answered no at compile time.
#[macro_export]
macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A fault, named by what it is known as or by what it does.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u32)]
        pub enum Mutation {
            $($(#[$doc])* $name,)*
        }

        impl Mutation {
            pub const ALL: &'static [Mutation] = &[$(Mutation::$name,)*];
        }

        /// The one that is on, counted from 1; 0 is none.
        #[cfg(feature = "mutations")]
        static ACTIVE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

        /// Switches one on for the whole process, and the others off.
        #[cfg(feature = "mutations")]
        pub fn activate(m: Option<Mutation>) {
            ACTIVE.store(m.map_or(0, |m| m as u32 + 1), std::sync::atomic::Ordering::SeqCst);
        }

        /// True if this fault is to be made.
        #[inline(always)]
        pub fn has(m: Mutation) -> bool {
            #[cfg(feature = "mutations")]
            return ACTIVE.load(std::sync::atomic::Ordering::Relaxed) == m as u32 + 1;
            #[cfg(not(feature = "mutations"))]
            {
                let _ = m;
                false
            }
        }
    };
}
