//! The guest's side: init of a virtual machine, and the form in which its answers travel.
#![allow(unsafe_code)]

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

use super::Event;

/// Before each event; what a console prints in between is skipped.
const MARK: &[u8] = b"\x01bpfassay ";

/// An event on the line: mark, length of the head, newline, the head as JSON, and the bytes that it counts.
#[derive(Serialize, Deserialize)]
struct Head {
    what: What,
    /// Lengths of what follows.
    parts: Vec<usize>,
}

#[derive(Serialize, Deserialize)]
enum What {
    Booted { release: String },
    Ended { status: Option<i32> },
    File { path: String },
    Done,
}

fn frame(event: &Event) -> Vec<u8> {
    let (what, parts): (What, Vec<&[u8]>) = match event {
        Event::Booted { release } => (What::Booted { release: release.clone() }, vec![]),
        Event::Ended { status, stdout, stderr } => {
            (What::Ended { status: *status }, vec![stdout, stderr])
        }
        Event::File { path, bytes } => (What::File { path: path.clone() }, vec![bytes]),
        Event::Done => (What::Done, vec![]),
    };
    let head = Head { what, parts: parts.iter().map(|p| p.len()).collect() };
    let head = serde_json::to_vec(&head).unwrap_or_default();
    let mut out = MARK.to_vec();
    out.extend_from_slice(format!("{}\n", head.len()).as_bytes());
    out.extend_from_slice(&head);
    parts.iter().for_each(|p| out.extend_from_slice(p));
    out
}

/// Every whole event of what a guest has written.
pub fn events(mut said: &[u8]) -> Vec<Event> {
    let mut out = Vec::new();
    while let Some(at) = said.windows(MARK.len()).position(|w| w == MARK) {
        let Some((event, rest)) = event(&said[at + MARK.len()..]) else { break };
        out.push(event);
        said = rest;
    }
    out
}

/// The event behind a mark, and what follows it; None where it is cut off or damaged.
fn event(said: &[u8]) -> Option<(Event, &[u8])> {
    let end = said.iter().position(|b| *b == b'\n')?;
    let length: usize = std::str::from_utf8(&said[..end]).ok()?.parse().ok()?;
    let (head, mut rest) = said[end + 1..].split_at_checked(length)?;
    let head: Head = serde_json::from_slice(head).ok()?;
    let mut parts = Vec::new();
    for length in head.parts {
        let (part, more) = rest.split_at_checked(length)?;
        parts.push(part.to_vec());
        rest = more;
    }
    let mut parts = parts.into_iter();
    let mut next = || parts.next().unwrap_or_default();
    let event = match head.what {
        What::Booted { release } => Event::Booted { release },
        What::Ended { status } => Event::Ended { status, stdout: next(), stderr: next() },
        What::File { path } => Event::File { path, bytes: next() },
        What::Done => Event::Done,
    };
    Some((event, rest))
}

