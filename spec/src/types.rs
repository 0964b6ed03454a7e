//! Register, argument and return types of the verifier: a base type plus flags
//! (`enum bpf_reg_type`, `bpf_arg_type`, `bpf_return_type`, `bpf_type_flag` in `include/linux/bpf.h`).

use std::ops::{BitAnd, BitOr, BitOrAssign, Not};

/// Bits of a type word that hold the base type (`BPF_BASE_TYPE_BITS`).
pub const BASE_TYPE_BITS: u32 = 8;
const BASE_MASK: u32 = (1 << BASE_TYPE_BITS) - 1;

/// Modifier flags, shared by the three kinds of type word (`enum bpf_type_flag`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct TypeFlags(pub u32);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal,)*) => {
        impl TypeFlags {
            $($(#[$doc])* pub const $name: TypeFlags = TypeFlags(1 << ($bit + BASE_TYPE_BITS));)*

            /// Every flag with its kernel name, ascending.
            pub const NAMES: &'static [(&'static str, TypeFlags)] = &[$((stringify!($name), TypeFlags::$name),)*];
        }
    };
}

flags! {
    PTR_MAYBE_NULL = 0,
    MEM_RDONLY = 1,
    MEM_RINGBUF = 2,
    MEM_USER = 3,
    MEM_PERCPU = 4,
    /// The argument will be released by the call.
    OBJ_RELEASE = 5,
    PTR_UNTRUSTED = 6,
    MEM_UNINIT = 7,
    DYNPTR_TYPE_LOCAL = 8,
    DYNPTR_TYPE_RINGBUF = 9,
    /// The size stands in the prototype.
    MEM_FIXED_SIZE = 10,
    MEM_ALLOC = 11,
    PTR_TRUSTED = 12,
    MEM_RCU = 13,
    NON_OWN_REF = 14,
    DYNPTR_TYPE_SKB = 15,
    DYNPTR_TYPE_XDP = 16,
    MEM_ALIGNED = 17,
    MEM_WRITE = 18,
    DYNPTR_TYPE_SKB_META = 19,
    DYNPTR_TYPE_FILE = 20,
}

impl TypeFlags {
    pub const NONE: TypeFlags = TypeFlags(0);
    /// `DYNPTR_TYPE_FLAG_MASK`.
    pub const DYNPTR_TYPE_MASK: TypeFlags = TypeFlags(
        Self::DYNPTR_TYPE_LOCAL.0
            | Self::DYNPTR_TYPE_RINGBUF.0
            | Self::DYNPTR_TYPE_SKB.0
            | Self::DYNPTR_TYPE_XDP.0
            | Self::DYNPTR_TYPE_SKB_META.0
            | Self::DYNPTR_TYPE_FILE.0,
    );

    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True if any flag of `other` is set.
    #[inline]
    pub const fn intersects(self, other: TypeFlags) -> bool {
        self.0 & other.0 != 0
    }

    /// By the kernel's constant name (`PTR_MAYBE_NULL`).
    pub fn from_name(name: &str) -> Option<TypeFlags> {
        Self::NAMES.iter().find(|(n, _)| *n == name).map(|(_, f)| *f)
    }
}

impl BitOr for TypeFlags {
    type Output = TypeFlags;
    #[inline]
    fn bitor(self, o: TypeFlags) -> TypeFlags {
        TypeFlags(self.0 | o.0)
    }
}
impl BitOrAssign for TypeFlags {
    #[inline]
    fn bitor_assign(&mut self, o: TypeFlags) {
        self.0 |= o.0;
    }
}
impl BitAnd for TypeFlags {
    type Output = TypeFlags;
    #[inline]
    fn bitand(self, o: TypeFlags) -> TypeFlags {
        TypeFlags(self.0 & o.0)
    }
}
impl Not for TypeFlags {
    type Output = TypeFlags;
    #[inline]
    fn not(self) -> TypeFlags {
        TypeFlags(!self.0)
    }
}

macro_rules! type_word {
    ($(#[$doc:meta])* $name:ident, $base:ident, { $($(#[$vdoc:meta])* $variant:ident = $num:literal $kernel:literal,)* }) => {
        /// Base part of the type word of the same name.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum $base { $($(#[$vdoc])* $variant = $num,)* }

        impl $base {
            /// The kernel's constant.
            pub fn kernel_name(self) -> &'static str {
                match self { $($base::$variant => $kernel,)* }
            }
        }

        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(transparent)]
        pub struct $name(u32);

        impl $name {
            /// A base type without flags.
            #[inline]
            pub const fn of(base: $base) -> $name {
                $name(base as u32)
            }

            /// A base type with flags.
            #[inline]
            pub const fn with(base: $base, flags: TypeFlags) -> $name {
                $name(base as u32 | flags.0)
            }

            #[inline]
            pub const fn base(self) -> $base {
                match (self.0 & BASE_MASK) as u8 {
                    $($num => $base::$variant,)*
                    _ => unreachable!(),
                }
            }

            #[inline]
            pub const fn flags(self) -> TypeFlags {
                TypeFlags(self.0 & !BASE_MASK)
            }

            /// True if any flag of `f` is set.
            #[inline]
            pub const fn has(self, f: TypeFlags) -> bool {
                self.0 & f.0 != 0
            }

            /// This type with the flags of `f` added.
            #[inline]
            pub const fn plus(self, f: TypeFlags) -> $name {
                $name(self.0 | f.0)
            }

            /// This type with the flags of `f` removed.
            #[inline]
            pub const fn minus(self, f: TypeFlags) -> $name {
                $name(self.0 & !f.0)
            }

            #[inline]
            pub const fn may_be_null(self) -> bool {
                self.has(TypeFlags::PTR_MAYBE_NULL)
            }

            /// The whole word, as the kernel compares it.
            #[inline]
            pub const fn word(self) -> u32 {
                self.0
            }
        }

        impl From<$base> for $name {
            #[inline]
            fn from(b: $base) -> $name {
                $name::of(b)
            }
        }

        impl PartialEq<$base> for $name {
            /// Equal only without flags, as in the kernel (`type == PTR_TO_CTX`).
            #[inline]
            fn eq(&self, b: &$base) -> bool {
                self.0 == *b as u32
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.base().kernel_name())?;
                for (name, flag) in TypeFlags::NAMES {
                    if self.has(*flag) {
                        write!(f, " | {name}")?;
                    }
                }
                Ok(())
            }
        }
    };
}

