//! Other kernels, booted under qemu: any `bpfassay` command runs in them as root.
//!
//! The guest has no disk and no network.  Its only process is this program itself, started as init with
//! `kernels agent` ([`agent`]): it runs the commands that it was given and writes what they print, and the files that
//! they leave in `/out`, to a serial line.

pub mod agent;
mod cpio;
pub mod fetch;
mod libraries;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use cpio::Archive;

/// Where the agent finds its request.
const REQUEST: &str = "/request.json";
/// Path of this program in the guest.
const PROGRAM: &str = "/bpfassay";
/// Memory of a guest, MiB.
const MEMORY: u32 = 2048;

/// A kernel that can be booted.
#[derive(Clone, Debug)]
pub struct Image {
    /// `vmlinuz` or an ELF kernel.
    pub kernel: PathBuf,
    /// Its configuration file.
    pub config: PathBuf,
    /// Exact `uname -r`: the guest's `/boot/config-…` is named by it.
    pub uname: String,
    /// Module files in the order in which they are to be loaded.
    pub modules: Vec<PathBuf>,
}

/// What the guest is to do.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Request {
    /// Arguments of each `bpfassay` to run, one after the other.
    pub commands: Vec<Vec<String>>,
    /// Where they run: the caller's folder, so that relative paths mean the same files.
    pub folder: PathBuf,
    /// Seconds that each may take.
    pub seconds: u64,
    /// Whoever lacks CAP_BPF may load (`kernel.unprivileged_bpf_disabled` is 0).
    pub unprivileged_bpf: bool,
}

/// What became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The guest is up.
    Booted { release: String },
    /// A command has ended; `status` is None where it was killed.
    Ended { status: Option<i32>, stdout: Vec<u8>, stderr: Vec<u8> },
    /// A file of `/out`, its path relative.
    File { path: String, bytes: Vec<u8> },
    /// Nothing follows.
    Done,
}

/// How a guest is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Program that emulates; `qemu-system-x86_64` as a rule.
    pub qemu: String,
    /// `tcg`, which emulates and works everywhere, or `kvm`.
    pub accel: String,
    pub cpus: u32,
    /// Until the guest is given up.
    pub limit: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            qemu: "qemu-system-x86_64".to_string(),
            accel: "tcg".to_string(),
            cpus: 1,
            limit: Duration::from_secs(600),
        }
    }
}

/// Boots the kernel and runs the commands; `files` are copied in under their own absolute paths.
///
/// # Errors
/// What is missing, or how the guest ended before it was done, with the end of its console.
pub fn run(
    image: &Image,
    files: &[PathBuf],
    request: &Request,
    options: &Options,
) -> Result<Vec<Event>, String> {
    let work = Scratch::new()?;
    let initrd = work.path("initrd");
    fs::write(&initrd, archive(image, files, request)?).map_err(|e| at(&initrd, e))?;
    let (answers, console) = (work.path("answers"), work.path("console"));
    let mut guest = Command::new(&options.qemu)
        .args([
            "-M",
            &format!("q35,accel={}", options.accel),
            "-cpu",
            "max,la57=off",
            "-m",
            &MEMORY.to_string(),
        ])
        .args(["-smp", &options.cpus.to_string(), "-nodefaults", "-no-user-config"])
        .args(["-display", "none", "-no-reboot", "-kernel"])
        .arg(&image.kernel)
        .arg("-initrd")
        .arg(&initrd)
        .args(["-append", &command_line()])
        .args(["-serial", &format!("file:{}", console.display())])
        .args(["-serial", &format!("file:{}", answers.display())])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{}: {e}; it comes with qemu", options.qemu))?;
    let ended = wait(&mut guest, options.limit);
    let said = fs::read(&answers).unwrap_or_default();
    let events = agent::events(&said);
    if events.last() == Some(&Event::Done) {
        return Ok(events);
    }
    let text = fs::read(&console).unwrap_or_default();
    let tail = String::from_utf8_lossy(&text[text.len().saturating_sub(2000)..]).into_owned();
    Err(format!("the virtual machine {ended} before it was done; its console ends:\n{tail}"))
}

fn command_line() -> String {
    format!(
        "console=ttyS0 quiet panic=-1 oops=panic tsc=reliable no_timer_check random.trust_cpu=1 \
         rdinit={PROGRAM} -- kernels agent"
    )
}

fn wait(guest: &mut std::process::Child, limit: Duration) -> &'static str {
    let start = std::time::Instant::now();
    loop {
        match guest.try_wait() {
            Ok(Some(status)) if status.success() => return "ended",
            Ok(Some(_)) | Err(_) => return "failed",
            Ok(None) if start.elapsed() > limit => {
                let _ = guest.kill();
                let _ = guest.wait();
                return "was stopped at its time limit";
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// The guest's root: this program with its libraries, the configuration, the modules and the files.
fn archive(image: &Image, files: &[PathBuf], request: &Request) -> Result<Vec<u8>, String> {
    let read = |p: &Path| fs::read(p).map_err(|e| at(p, e));
    let mut out = Archive::new();
    out.device("/dev/console", 5, 1);
    let own = std::env::current_exe().map_err(|e| format!("this program: {e}"))?;
    out.file(PROGRAM, 0o755, &read(&own)?);
    for library in libraries::of_this_program(&own)? {
        out.file(&library.to_string_lossy(), 0o755, &read(&library)?);
    }
    out.file(&format!("/boot/config-{}", image.uname), 0o644, &read(&image.config)?);
    for (nth, module) in image.modules.iter().enumerate() {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        out.file(&format!("/modules/{nth:03}-{name}"), 0o644, &read(module)?);
    }
    for file in files {
        out.file(&file.to_string_lossy(), 0o644, &read(file)?);
    }
    let request = serde_json::to_vec(request).map_err(|e| e.to_string())?;
    out.file(REQUEST, 0o644, &request);
    Ok(out.finish())
}

fn at(path: &Path, e: impl std::fmt::Display) -> String {
    format!("{}: {e}", path.display())
}

/// A folder that goes when this goes.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch, String> {
        let stamp = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos());
        let name = format!("bpfassay-vm-{}-{stamp}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).map_err(|e| at(&path, e))?;
        Ok(Scratch(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
