//! The older tests, `verifier/*.c`: arrays of C initialisers that `test_verifier.c` includes.
//!
//! The person's own file is compiled with [`SHIM`] around it, which prints what it would have loaded; this module
//! turns the print into programs.

use std::collections::HashMap;
use std::fs;
use std::process::Command;
use std::sync::Arc;

use bpfassay_isa::opcode::{PSEUDO_KFUNC_CALL, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE};
use bpfassay_isa::RawInsn;
use bpfassay_object::btf::{Btf, BtfKind};
use bpfassay_object::model::{AttachTarget, FuncInfo, KernelBtfRef, MapDef, ProgFlags, Program};
use bpfassay_spec::{AttachType, MapType, ProgType};

use super::tree::Tree;

const SHIM: &str = include_str!("arrays.c");

/// One element of the array.
#[derive(Clone, Debug)]
pub struct ArrayTest {
    /// Its position in `tests[]`, which `test_verifier` prints and takes.
    pub index: usize,
    pub description: String,
    pub privileged: Said,
    /// Of a load without capabilities.
    pub unprivileged: Said,
    /// `test_verifier` loads it without capabilities too.
    pub has_unprivileged: bool,
    /// `processed N insns`, where the test says.
    pub insn_processed: Option<u32>,
    /// Result of a run on `data`; None where the test is not run or looks at several.
    pub retval: Option<u32>,
    pub data: Vec<u8>,
    pub program: Result<Program, String>,
}

/// What is to come of one way to load.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub accepts: bool,
    /// Texts that follow each other in the log; none means that the log is not looked at.
    pub messages: Vec<String>,
    pub log_level: u32,
}

impl Said {
    /// Of `ACCEPT`, `REJECT` or `VERBOSE_ACCEPT` (1 to 3).
    fn new(result: u32, messages: &str, log_level: u32) -> Said {
        let messages = messages.split('\t').filter(|m| !m.is_empty()).map(String::from);
        Said {
            accepts: result == 1 || result == 3,
            messages: if result == 1 { Vec::new() } else { messages.collect() },
            log_level: if result == 3 { 2 } else { log_level },
        }
    }
}

/// Compiles the tree's arrays and reads them; `vmlinux` resolves the functions they name.
pub fn read(tree: &Tree, vmlinux: Option<&Arc<Btf>>) -> Result<Vec<ArrayTest>, String> {
    let folder = tree.out.join("arrays");
    let at = |e: std::io::Error| format!("{}: {e}", folder.display());
    fs::create_dir_all(folder.join("verifier")).map_err(at)?;
    let mut sources: Vec<_> = fs::read_dir(tree.tests.join("verifier"))
        .map_err(|e| format!("verifier: {e}"))?
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "c"))
        .collect();
    sources.sort();
    let list: String = sources.iter().map(|s| format!("#include \"{}\"\n", s.display())).collect();
    fs::write(folder.join("verifier/tests.h"), list).map_err(at)?;
    let (shim, binary, print) =
        (folder.join("arrays.c"), folder.join("arrays"), folder.join("arrays.txt"));
    fs::write(&shim, SHIM).map_err(at)?;
    tree.compile_host(&shim, &binary)?;
    let done = Command::new(&binary).arg(&print).output().map_err(at)?;
    if !done.status.success() {
        return Err(format!("{}: {}", binary.display(), done.status));
    }
    let text = fs::read_to_string(&print).map_err(at)?;
    // Tests of a million instructions make it large.
    let _ = fs::remove_file(&print);
    parse(&text, vmlinux)
}

/// One test's lines as they come.
#[derive(Default)]
struct Lines<'a> {
    test: Vec<&'a str>,
    maps: Vec<Vec<&'a str>>,
    btfs: HashMap<&'a str, &'a str>,
    /// Stand-in ids of kernel functions and attach targets, and their names.
    names: HashMap<i32, String>,
    load: Option<Vec<&'a str>>,
    /// Number of runs and the result of the first.
    result: (i32, u32),
    funcs: Vec<FuncInfo>,
}

fn parse(text: &str, vmlinux: Option<&Arc<Btf>>) -> Result<Vec<ArrayTest>, String> {
    let mut tests = Vec::new();
    let mut lines: Option<Lines<'_>> = None;
    for line in text.lines() {
        let mut fields = line.split('\t');
        let what = fields.next().unwrap_or_default();
        let fields: Vec<&str> = fields.collect();
        if what == "test" {
            tests.extend(lines.take().map(|l| l.finish(tests.len(), vmlinux)).transpose()?);
            lines = Some(Lines { test: fields, ..Lines::default() });
            continue;
        }
        let l = lines.as_mut().ok_or("a line before the first test")?;
        let field = |i: usize| fields.get(i).copied().unwrap_or_default();
        match what {
            "map" => l.maps.push(fields),
            "btf" => drop(l.btfs.insert(field(0), field(1))),
            "kfunc" | "attach" => drop(l.names.insert(int(field(0))?, words(field(1))?)),
            "load" => l.load = Some(fields),
            "result" => l.result = (int(field(0))?, int(field(1))?),
            "func" => l.funcs.push(FuncInfo { insn_off: int(field(0))?, type_id: int(field(1))? }),
            other => return Err(format!("a line of kind `{other}`")),
        }
    }
    tests.extend(lines.take().map(|l| l.finish(tests.len(), vmlinux)).transpose()?);
    Ok(tests)
}

