//! One socket, and what could not be written to it yet.

use std::{
    io::{ErrorKind, Write},
    net::TcpStream,
};

use anyhow::Result;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

/// How far a client is.
pub enum Stage {
    /// It sends HTTP requests.
    Http,
    /// It has a WebSocket, and has to say who it is.
    AwaitingConnect,
    /// It gets what is broadcast to its tenant.
    Member { tenant: String },
}

/// A client.
pub struct Connection {
    pub stream: TcpStream,
    pub stage: Stage,
    /// Which connection it is, counted from the first.
    pub number: u64,
    /// The beginning of a request or a frame.
    pub incomplete: Vec<u8>,
    waiting: Vec<u8>,
}

impl Connection {
    pub fn new(stream: TcpStream, number: u64) -> Self {
        Self { stream, stage: Stage::Http, number, incomplete: Vec::new(), waiting: Vec::new() }
    }

    /// Writes at once what the kernel takes, and the rest as soon as it takes more.
    pub fn send(&mut self, epoll: &Epoll, place: usize, bytes: &[u8]) -> Result<()> {
        if !self.waiting.is_empty() {
            self.waiting.extend_from_slice(bytes);
            return Ok(());
        }
        let written = self.write(bytes)?;
        if written < bytes.len() {
            self.waiting.extend_from_slice(&bytes[written..]);
            self.watch(epoll, place, EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT)?;
        }
        Ok(())
    }

    /// Writes what was left, as far as the kernel takes it.
    pub fn send_waiting(&mut self, epoll: &Epoll, place: usize) -> Result<()> {
        let bytes = std::mem::take(&mut self.waiting);
        let written = self.write(&bytes)?;
        if written < bytes.len() {
            self.waiting = bytes[written..].to_vec();
            Ok(())
        } else {
            self.watch(epoll, place, EpollFlags::EPOLLIN)
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self.stream.write(bytes) {
            Ok(written) => Ok(written),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn watch(&self, epoll: &Epoll, place: usize, events: EpollFlags) -> Result<()> {
        Ok(epoll.modify(&self.stream, &mut EpollEvent::new(events, place as u64))?)
    }
}
