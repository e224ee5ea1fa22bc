//! File descriptors, of which each connection takes one.

use std::{cmp, io};

use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::close,
};

/// Descriptors that there is room for from the start, in half a mebibyte of the kernel's memory.
const ROOM: u64 = 1 << 16;

/// Raises this process's limit as far as the system lets it, and makes room for as many connections as most servers ever have. Returns the
/// limit.
///
/// The kernel doubles the table of a process's descriptors when it is full, and whoever needs one more then waits, for 10 to 30 ms, until no other
/// thread can be reading the old one. A worker that waits for that delivers nothing.
///
/// # Errors
///
/// When the system refuses.
pub fn make_room() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    let last = i32::try_from(cmp::min(hard, ROOM) - 1).map_err(io::Error::other)?;
    close(fcntl(io::stderr(), FcntlArg::F_DUPFD_CLOEXEC(last))?)?;
    Ok(hard)
}

#[cfg(test)]
mod tests {
    use std::{fs, process};

    use super::*;

    #[test]
    fn there_is_room_for_all_that_may_be_opened() {
        let limit = make_room().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (limit, limit));
        let status = fs::read_to_string(format!("/proc/{}/status", process::id())).unwrap();
        let room: u64 = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap().trim().parse().unwrap();
        assert!(room >= cmp::min(limit, ROOM), "{room} of {limit}");
    }
}
