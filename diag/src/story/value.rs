//! What a printed value says: its kind, its bounds, where a pointer leads.

use crate::log::State;

/// A register's printed value, taken apart.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Value {
    /// `scalar`, `map_value_or_null`, `ctx`, `fp`, `pkt` …; `scalar` for numbers.
    pub kind: String,
    /// Offset of a stack pointer, or fixed offset of another pointer.
    pub offset: i64,
    /// Frame of a stack pointer that is not of the printing frame.
    pub frame: Option<u8>,
    pub constant: Option<i64>,
    pub smin: Option<i64>,
    pub smax: Option<i64>,
    pub umin: Option<u64>,
    pub umax: Option<u64>,
    pub smin32: Option<i64>,
    pub smax32: Option<i64>,
    pub umax32: Option<u64>,
    /// Bits that `var_off` leaves open.
    pub unknown: Option<u64>,
    pub id: Option<String>,
    /// Bytes of a packet that are proven, size of a map value or of memory.
    pub range: Option<i64>,
    pub size: Option<u64>,
    pub map: Option<String>,
}

impl Value {
    pub fn parse(text: &str) -> Value {
        // Slot types may stand before a spilled value of older kernels; `P` marks precision.
        let whole = format!("R0={text}");
        let state = State::parse(&whole);
        let Some(entry) = state.entries.first() else { return Value::default() };
        let mut v = Value::default();
        let head = entry.head.trim_start_matches("inv").trim_start_matches('P');
        if let Some(n) = number(head).or_else(|| number(entry.head)) {
            v.kind = "scalar".into();
            v.constant = Some(n);
            (v.smin, v.smax) = (Some(n), Some(n));
            (v.umin, v.umax) = (Some(n as u64), Some(n as u64));
            return v;
        }
        v.kind = kind(entry.head);
        if let Some(at) = entry.head.strip_prefix("fp") {
            let (frame, off) = match at.strip_prefix('[').and_then(|r| r.split_once(']')) {
                Some((f, off)) => (f.parse().ok(), off),
                None => (None, at),
            };
            v.frame = frame;
            v.offset = off.split(',').next().and_then(|o| o.parse().ok()).unwrap_or(0);
        }
        for f in &entry.fields {
            v.field(f.name, f.value);
        }
        v
    }

    fn field(&mut self, name: &str, text: &str) {
        let signed = number(text);
        let unsigned = unsigned(text);
        match name {
            "off" => self.offset = signed.unwrap_or(self.offset),
            "imm" if self.kind == "scalar" && self.constant.is_none() => {}
            "smin" | "smin_value" => self.smin = signed,
            "smax" | "smax_value" => self.smax = signed,
            "umin" | "umin_value" => self.umin = unsigned,
            "umax" | "umax_value" => self.umax = unsigned,
            "smin32" | "s32_min" | "s32_min_value" => self.smin32 = signed,
            "smax32" | "s32_max" | "s32_max_value" => self.smax32 = signed,
            "umax32" | "u32_max" | "u32_max_value" => self.umax32 = unsigned,
            "id" => self.id = Some(text.to_string()).filter(|t| t != "0"),
            "r" => self.range = signed,
            "vs" | "sz" | "mem_size" => self.size = unsigned,
            "map" => self.map = Some(text.to_string()),
            "var_off" => {
                let mask = text.trim_end_matches(')').rsplit("; ").next();
                self.unknown = mask.and_then(crate::story::value::unsigned);
            }
            _ => {}
        }
    }

    pub fn is_scalar(&self) -> bool {
        self.kind == "scalar"
    }

    pub fn is_pointer(&self) -> bool {
        !self.kind.is_empty() && !self.is_scalar()
    }

    /// Greatest value as an unsigned number, where it is bounded.
    pub fn most(&self) -> Option<u64> {
        let by_bits = self.unknown.filter(|u| *u != u64::MAX).map(|u| u | self.umin.unwrap_or(0));
        self.umax.or(match self.smax {
            Some(m) if m >= 0 && self.smin.is_some_and(|s| s >= 0) => Some(m as u64),
            _ => by_bits,
        })
    }

    /// Least value as a signed number, where it is known.
    pub fn least(&self) -> Option<i64> {
        self.smin.or_else(|| match (self.umax, self.umin) {
            (Some(m), l) if m <= i64::MAX as u64 => Some(l.unwrap_or(0) as i64),
            _ => self.unknown.filter(|u| *u <= i64::MAX as u64).map(|_| 0),
        })
    }

    /// True if the pointer's offset is a constant.
    pub fn is_fixed(&self) -> bool {
        self.smax.is_none() && self.umax.is_none() && self.unknown.is_none()
    }
}

fn kind(head: &str) -> String {
    let head = head.trim_start_matches('P');
    let plain = head.starts_with("inv") || head.starts_with("scalar") || head.is_empty();
    if plain || head == "unknown" {
        return "scalar".into();
    }
    if head.starts_with("fp") {
        return "fp".into();
    }
    head.to_string()
}

fn number(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().map(|n| n as i64);
    }
    if let Some(hex) = text.strip_prefix("-0x") {
        return i64::from_str_radix(hex, 16).ok().map(|n| -n);
    }
    text.parse().ok().or_else(|| text.parse::<u64>().ok().map(|n| n as i64))
}

fn unsigned(text: &str) -> Option<u64> {
    number(text).map(|n| n as u64)
}

#[cfg(test)]
mod tests {
    use super::Value;

    #[test]
    fn values_of_all_eras() {
        let v = Value::parse(
            "scalar(id=2,smin=0,smax=umax=0xffffffff,smax32=511,var_off=(0x0; 0xffffffff))",
        );
        assert_eq!((v.least(), v.most(), v.smax32), (Some(0), Some(0xffff_ffff), Some(511)));
        let v = Value::parse("inv(id=0,umax_value=255,var_off=(0x0; 0xff))");
        assert!(v.is_scalar());
        assert_eq!((v.least(), v.most()), (Some(0), Some(255)));
        assert_eq!(Value::parse("invP32").constant, Some(32));
        assert_eq!(Value::parse("P7").constant, Some(7));
        assert_eq!(Value::parse("-4").constant, Some(-4));
        assert_eq!(Value::parse("fp-16").offset, -16);
        let v = Value::parse("fp[1]-16");
        assert_eq!((v.kind.as_str(), v.frame, v.offset), ("fp", Some(1), -16));
        let v = Value::parse("pkt(id=3,off=14,r=34,umax=60,var_off=(0x0; 0x3c))");
        assert_eq!((v.range, v.offset, v.is_fixed()), (Some(34), 14, false));
        assert!(Value::parse("map_value_or_null(id=1,map=m,ks=4,vs=8)").is_pointer());
        assert_eq!(Value::parse("scalar()").most(), None);
    }
}
