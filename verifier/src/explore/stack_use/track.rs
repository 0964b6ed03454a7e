//! Where a value that derives from frame pointers may point (`struct arg_track`).

/// Offsets kept apart (`MAX_ARG_OFFSETS`).
const MOST: usize = 4;

/// Byte offsets from a frame pointer, ascending; unused places are zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Offsets {
    count: u8,
    off: [i16; MOST],
}

impl Offsets {
    pub fn single(off: i16) -> Offsets {
        Offsets { count: 1, off: [off, 0, 0, 0] }
    }

    /// None known: anywhere in the frame.
    pub const ANY: Offsets = Offsets { count: 0, off: [0; MOST] };

    pub fn as_slice(&self) -> &[i16] {
        &self.off[..self.count as usize]
    }

    pub fn is_any(&self) -> bool {
        self.count == 0
    }

    /// All moved by `delta`; anywhere if one does not fit (`arg_padd`).
    pub fn moved(self, delta: i64) -> Offsets {
        let mut moved = self;
        for o in &mut moved.off[..self.count as usize] {
            match add(*o, delta) {
                Some(sum) => *o = sum,
                None => return Offsets::ANY,
            }
        }
        moved
    }

    /// Those of both, anywhere if there are too many (`arg_merge_offsets`).
    fn merged(self, o: Offsets) -> Offsets {
        let (a, b) = (self.as_slice(), o.as_slice());
        let (mut i, mut j) = (0, 0);
        let mut out = Offsets::ANY;
        while i < a.len() || j < b.len() {
            let v = match (a.get(i), b.get(j)) {
                (Some(x), Some(y)) if x <= y => {
                    i += 1;
                    if x == y {
                        j += 1;
                    }
                    *x
                }
                (Some(x), None) => {
                    i += 1;
                    *x
                }
                (_, Some(y)) => {
                    j += 1;
                    *y
                }
                (None, None) => break,
            };
            if out.as_slice().last() == Some(&v) {
                continue;
            }
            if out.count as usize >= MOST {
                return Offsets::ANY;
            }
            out.off[out.count as usize] = v;
            out.count += 1;
        }
        out
    }
}

/// `off + delta`, if it fits (`arg_add`).
pub fn add(off: i16, delta: i64) -> Option<i16> {
    off.checked_add(i16::try_from(delta).ok()?)
}

/// What a register or stack slot may point to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Track {
    /// Not reached yet.
    Unvisited,
    /// Nothing that derives from a frame pointer.
    None,
    /// Into one of these frames, bit per depth.
    Imprecise(u16),
    /// Into the frame of this depth.
    Frame(u8, Offsets),
}

impl Track {
    /// The frame pointer of this depth, moved.
    pub fn frame(depth: usize, off: i16) -> Track {
        Track::Frame(depth as u8, Offsets::single(off))
    }

    pub fn is_visited(self) -> bool {
        self != Track::Unvisited
    }

    /// Offsets if the frame is known; anywhere otherwise.
    pub fn offsets(self) -> Offsets {
        match self {
            Track::Frame(_, o) => o,
            _ => Offsets::ANY,
        }
    }

    /// May point into a frame (`arg_is_fp`).
    pub fn is_fp(self) -> bool {
        matches!(self, Track::Frame(..) | Track::Imprecise(_))
    }

    /// May point into the frame of this depth, the register the frame pointer aside (`can_be_local_fp`).
    pub fn may_be_local(self, depth: usize) -> bool {
        match self {
            Track::Frame(f, _) => f as usize == depth,
            Track::Imprecise(mask) => mask >> depth & 1 != 0,
            _ => false,
        }
    }

    /// At a merge point (`__arg_track_join`).
    pub fn join(self, o: Track) -> Track {
        match (self, o) {
            (a, Track::Unvisited) => a,
            (Track::Unvisited, b) => b,
            (Track::Frame(f, a), Track::Frame(g, b)) if f == g => {
                Track::Frame(f, if a.is_any() || b.is_any() { Offsets::ANY } else { a.merged(b) })
            }
            (Track::None, Track::None) => Track::None,
            // A null pointer beside one constant address: as if the offset might be zero.
            (Track::Frame(f, a), Track::None) | (Track::None, Track::Frame(f, a)) => {
                let alone = a.as_slice().len() == 1;
                Track::Frame(f, if alone { a.merged(Offsets::single(0)) } else { a })
            }
            (a, b) => a.join_imprecise(b),
        }
    }

    fn frames(self) -> u16 {
        match self {
            Track::Frame(f, _) => 1 << f,
            Track::Imprecise(mask) => mask,
            _ => 0,
        }
    }

    fn join_imprecise(self, o: Track) -> Track {
        Track::Imprecise(self.frames() | o.frames())
    }

    /// 64-bit arithmetic of two registers (`arg_track_alu64`).
    pub fn combined(self, src: Track) -> Track {
        match (self, src) {
            (Track::Frame(f, _), Track::None) => Track::Frame(f, Offsets::ANY),
            (Track::Frame(f, _), Track::Frame(g, _)) if f == g => Track::Frame(f, Offsets::ANY),
            (Track::None, Track::Frame(f, _)) => Track::Frame(f, Offsets::ANY),
            (Track::None, Track::None) => Track::None,
            (a, b) => a.join_imprecise(b),
        }
    }
}
