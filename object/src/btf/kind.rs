//! Kinds of type, and the view of one type record.
//!
//! Every record is a run of 32-bit words: name, info, size-or-type, then what
//! the kind adds (`struct btf_type` and followers in `include/uapi/linux/btf.h`).

use super::Btf;

/// Words of the record every kind starts with.
pub(crate) const BASE_WORDS: usize = 3;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $num:literal $kernel:literal $words:literal + $per:literal,)*) => {
        /// `BTF_KIND_*`.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[repr(u8)]
        pub enum BtfKind { $($(#[$doc])* $name = $num,)* }

        impl BtfKind {
            /// By number; 0 (void) is [`BtfKind::Unkn`].
            #[inline]
            pub const fn from_number(n: u32) -> Option<BtfKind> {
                match n { $($num => Some(BtfKind::$name),)* _ => None }
            }

            /// As the kernel's log prints it (`btf_kind_str`).
            pub const fn kernel_name(self) -> &'static str {
                match self { $(BtfKind::$name => $kernel,)* }
            }

            /// Words after the common three: fixed part, and part per `vlen`.
            pub(crate) const fn extra_words(self) -> (usize, usize) {
                match self { $(BtfKind::$name => ($words, $per),)* }
            }
        }
    };
}

kinds! {
    /// Void; never a record of its own.
    Unkn = 0 "UNKNOWN" 0 + 0,
    Int = 1 "INT" 1 + 0,
    Ptr = 2 "PTR" 0 + 0,
    Array = 3 "ARRAY" 3 + 0,
    Struct = 4 "STRUCT" 0 + 3,
    Union = 5 "UNION" 0 + 3,
    Enum = 6 "ENUM" 0 + 2,
    Fwd = 7 "FWD" 0 + 0,
    Typedef = 8 "TYPEDEF" 0 + 0,
    Volatile = 9 "VOLATILE" 0 + 0,
    Const = 10 "CONST" 0 + 0,
    Restrict = 11 "RESTRICT" 0 + 0,
    Func = 12 "FUNC" 0 + 0,
    FuncProto = 13 "FUNC_PROTO" 0 + 2,
    Var = 14 "VAR" 1 + 0,
    Datasec = 15 "DATASEC" 0 + 3,
    Float = 16 "FLOAT" 0 + 0,
    DeclTag = 17 "DECL_TAG" 1 + 0,
    TypeTag = 18 "TYPE_TAG" 0 + 0,
    Enum64 = 19 "ENUM64" 0 + 3,
}

impl BtfKind {
    /// `const`, `volatile`, `restrict`, type tag: says nothing about layout (`btf_type_is_modifier` less typedef).
    #[inline]
    pub const fn is_modifier(self) -> bool {
        matches!(self, BtfKind::Volatile | BtfKind::Const | BtfKind::Restrict | BtfKind::TypeTag)
    }

    /// Struct or union.
    #[inline]
    pub const fn is_composite(self) -> bool {
        matches!(self, BtfKind::Struct | BtfKind::Union)
    }

    /// Enum of either width.
    #[inline]
    pub const fn is_any_enum(self) -> bool {
        matches!(self, BtfKind::Enum | BtfKind::Enum64)
    }

    /// True if the third word is a type id rather than a size.
    #[inline]
    pub const fn refers(self) -> bool {
        matches!(
            self,
            BtfKind::Ptr
                | BtfKind::Typedef
                | BtfKind::Volatile
                | BtfKind::Const
                | BtfKind::Restrict
                | BtfKind::Func
                | BtfKind::FuncProto
                | BtfKind::Var
                | BtfKind::DeclTag
                | BtfKind::TypeTag
        )
    }
}

/// Linkage of FUNC (`BTF_FUNC_*`) and VAR (`BTF_VAR_*`): static 0, global 1, extern 2.
pub mod linkage {
    pub const STATIC: u32 = 0;
    pub const GLOBAL: u32 = 1;
    pub const EXTERN: u32 = 2;
}

/// Encoding bits of INT.
pub mod int_encoding {
    pub const SIGNED: u8 = 1;
    pub const CHAR: u8 = 2;
    pub const BOOL: u8 = 4;
}

/// One type of a [`Btf`], by reference; copy it freely.
///
/// Accessors for parts a kind does not have give 0 or nothing, never a panic.
#[derive(Clone, Copy)]
pub struct Type<'a> {
    pub(super) btf: &'a Btf,
    pub(super) id: u32,
    pub(super) words: &'a [u32],
}

/// INT's extra word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IntData {
    /// [`int_encoding`] bits.
    pub encoding: u8,
    /// Bit offset inside the storage unit; 0 in all modern BTF.
    pub offset: u8,
    /// Width in bits.
    pub bits: u8,
}

/// ARRAY's three extra words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArrayData {
    pub elem: u32,
    pub index: u32,
    pub nelems: u32,
}

/// Member of a struct or union.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    pub name_off: u32,
    pub type_id: u32,
    /// From the start of the struct, in bits.
    pub bit_offset: u32,
    /// Width in bits of a bitfield written with the kind flag, else 0.
    pub bitfield_size: u8,
}

impl Member {
    /// Byte offset; rounds down for bitfields.
    #[inline]
    pub fn byte_offset(&self) -> u32 {
        self.bit_offset / 8
    }
}

/// Parameter of a FUNC_PROTO; type 0 in the last place means variadic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Param {
    pub name_off: u32,
    pub type_id: u32,
}

/// Enumerator; the value is sign-extended if the enum is signed, else zero-extended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Enumerator {
    pub name_off: u32,
    pub value: i64,
}

/// Variable of a DATASEC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VarSecinfo {
    /// VAR, or FUNC in `.ksyms`.
    pub type_id: u32,
    /// Byte offset in the section.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
}

