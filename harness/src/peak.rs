//! Peak memory of this process, for measuring (Linux; elsewhere nobody knows).

use std::fs;

/// Forgets the peak so far: the next one counts from what is in use now.
pub fn reset() {
    // `CLEAR_REFS_MM_HIWATER_RSS` of fs/proc/task_mmu.c; where it cannot be written, the peak only grows.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Most bytes resident at once since the last [`reset`], whatever else the process holds included.
pub fn resident() -> Option<u64> {
    of_status(&fs::read_to_string("/proc/self/status").ok()?)
}

fn of_status(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::of_status;

    #[test]
    fn the_line_of_the_peak() {
        let text = "VmPeak:\t  900 kB\nVmHWM:\t    1536 kB\nVmRSS:\t 10 kB\n";
        assert_eq!(of_status(text), Some(1536 * 1024));
        assert_eq!(of_status("VmRSS:\t 10 kB\n"), None);
        assert_eq!(of_status("VmHWM:\t many kB\n"), None);
    }
}