impl Lines<'_> {
    fn finish(self, index: usize, vmlinux: Option<&Arc<Btf>>) -> Result<ArrayTest, String> {
        let t = |i: usize| self.test.get(i).copied().unwrap_or_default();
        // UNDEF, ACCEPT, REJECT, VERBOSE_ACCEPT.
        let result: u32 = int(t(0))?;
        let processed: u32 = int(t(1))?;
        let (runs, retval) = self.result;
        let messages = words(t(3))?;
        let log_level = match &self.load {
            Some(load) => int(load.get(3).copied().unwrap_or_default())?,
            None => 4,
        };
        // What is not said of a load without capabilities is as for root.
        let result_unpriv = Some(int(t(5))?).filter(|r| *r != 0).unwrap_or(result);
        let messages_unpriv = match t(6) {
            "-" => messages.clone(),
            other => words(other)?,
        };
        Ok(ArrayTest {
            index,
            description: words(t(2))?,
            privileged: Said::new(result, &messages, log_level),
            unprivileged: Said::new(result_unpriv, &messages_unpriv, 4),
            has_unprivileged: t(7) == "1",
            insn_processed: Some(processed).filter(|n| *n != 0),
            retval: Some(retval).filter(|_| runs == 0 || runs == 1),
            data: bytes(t(4))?,
            program: self.program(index, vmlinux),
        })
    }

    fn program(&self, index: usize, vmlinux: Option<&Arc<Btf>>) -> Result<Program, String> {
        let load = self.load.as_ref().ok_or("the tree's own code did not load it")?;
        let l = |i: usize| load.get(i).copied().unwrap_or_default();
        let prog_type = ProgType::from_number(int(l(0))?).ok_or("unknown program type")?;
        let attach_number: u32 = int(l(1))?;
        let attach_type = AttachType::from_number(attach_number);
        let attach_btf_id: i32 = int(l(4))?;
        let (maps, map_btf) = self.maps()?;
        let own_btf = self.btf(l(5))?;
        if own_btf.is_some() && map_btf.is_some() {
            return Err("types of its own and of its maps".to_string());
        }
        let mut missing = Vec::new();
        let mut insns: Vec<RawInsn> =
            bytes(l(6))?.as_chunks::<8>().0.iter().map(|b| RawInsn::from_le_bytes(*b)).collect();
        self.name_maps(&mut insns);
        self.name_kfuncs(&mut insns, vmlinux, &mut missing);
        let attach_target = self.names.get(&attach_btf_id).map(|name| {
            let (prefix, kind) = hook(attach_type);
            let id = vmlinux.and_then(|b| b.find_by_name_kind(&format!("{prefix}{name}"), kind));
            AttachTarget {
                name: name.clone(),
                btf_id: id.unwrap_or(0),
                btf: 0,
                member: None,
                program: None,
            }
        });
        if attach_target.as_ref().is_some_and(|t| t.btf_id == 0) {
            return Err("its attach target is not in the kernel's types".to_string());
        }
        Ok(Program {
            name: String::new(),
            section: format!("tests[{index}]"),
            prog_type,
            expected_attach_type: attach_type
                .filter(|_| attach_number != 0 || attach_target.is_some()),
            attach_target,
            insns,
            license: "GPL".to_string(),
            maps: Arc::new(maps),
            btf: own_btf.or(map_btf),
            btfs: vec![KernelBtfRef::Vmlinux],
            func_info: self.funcs.clone(),
            line_info: Vec::new(),
            flags: ProgFlags::default().with_bits(int(l(2))?),
            kern_version: 0,
            subprogs: Vec::new(),
            notes: Vec::new(),
            missing,
            debug: None,
        })
    }

    /// The maps, an inner one inside its outer; and the types they share.
    fn maps(&self) -> Result<(Vec<MapDef>, Option<Arc<Btf>>), String> {
        let mut out: Vec<MapDef> = Vec::new();
        let mut types = None;
        for m in &self.maps {
            let n = |i: usize| int::<u32>(m.get(i).copied().unwrap_or_default());
            let inner: u32 = n(9)?;
            let inner = self.maps.iter().position(|o| n_of(o, 0) == Some(inner));
            let btf_fd = m.get(6).copied().unwrap_or_default();
            if let Some(b) = self.btf(btf_fd)? {
                types = Some(b);
            }
            let name = words(m.get(10).copied().unwrap_or_default())?;
            let map_type = MapType::from_number(n(1)?).ok_or("unknown map type")?;
            out.push(MapDef {
                key_size: n(2)?,
                value_size: n(3)?,
                max_entries: n(4)?,
                map_flags: n(5)?,
                btf_key_type_id: n(7)?,
                btf_value_type_id: n(8)?,
                inner: inner.and_then(|i| out.get(i).cloned()).map(Box::new),
                ..MapDef::bare(&name, &name, map_type)
            });
        }
        Ok((out, types))
    }

    fn btf(&self, fd: &str) -> Result<Option<Arc<Btf>>, String> {
        let Some(text) = self.btfs.get(fd) else { return Ok(None) };
        Btf::parse(&bytes(text)?, None).map(|b| Some(Arc::new(b))).map_err(|e| e.to_string())
    }

    /// Descriptors become indices; other numbers stay numbers.
    fn name_maps(&self, insns: &mut [RawInsn]) {
        let mut at = 0;
        while let Some(insn) = insns.get_mut(at) {
            at += 1;
            if !insn.is_ld_imm64() {
                continue;
            }
            at += 1;
            if [PSEUDO_MAP_FD, PSEUDO_MAP_VALUE].contains(&insn.src) {
                let known = self.maps.iter().position(|m| n_of(m, 0) == Some(insn.imm));
                insn.imm = known.map_or(insn.imm | i32::MIN, |i| i as i32);
            }
        }
    }

    fn name_kfuncs(
        &self,
        insns: &mut [RawInsn],
        vmlinux: Option<&Arc<Btf>>,
        missing: &mut Vec<String>,
    ) {
        for insn in insns.iter_mut().filter(|i| i.src == PSEUDO_KFUNC_CALL) {
            let Some(name) = self.names.get(&insn.imm) else { continue };
            match vmlinux {
                Some(b) => insn.imm = b.find_by_name_kind(name, BtfKind::Func).unwrap_or(0) as i32,
                None => missing.push(format!("kernel function {name}")),
            }
        }
    }
}

