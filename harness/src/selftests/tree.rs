//! A kernel tree's test programs, compiled with the person's clang into a folder of theirs.
//!
//! Mirrors the rules of `tools/testing/selftests/bpf/Makefile` that concern BPF objects.  Starts compilers and
//! writes below [`Tree::out`], nowhere else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bpfassay_object::btf::Btf;

use super::kfuncs;

/// Where things are.
#[derive(Clone, Debug)]
pub struct Tree {
    /// `tools/testing/selftests/bpf`.
    pub tests: PathBuf,
    /// The kernel's root.
    root: PathBuf,
    /// Folder for headers and objects.
    pub out: PathBuf,
    clang: String,
    /// Flags of every compilation for BPF.
    flags: Vec<String>,
}

/// What compiling needs that the tree may lack.
#[derive(Clone, Debug, Default)]
pub struct Tools {
    /// `clang` or another name of it.
    pub clang: String,
    /// `bpftool`, asked for the types of a kernel.
    pub bpftool: String,
    /// The types as a header, instead of asking.
    pub vmlinux_h: Option<PathBuf>,
    /// BTF the types are printed from.
    pub btf: PathBuf,
}

/// Objects whose Makefile rule keeps functions apart.
const NO_INLINE: [&str; 2] = ["test_l4lb_noinline", "test_xdp_noinline"];

impl Tree {
    /// Checks that `tests` is such a folder, and lays out the headers that its build would generate.
    pub fn prepare(tests: &Path, out: &Path, tools: &Tools) -> Result<Tree, String> {
        let tests = tests.canonicalize().map_err(|e| format!("{}: {e}", tests.display()))?;
        for needed in ["progs", "progs/bpf_misc.h"] {
            if !tests.join(needed).exists() {
                return Err(format!("{}: no {needed} in it", tests.display()));
            }
        }
        let root = tests.ancestors().nth(4).unwrap_or(Path::new("/")).to_path_buf();
        let out = absolute(out)?;
        let include = out.join("include");
        make(&include.join("bpf"))?;
        make(&include.join("gnu"))?;
        // glibc asks for this one where a compiler is not for x86-64.
        put(&include.join("gnu/stubs-32.h"), b"")?;
        library_headers(&root, &include.join("bpf"))?;
        types_header(&include.join("vmlinux.h"), tools)?;
        let flags = flags(&tests, &root, &include, &tools.clang)?;
        Ok(Tree { tests, root, out, clang: tools.clang.clone(), flags })
    }

    /// Sources of programs, in name order.
    pub fn sources(&self) -> Result<Vec<PathBuf>, String> {
        let folder = self.tests.join("progs");
        let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let mut found: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
        found.retain(|p| p.extension().is_some_and(|e| e == "c"));
        found.sort();
        Ok(found)
    }

    /// Where a source's object is.
    pub fn object(&self, source: &Path, cpu: &str) -> PathBuf {
        self.out.join(cpu).join(stem(source)).with_extension("o")
    }

    /// Compiles one source unless its object is newer; the error is the compiler's first.
    pub fn compile(&self, source: &Path, cpu: &str) -> Result<PathBuf, String> {
        let object = self.object(source, cpu);
        if is_newer(&object, source) {
            return Ok(object);
        }
        make(&self.out.join(cpu))?;
        let mut clang = Command::new(&self.clang);
        clang.args(&self.flags).arg(format!("-mcpu={cpu}"));
        if NO_INLINE.contains(&stem(source).as_str()) {
            clang.arg("-fno-inline");
        }
        clang.arg("-c").arg(source).arg("-o").arg(&object);
        run(&mut clang).inspect_err(|_| {
            // A part of an object must not pass for one the next time.
            let _ = fs::remove_file(&object);
        })?;
        Ok(object)
    }

    /// Compiles a C program for this machine, with the tree's headers; names it does not define stay zero.
    pub fn compile_host(&self, source: &Path, binary: &Path) -> Result<(), String> {
        let mut clang = Command::new(&self.clang);
        clang.args(["-w", "-O0", "-static", "-Wl,--unresolved-symbols=ignore-all"]);
        clang.arg(format!("-I{}", self.out.join("arrays").display()));
        clang.arg(format!("-I{}", self.tests.display()));
        for below in ["tools/lib", "tools/include", "tools/include/uapi"] {
            clang.arg(format!("-I{}", self.root.join(below).display()));
        }
        clang.arg(source).arg("-o").arg(binary);
        run(&mut clang).map(|_| ())
    }
}