/// Runs as the first process of a guest: mounts what programs need, loads the modules, runs the commands, and
/// switches the machine off.  Returns only where it is not the first process.
#[cfg(target_os = "linux")]
pub fn init() -> Result<(), String> {
    if std::process::id() != 1 {
        return Err("the agent is the first process of a virtual machine".to_string());
    }
    if let Err(e) = linux::serve() {
        eprintln!("agent: {e}");
    }
    linux::power_off();
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub fn init() -> Result<(), String> {
    Err("the agent runs on Linux".to_string())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::CString;
    use std::fs::{self, File, OpenOptions};
    use std::os::fd::AsRawFd;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::super::{Request, PROGRAM, REQUEST};
    use super::*;

    /// The line that answers go to.
    const LINE: &str = "/dev/ttyS1";
    const UNPRIVILEGED: &str = "/proc/sys/kernel/unprivileged_bpf_disabled";
    /// Folder whose files go back.
    const OUT: &str = "/out";

    pub fn serve() -> Result<(), String> {
        for (kind, path) in [
            ("proc", "/proc"),
            ("sysfs", "/sys"),
            ("devtmpfs", "/dev"),
            ("bpf", "/sys/fs/bpf"),
            ("debugfs", "/sys/kernel/debug"),
            ("tracefs", "/sys/kernel/tracing"),
            ("tmpfs", "/tmp"),
        ] {
            let _ = fs::create_dir_all(path);
            // A kernel may lack one of them; what needs it says so.
            let _ = mount(kind, path);
        }
        let _ = fs::create_dir_all(OUT);
        // Addresses and the JIT's code are hidden from root otherwise.
        let _ = fs::write("/proc/sys/kernel/kptr_restrict", "0");
        let _ = fs::write("/proc/sys/net/core/bpf_jit_enable", "1");
        unlimit_locked_memory();
        let mut line =
            OpenOptions::new().write(true).open(LINE).map_err(|e| format!("{LINE}: {e}"))?;
        raw(&line);
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        send(&mut line, &Event::Booted { release: release.trim().to_string() })?;
        for path in sorted("/modules") {
            if let Err(e) = load_module(&path) {
                eprintln!("agent: {}: {e}", path.display());
            }
        }
        let text = fs::read(REQUEST).map_err(|e| format!("{REQUEST}: {e}"))?;
        let request: Request = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
        if request.unprivileged_bpf {
            fs::write(UNPRIVILEGED, "0").map_err(|e| format!("{UNPRIVILEGED}: {e}"))?;
        }
        for command in &request.commands {
            send(&mut line, &run(command, &request)?)?;
        }
        for path in files_below(Path::new(OUT)) {
            let bytes = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let name = path.strip_prefix(OUT).unwrap_or(&path).to_string_lossy().into_owned();
            send(&mut line, &Event::File { path: name, bytes })?;
        }
        send(&mut line, &Event::Done)?;
        // SAFETY: waits until the line has taken everything; the descriptor is open.
        unsafe { libc::tcdrain(line.as_raw_fd()) };
        Ok(())
    }

    fn send(line: &mut File, event: &Event) -> Result<(), String> {
        line.write_all(&frame(event)).map_err(|e| format!("{LINE}: {e}"))
    }

    /// One command, its output, and how it ended.
    fn run(arguments: &[String], request: &Request) -> Result<Event, String> {
        let limit = Duration::from_secs(request.seconds);
        let _ = fs::create_dir_all(&request.folder);
        let mut child = Command::new(PROGRAM)
            .args(arguments)
            .current_dir(&request.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{PROGRAM}: {e}"))?;
        let read = |mut from: Box<dyn Read + Send>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                let _ = from.read_to_end(&mut bytes);
                bytes
            })
        };
        let stdout = child.stdout.take().map(|o| read(Box::new(o)));
        let stderr = child.stderr.take().map(|o| read(Box::new(o)));
        let start = Instant::now();
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status.code(),
                Ok(None) if start.elapsed() < limit => {
                    std::thread::sleep(Duration::from_millis(20))
                }
                _ => {
                    let _ = child.kill();
                    let _ = child.wait();
                    break None;
                }
            }
        };
        let text = |t: Option<std::thread::JoinHandle<Vec<u8>>>| {
            t.and_then(|t| t.join().ok()).unwrap_or_default()
        };
        Ok(Event::Ended { status, stdout: text(stdout), stderr: text(stderr) })
    }

    fn sorted(folder: &str) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
        paths.sort();
        paths
    }

    fn files_below(folder: &Path) -> Vec<PathBuf> {
        let mut out = Vec::new();
        for path in sorted(&folder.to_string_lossy()) {
            match path.is_dir() {
                true => out.extend(files_below(&path)),
                false => out.push(path),
            }
        }
        out
    }

    fn mount(kind: &str, path: &str) -> Result<(), i32> {
        let (kind, path) = (c_string(kind), c_string(path));
        // SAFETY: the strings live through the call; no data is passed.
        let done = unsafe {
            libc::mount(kind.as_ptr(), path.as_ptr(), kind.as_ptr(), 0, std::ptr::null())
        };
        if done == 0 {
            Ok(())
        } else {
            Err(done)
        }
    }

    fn load_module(path: &Path) -> Result<(), std::io::Error> {
        let file = File::open(path)?;
        let none = c_string("");
        // SAFETY: the descriptor is open and the string lives through the call.
        let done =
            unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), none.as_ptr(), 0) };
        if done == 0 {
            Ok(())
        } else {
            Err(std::io::Error::last_os_error())
        }
    }

    /// Before 5.11 maps and programs are locked memory.
    fn unlimit_locked_memory() {
        let all = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: reads one struct.
        unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &all) };
    }

    /// No newline becomes two bytes on its way.
    fn raw(line: &File) {
        // SAFETY: an all-zero termios is valid, and the calls fill and read it alone.
        unsafe {
            let mut mode: libc::termios = std::mem::zeroed();
            if libc::tcgetattr(line.as_raw_fd(), &mut mode) == 0 {
                libc::cfmakeraw(&mut mode);
                libc::tcsetattr(line.as_raw_fd(), libc::TCSANOW, &mode);
            }
        }
    }

    pub fn power_off() {
        // SAFETY: takes no memory; ends the machine.
        unsafe {
            libc::sync();
            libc::reboot(libc::RB_POWER_OFF);
        }
    }

    fn c_string(text: &str) -> CString {
        CString::new(text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_between_what_a_console_prints() {
        let sent = [
            Event::Booted { release: "6.12.118".to_string() },
            Event::Ended { status: Some(1), stdout: b"a\nb".to_vec(), stderr: Vec::new() },
            Event::Done,
        ];
        let mut line = b"[ 1.0] hello\n".to_vec();
        for event in &sent {
            line.extend(frame(event));
            line.extend(b"\n[ 2.0] noise\n");
        }
        assert_eq!(events(&line), sent);
    }

    #[test]
    fn an_event_that_is_cut_off_is_left_out() {
        let whole = frame(&Event::Done);
        for end in 0..whole.len() {
            assert_eq!(events(&whole[..end]), []);
        }
        assert_eq!(events(b"\x01bpfassay 99999999999999999999\nx"), []);
    }
}