/// How hooks are named in the kernel's types (`btf_get_kernel_prefix_kind` of libbpf).
fn hook(attach: Option<AttachType>) -> (&'static str, BtfKind) {
    match attach {
        Some(AttachType::TraceRawTp) => ("btf_trace_", BtfKind::Typedef),
        Some(AttachType::LsmMac | AttachType::LsmCgroup) => ("bpf_lsm_", BtfKind::Func),
        Some(AttachType::TraceIter) => ("bpf_iter_", BtfKind::Func),
        _ => ("", BtfKind::Func),
    }
}

fn n_of<T: std::str::FromStr>(fields: &[&str], i: usize) -> Option<T> {
    fields.get(i)?.parse().ok()
}

fn int<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is not the number that should be here"))
}

fn bytes(hex: &str) -> Result<Vec<u8>, String> {
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    let all: Option<Vec<u8>> =
        pairs.iter().map(|[hi, lo]| Some(digit(*hi)? << 4 | digit(*lo)?)).collect();
    all.filter(|_| rest.is_empty()).ok_or_else(|| "not hexadecimal".to_string())
}

fn words(hex: &str) -> Result<String, String> {
    Ok(String::from_utf8_lossy(&bytes(hex)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::parse;

    /// `tab-separated` of the print, with texts in hexadecimal.
    fn print(load: &str) -> String {
        let hex = |s: &str| s.bytes().map(|b| format!("{b:02x}")).collect::<String>();
        format!(
            "test\t2\t0\t{}\t{}\t00\t1\t-\t1\nmap\t65536\t1\t8\t8\t1\t0\t0\t0\t0\t0\t\n{load}\nresult\t1\t7\n",
            hex("a name"),
            hex("first\tsecond"),
        )
    }

    #[test]
    fn a_test_becomes_a_program() {
        // r1 = map 65536; r1 = descriptor 7; exit
        let load = "load\t1\t0\t128\t4\t0\t0\t181100000000010000000000000000001811000007000000\
                    00000000000000009500000000000000";
        let tests = parse(&print(load), None).expect("readable");
        let [t] = tests.as_slice() else { panic!("{} tests", tests.len()) };
        assert_eq!((t.description.as_str(), t.privileged.accepts), ("a name", false));
        assert_eq!(t.privileged.messages, ["first", "second"]);
        assert!(t.has_unprivileged && t.unprivileged.accepts);
        assert!(t.unprivileged.messages.is_empty());
        assert_eq!((t.retval, t.data.as_slice()), (Some(7), [0u8].as_slice()));
        let p = t.program.as_ref().expect("a program");
        assert!(p.flags.test_reg_invariants && !p.flags.test_rnd_hi32);
        assert_eq!(p.insns[0].imm, 0);
        assert_eq!(p.insns[2].imm, 7 | i32::MIN);
    }

    #[test]
    fn a_test_without_a_load_says_so() {
        let tests = parse(&print("kfunc\t1073741824\t66"), None).expect("readable");
        assert!(tests[0].program.is_err());
        assert!(parse("load\t1\n", None).is_err());
        assert!(parse(&print("load\tx"), None).is_err());
    }
}