fn stem(source: &Path) -> String {
    source.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    make(path)?;
    path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))
}

fn make(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|e| format!("{}: {e}", path.display()))
}

fn is_newer(made: &Path, source: &Path) -> bool {
    let time = |p: &Path| fs::metadata(p).and_then(|m| m.modified());
    matches!((time(made), time(source)), (Ok(m), Ok(s)) if m > s)
}

/// Runs a tool; what it printed, or its first error.
fn run(command: &mut Command) -> Result<Vec<u8>, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{name}: {e}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let first = words.lines().find(|l| l.contains("error")).or(words.lines().next());
    Err(first.unwrap_or("failed without a word").trim().to_string())
}

/// libbpf's headers as installed: the tree's own, and the generated one.
fn library_headers(root: &Path, into: &Path) -> Result<(), String> {
    const GENERATED: &str = "bpf_helper_defs.h";
    let library = root.join("tools/lib/bpf");
    let entries = fs::read_dir(&library).map_err(|e| format!("{}: {e}", library.display()))?;
    for path in entries.flatten().map(|e| e.path()) {
        if path.extension().is_some_and(|e| e == "h") {
            let to = into.join(path.file_name().unwrap_or_default());
            fs::copy(&path, &to).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    let made = into.join(GENERATED);
    if made.exists() {
        return Ok(());
    }
    let script = root.join("scripts/bpf_doc.py");
    if script.exists() {
        let mut doc = Command::new("python3");
        doc.arg(&script).arg("--header").arg("--file").arg(root.join("include/uapi/linux/bpf.h"));
        return put(&made, &run(&mut doc)?);
    }
    let installed = Path::new("/usr/include/bpf").join(GENERATED);
    fs::copy(&installed, &made).map(|_| ()).map_err(|e| {
        format!(
            "no scripts/bpf_doc.py in the tree to make {GENERATED} with, and {}: {e}",
            installed.display()
        )
    })
}

/// `vmlinux.h`, kept once it is there.
fn types_header(path: &Path, tools: &Tools) -> Result<(), String> {
    if let Some(given) = &tools.vmlinux_h {
        return fs::copy(given, path).map(|_| ()).map_err(|e| format!("{}: {e}", given.display()));
    }
    if path.exists() {
        return Ok(());
    }
    let mut tool = Command::new(&tools.bpftool);
    tool.args(["btf", "dump", "file"]).arg(&tools.btf).args(["format", "c"]);
    let mut header = run(&mut tool)?;
    if !header.windows(7).any(|w| w == b"__ksym;") {
        let bytes = fs::read(&tools.btf).map_err(|e| format!("{}: {e}", tools.btf.display()))?;
        let btf = Btf::parse(&bytes, None).map_err(|e| format!("{}: {e}", tools.btf.display()))?;
        header.extend(kfuncs::prototypes(&btf).as_bytes());
    }
    put(path, &header)
}

fn flags(tests: &Path, root: &Path, include: &Path, clang: &str) -> Result<Vec<String>, String> {
    let target_arch = match std::env::consts::ARCH {
        "x86_64" => "x86",
        "aarch64" => "arm64",
        other => other,
    };
    let own = run(Command::new(clang).arg("-print-resource-dir"))?;
    let own = String::from_utf8_lossy(&own).trim().to_string();
    let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
    let mut flags: Vec<String> = [
        "-g",
        "-O2",
        "--target=bpf",
        "-mlittle-endian",
        "-std=gnu11",
        "-fno-strict-aliasing",
        "-w",
        "-DENABLE_ATOMICS_TESTS",
    ]
    .map(String::from)
    .to_vec();
    flags.push(format!("-D__TARGET_ARCH_{target_arch}"));
    let folders = [include.to_path_buf(), tests.to_path_buf(), root.join("tools/include/uapi")];
    flags.extend(folders.iter().map(|f| format!("-I{}", f.display())));
    let system = [
        format!("{own}/include"),
        "/usr/local/include".to_string(),
        format!("/usr/include/{triple}"),
        "/usr/include".to_string(),
    ];
    flags.extend(system.into_iter().flat_map(|f| ["-idirafter".to_string(), f]));
    Ok(flags)
}
