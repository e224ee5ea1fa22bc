//! Addresses that nobody takes away.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process,
    sync::atomic::{AtomicU8, Ordering},
};

/// An address of loopback that no other test uses. What connects to it comes from 127.0.0.1, so a port on it stays free while the server
/// that had it is away, however many clients there are.
pub fn host() -> Ipv4Addr {
    static HOSTS: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = process::id().to_be_bytes();
    Ipv4Addr::new(127, high | 0x80, low, HOSTS.fetch_add(1, Ordering::Relaxed).max(1))
}

/// A free port on `host`.
///
/// # Panics
///
/// When there is none.
pub fn free_address(host: Ipv4Addr) -> SocketAddr {
    let listener = TcpListener::bind((host, 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address")
}

/// Makes sure that this process may open so many files and sockets.
///
/// # Panics
///
/// When it may not, saying what helps.
pub fn needs_open_files(count: u64) {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux tells a process its limits");
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")).and_then(|rest| rest.split_whitespace().next());
    let soft = soft.expect("there is a limit on open files");
    assert!(
        soft.parse::<u64>().is_ok_and(|soft| soft >= count) || soft == "unlimited",
        "this test opens {count} sockets, and this process may open {soft}: run `ulimit -n {count}` in the shell first, as `make e2e` does"
    );
}