type_word! {
    /// What a register holds (`enum bpf_reg_type`).
    RegType, RegBase, {
        NotInit = 0 "NOT_INIT",
        Scalar = 1 "SCALAR_VALUE",
        Ctx = 2 "PTR_TO_CTX",
        ConstMapPtr = 3 "CONST_PTR_TO_MAP",
        MapValue = 4 "PTR_TO_MAP_VALUE",
        MapKey = 5 "PTR_TO_MAP_KEY",
        Stack = 6 "PTR_TO_STACK",
        PacketMeta = 7 "PTR_TO_PACKET_META",
        Packet = 8 "PTR_TO_PACKET",
        PacketEnd = 9 "PTR_TO_PACKET_END",
        FlowKeys = 10 "PTR_TO_FLOW_KEYS",
        Socket = 11 "PTR_TO_SOCKET",
        SockCommon = 12 "PTR_TO_SOCK_COMMON",
        TcpSock = 13 "PTR_TO_TCP_SOCK",
        TpBuffer = 14 "PTR_TO_TP_BUFFER",
        XdpSock = 15 "PTR_TO_XDP_SOCK",
        BtfId = 16 "PTR_TO_BTF_ID",
        Mem = 17 "PTR_TO_MEM",
        Arena = 18 "PTR_TO_ARENA",
        Buf = 19 "PTR_TO_BUF",
        Func = 20 "PTR_TO_FUNC",
        ConstDynptr = 21 "CONST_PTR_TO_DYNPTR",
        Insn = 22 "PTR_TO_INSN",
    }
}

type_word! {
    /// What a helper or global function expects (`enum bpf_arg_type`).
    ArgType, ArgBase, {
        DontCare = 0 "ARG_DONTCARE",
        ConstMapPtr = 1 "ARG_CONST_MAP_PTR",
        MapKey = 2 "ARG_PTR_TO_MAP_KEY",
        MapValue = 3 "ARG_PTR_TO_MAP_VALUE",
        Mem = 4 "ARG_PTR_TO_MEM",
        Arena = 5 "ARG_PTR_TO_ARENA",
        ConstSize = 6 "ARG_CONST_SIZE",
        ConstSizeOrZero = 7 "ARG_CONST_SIZE_OR_ZERO",
        Ctx = 8 "ARG_PTR_TO_CTX",
        Anything = 9 "ARG_ANYTHING",
        SpinLock = 10 "ARG_PTR_TO_SPIN_LOCK",
        SockCommon = 11 "ARG_PTR_TO_SOCK_COMMON",
        Socket = 12 "ARG_PTR_TO_SOCKET",
        BtfId = 13 "ARG_PTR_TO_BTF_ID",
        RingbufMem = 14 "ARG_PTR_TO_RINGBUF_MEM",
        ConstAllocSizeOrZero = 15 "ARG_CONST_ALLOC_SIZE_OR_ZERO",
        BtfIdSockCommon = 16 "ARG_PTR_TO_BTF_ID_SOCK_COMMON",
        PercpuBtfId = 17 "ARG_PTR_TO_PERCPU_BTF_ID",
        Func = 18 "ARG_PTR_TO_FUNC",
        Stack = 19 "ARG_PTR_TO_STACK",
        ConstStr = 20 "ARG_PTR_TO_CONST_STR",
        Timer = 21 "ARG_PTR_TO_TIMER",
        KptrXchgDest = 22 "ARG_KPTR_XCHG_DEST",
        Dynptr = 23 "ARG_PTR_TO_DYNPTR",
        Scalar = 24 "ARG_SCALAR",
    }
}

type_word! {
    /// What a helper returns (`enum bpf_return_type`).
    RetType, RetBase, {
        Integer = 0 "RET_INTEGER",
        Void = 1 "RET_VOID",
        MapValue = 2 "RET_PTR_TO_MAP_VALUE",
        Socket = 3 "RET_PTR_TO_SOCKET",
        TcpSock = 4 "RET_PTR_TO_TCP_SOCK",
        SockCommon = 5 "RET_PTR_TO_SOCK_COMMON",
        Mem = 6 "RET_PTR_TO_MEM",
        MemOrBtfId = 7 "RET_PTR_TO_MEM_OR_BTF_ID",
        BtfId = 8 "RET_PTR_TO_BTF_ID",
    }
}