impl<'a> Type<'a> {
    /// The BTF this was looked up in (for a type of its base too).
    #[inline]
    pub fn btf(self) -> &'a Btf {
        self.btf
    }

    #[inline]
    pub fn id(self) -> u32 {
        self.id
    }

    #[inline]
    fn word(self, i: usize) -> u32 {
        self.words.get(i).copied().unwrap_or(0)
    }

    /// Void (id 0) is [`BtfKind::Unkn`].
    #[inline]
    pub fn kind(self) -> BtfKind {
        BtfKind::from_number((self.word(1) >> 24) & 0x1f).unwrap_or(BtfKind::Unkn)
    }

    /// Number of members, parameters, enumerators or variables.
    #[inline]
    pub fn vlen(self) -> usize {
        (self.word(1) & 0xffff) as usize
    }

    /// Kind flag: bitfields in a struct, a union in FWD, signed in an enum.
    #[inline]
    pub fn kflag(self) -> bool {
        self.word(1) >> 31 != 0
    }

    /// The info word as stored.
    #[inline]
    pub fn info(self) -> u32 {
        self.word(1)
    }

    #[inline]
    pub fn name_off(self) -> u32 {
        self.word(0)
    }

    /// Name, "" if it has none.
    pub fn name(self) -> &'a str {
        self.btf.str(self.name_off())
    }

    /// Third word as a size in bytes; 0 where it is a type.
    #[inline]
    pub fn size(self) -> u32 {
        if self.kind().refers() {
            0
        } else {
            self.word(2)
        }
    }

    /// Third word as a type id (pointee, aliased type, return type of a FUNC_PROTO …); 0 where it is a size.
    #[inline]
    pub fn type_id(self) -> u32 {
        if self.kind().refers() {
            self.word(2)
        } else {
            0
        }
    }

    /// What [`Type::type_id`] names.
    #[inline]
    pub fn target(self) -> Option<Type<'a>> {
        self.btf.ty(self.type_id())
    }

    #[inline]
    pub fn is_void(self) -> bool {
        self.id == 0
    }

    pub fn int(self) -> Option<IntData> {
        (self.kind() == BtfKind::Int).then(|| {
            let w = self.word(3);
            IntData { encoding: (w >> 24 & 0xf) as u8, offset: (w >> 16) as u8, bits: w as u8 }
        })
    }

    pub fn array(self) -> Option<ArrayData> {
        (self.kind() == BtfKind::Array).then(|| ArrayData {
            elem: self.word(3),
            index: self.word(4),
            nelems: self.word(5),
        })
    }

    /// Linkage of FUNC or VAR, see [`linkage`].
    pub fn linkage(self) -> u32 {
        match self.kind() {
            BtfKind::Func => self.word(1) & 0xffff,
            BtfKind::Var => self.word(3),
            _ => 0,
        }
    }

    /// DECL_TAG: -1 for the type itself, else index of the member or parameter.
    pub fn component_idx(self) -> i32 {
        match self.kind() {
            BtfKind::DeclTag => self.word(3) as i32,
            _ => -1,
        }
    }

    /// `N`-word records after the common part, if the kind is one of `kinds`.
    #[inline]
    fn rows<const N: usize>(
        self,
        has: bool,
    ) -> impl ExactSizeIterator<Item = [u32; N]> + DoubleEndedIterator + Clone + 'a {
        let words: &'a [u32] = if has { self.words.get(BASE_WORDS..).unwrap_or(&[]) } else { &[] };
        words.chunks_exact(N).map(|c| std::array::from_fn(|i| c[i]))
    }

    /// Members of a struct or union, in declaration order.
    pub fn members(
        self,
    ) -> impl ExactSizeIterator<Item = Member> + DoubleEndedIterator + Clone + 'a {
        let kflag = self.kflag();
        self.rows::<3>(self.kind().is_composite()).map(move |[name_off, type_id, off]| Member {
            name_off,
            type_id,
            bit_offset: if kflag { off & 0x00ff_ffff } else { off },
            bitfield_size: if kflag { (off >> 24) as u8 } else { 0 },
        })
    }

    pub fn member(self, index: usize) -> Option<Member> {
        self.members().nth(index)
    }

    /// Parameters of a FUNC_PROTO.
    pub fn params(self) -> impl ExactSizeIterator<Item = Param> + DoubleEndedIterator + Clone + 'a {
        self.rows::<2>(self.kind() == BtfKind::FuncProto)
            .map(|[name_off, type_id]| Param { name_off, type_id })
    }

    /// Enumerators of ENUM and ENUM64.
    pub fn enumerators(self) -> Box<dyn Iterator<Item = Enumerator> + 'a> {
        let signed = self.kflag();
        match self.kind() {
            BtfKind::Enum => Box::new(self.rows::<2>(true).map(move |[name_off, v]| Enumerator {
                name_off,
                value: if signed { v as i32 as i64 } else { v as i64 },
            })),
            BtfKind::Enum64 => Box::new(self.rows::<3>(true).map(|[name_off, lo, hi]| {
                Enumerator { name_off, value: ((hi as u64) << 32 | lo as u64) as i64 }
            })),
            _ => Box::new(std::iter::empty()),
        }
    }

    /// Variables of a DATASEC.
    pub fn vars(
        self,
    ) -> impl ExactSizeIterator<Item = VarSecinfo> + DoubleEndedIterator + Clone + 'a {
        self.rows::<3>(self.kind() == BtfKind::Datasec).map(|[type_id, offset, size]| VarSecinfo {
            type_id,
            offset,
            size,
        })
    }
}

impl std::fmt::Debug for Type<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}] {} '{}'", self.id, self.kind().kernel_name(), self.name())
    }
}
